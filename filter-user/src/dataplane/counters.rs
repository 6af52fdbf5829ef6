//! The counters: per CPU in the kernel, summed here.

use std::{cell::Cell, path::Path, sync::LazyLock};

use aya::{
    Ebpf,
    maps::{ArrayOfMaps, Map, MapData, MapError, PerCpuArray, PerCpuValues},
};
use filter_common::{
    Reason, Scope, Verdict,
    tables::{Counter, INTERFACES, InterfaceBlock, Rule, counters, rule},
};

use super::{LoadError, MapFault, Pins, load::take};

/// What one interface saw for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceCounter {
    /// Why packets passed or dropped.
    pub reason: Reason,
    /// It counts what monitor mode let through that would have dropped.
    pub monitored: bool,
    /// How much.
    pub counter: Counter,
}

/// What one rule did for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleCounter {
    /// Why packets passed or dropped.
    pub reason: Reason,
    /// The scope of the limit that refused them.
    pub scope: Option<Scope>,
    /// It counts what monitor mode let through that would have dropped.
    pub monitored: bool,
    /// How much.
    pub counter: Counter,
}

/// Counters of the interfaces.
pub(super) struct Totals(PerCpuArray<MapData, InterfaceBlock>);

impl Totals {
    const MAP: &str = "BLOCKS";

    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        take(ebpf, Self::MAP).map(Self)
    }

    /// Those at zero too.
    pub(super) fn of_interface(&self, number: u32) -> Result<Vec<InterfaceCounter>, MapFault> {
        let blocks = self.0.get(&number, 0).map_err(MapFault::of(Self::MAP, "read"))?;
        let places = Reason::ALL
            .iter()
            .flat_map(|reason| [false, true].map(|monitored| (*reason, monitored)))
            .filter(|(reason, monitored)| !monitored || reason.verdict() == Verdict::Drop);
        let all = places.map(|(reason, monitored)| {
            let place = counters::of_interface(reason, monitored);
            InterfaceCounter { reason, monitored, counter: at(&blocks, place) }
        });
        Ok(all.collect())
    }

    pub(super) fn contended(&self) -> Result<u64, MapFault> {
        self.everywhere(counters::CONTENDED)
    }

    pub(super) fn evicted(&self) -> Result<u64, MapFault> {
        self.everywhere(counters::EVICTED)
    }

    pub(super) fn taken(&self) -> Result<u64, MapFault> {
        self.everywhere(counters::TAKEN)
    }

    pub(super) fn fragments_full(&self) -> Result<u64, MapFault> {
        self.everywhere(counters::FRAGMENTS_FULL)
    }

    /// One counter, over all interfaces.
    fn everywhere(&self, place: u32) -> Result<u64, MapFault> {
        (0..INTERFACES).try_fold(0, |packets, number| {
            let blocks = self.0.get(&number, 0).map_err(MapFault::of(Self::MAP, "read"))?;
            Ok(packets + at(&blocks, place).packets)
        })
    }
}

/// One counter of an interface, over all CPUs.
fn at(blocks: &PerCpuValues<InterfaceBlock>, place: u32) -> Counter {
    sum(blocks.iter().map(|block| &block.counters[place as usize]))
}

/// Counters of the rules, in chunks that are made when a rule first needs one
/// and then stay, whatever policies come.
pub(super) struct RuleCounters {
    outer: ArrayOfMaps<MapData, PerCpuArray<MapData, Counter>>,
    chunks: Vec<PerCpuArray<MapData, Counter>>,
    pins: Option<Pins>,
    /// By number: what need be read. A rule has places for every limit in every
    /// scope, and most rules have few limits or none.
    possible: Vec<Possible>,
}

impl RuleCounters {
    const MAP: &str = "RULE_COUNTERS";

    pub(super) fn take(ebpf: &mut Ebpf, pins: Option<&Pins>) -> Result<Self, LoadError> {
        let missing = LoadError::Object { what: "map", name: Self::MAP };
        let Some(map @ Map::ArrayOfMaps(_)) = ebpf.take_map(Self::MAP) else {
            return Err(missing);
        };
        let outer = map.try_into().map_err(|error: MapError| LoadError::Other(error.into()))?;
        // Those of an earlier start: without CAP_SYS_ADMIN there is no way to
        // them through the outer map.
        let open = |number| open(&pins?.chunk(number)).ok();
        let chunks = (0..counters::CHUNKS).map_while(open);
        let chunks: Vec<_> = chunks.collect();
        let rules = chunks.len() * counters::RULES_PER_CHUNK as usize;
        let possible = (0..rules).map(|_| Possible::anything()).collect();
        Ok(Self { outer, chunks, possible, pins: pins.cloned() })
    }

    /// Makes the chunks up to that of the rule with number `highest`.
    pub(super) fn make_room(&mut self, highest: u32) -> Result<(), MapFault> {
        let fault = MapFault::of(Self::MAP, "fill");
        let needed = (highest / counters::RULES_PER_CHUNK + 1) as usize;
        while self.chunks.len() < needed {
            let chunk = PerCpuArray::create(counters::CHUNK, 0).map_err(&fault)?;
            let place = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
            self.outer.set(place, &chunk, 0).map_err(&fault)?;
            let chunk = match &self.pins {
                Some(pins) => {
                    let path = pins.chunk(place);
                    let pin = |error| MapFault::Pin { path: path.clone(), reason: Box::new(error) };
                    chunk.pin(&path).map_err(pin)?;
                    open(&path).map_err(&fault)?
                }
                None => chunk,
            };
            self.chunks.push(chunk);
        }
        Ok(())
    }

    /// Expects what these rules can count, besides what was expected before;
    /// `monitor`: the whole policy is in monitor mode.
    pub(super) fn expect(&mut self, rules: &[Rule], monitor: bool) {
        for rule in rules {
            let number = rule.id as usize;
            if self.possible.len() <= number {
                self.possible.resize(number + 1, Possible::default());
            }
            let places = possible(rule, monitor || rule.flags & rule::MONITOR != 0);
            self.possible[number].add(places);
        }
    }

    /// What could have counted, that at zero too.
    pub(super) fn of_rule(&self, number: u32) -> Result<Vec<RuleCounter>, MapFault> {
        let Some(chunk) = self.chunks.get((number / counters::RULES_PER_CHUNK) as usize) else {
            return Ok(Vec::new());
        };
        let base = number % counters::RULES_PER_CHUNK * counters::PER_RULE;
        let fault = MapFault::of(Self::MAP, "read");
        let Some(possible) = self.possible.get(number as usize) else { return Ok(Vec::new()) };
        let places = possible.to_read();
        let mut found = Vec::new();
        for Place { place, reason, scope, monitored } in PLACES.iter().copied() {
            if places >> place & 1 == 0 {
                continue;
            }
            let counter = sum(chunk.get(&(base + place), 0).map_err(&fault)?.iter());
            if counter.packets != 0 {
                possible.add(1 << place);
            }
            if possible.holds(place) {
                found.push(RuleCounter { reason, scope, monitored, counter });
            }
        }
        Ok(found)
    }
}

/// The places at which a rule may have counted.
#[derive(Debug, Clone, Default)]
struct Possible {
    /// A bit for each at which a policy since the start could count, or that has counted.
    places: Cell<u32>,
    /// The rule may be of an earlier start, whose policies are not known: all
    /// its places are read at first and every so often. How many times until then.
    adopted: Option<Cell<u8>>,
}

impl Possible {
    /// Reads of a rule of an earlier start until all its places are read again.
    const LOOK_EVERY: u8 = 16;

    fn anything() -> Self {
        Self { adopted: Some(Cell::new(0)), ..Self::default() }
    }

    fn add(&self, places: u32) {
        self.places.set(self.places.get() | places);
    }

    fn holds(&self, place: u32) -> bool {
        self.places.get() >> place & 1 == 1
    }

    /// A bit for each place that is to be read now.
    fn to_read(&self) -> u32 {
        let Some(left) = &self.adopted else { return self.places.get() };
        match left.get() {
            0 => {
                left.set(Self::LOOK_EVERY - 1);
                u32::MAX
            }
            some => {
                left.set(some - 1);
                self.places.get()
            }
        }
    }
}

fn open(path: &Path) -> Result<PerCpuArray<MapData, Counter>, MapError> {
    Map::from_map_data(MapData::from_pin(path)?)?.try_into()
}

/// A place among a rule's counters, and what is counted there.
#[derive(Clone, Copy)]
struct Place {
    place: u32,
    reason: Reason,
    scope: Option<Scope>,
    monitored: bool,
}

/// Every place, once.
static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let mut places: Vec<Place> = Vec::new();
    let scopes = || std::iter::once(None).chain(Scope::ALL.iter().copied().map(Some));
    for monitored in [false, true] {
        for (reason, scope) in
            Reason::ALL.iter().flat_map(|reason| scopes().map(move |scope| (*reason, scope)))
        {
            if let Some(place) = counters::of_rule(reason, scope, monitored)
                && places.iter().all(|known| known.place != place)
            {
                places.push(Place { place, reason, scope, monitored });
            }
        }
    }
    places
});

/// A bit for each place at which a rule can count in a mode.
fn possible(rule: &Rule, monitor: bool) -> u32 {
    let limits = Scope::ALL.iter().flat_map(|scope| {
        let limits = &rule.limits[*scope as usize];
        [
            (Reason::ConnectionLimit, rule.connections[*scope as usize] != 0),
            (Reason::ConnectionRate, limits.new_connections.is_set()),
            (Reason::PacketRate, limits.packets.is_set()),
            (Reason::ByteRate, limits.bytes.is_set()),
        ]
        .into_iter()
        .filter_map(|(reason, is_set)| is_set.then_some((reason, Some(*scope))))
    });
    let refusals = std::iter::once((Reason::OutOfState, None)).chain(limits);
    let passes = [Some(Reason::Rule), monitor.then_some(Reason::Monitor)].into_iter().flatten();
    refusals
        .filter_map(|(reason, scope)| counters::of_rule(reason, scope, monitor))
        .chain(passes.filter_map(|reason| counters::of_rule(reason, None, false)))
        .fold(0, |bits, place| bits | 1 << place)
}

const _: () = assert!(counters::PER_RULE <= u32::BITS);

fn sum<'a>(values: impl Iterator<Item = &'a Counter>) -> Counter {
    values.fold(Counter::default(), |sum, value| Counter {
        packets: sum.packets + value.packets,
        bytes: sum.bytes + value.bytes,
    })
}

#[cfg(test)]
mod tests {
    use filter_common::{rate::Limit, tables::Limits};

    use super::*;

    #[test]
    fn each_place_is_known_once_and_one_for_each_limit() {
        let bits: u32 = PLACES.iter().fold(0, |bits, known| bits | 1 << known.place);
        assert_eq!(bits.count_ones() as usize, PLACES.len());
        // Rule, monitor, out of state twice; four limits in three scopes twice.
        assert_eq!(PLACES.len(), 4 + 24);
        assert_eq!(possible(&Rule::default(), false).count_ones(), 2);
        assert_eq!(possible(&Rule::default(), true).count_ones(), 3);
        let every = Limit { multiplier: 1, ..Limit::default() };
        let limits = Limits { new_connections: every, packets: every, bytes: every };
        let rule = Rule { limits: [limits; 4], connections: [1; 4], ..Rule::default() };
        assert_eq!(possible(&rule, false) | possible(&rule, true), bits);
        let one = Rule { connections: [0, 1, 0, 0], ..Rule::default() };
        assert_eq!(possible(&one, false).count_ones(), 3);
    }

    #[test]
    fn all_of_an_earlier_start_is_read_every_so_often() {
        let rule = Possible::anything();
        rule.add(1);
        let reads: Vec<u32> = (0..34).map(|_| rule.to_read()).collect();
        let whole: Vec<usize> = (0..34).filter(|at| reads[*at] == u32::MAX).collect();
        assert_eq!(whole, [0, 16, 32]);
        assert!(reads.iter().all(|places| *places == u32::MAX || *places == 1));
        // What was found to have counted goes on to be read.
        rule.add(1 << 20);
        assert!(rule.holds(20) && rule.to_read() == 1 | 1 << 20);
        let own = Possible::default();
        own.add(2);
        assert_eq!((own.to_read(), own.to_read()), (2, 2));
    }
}
