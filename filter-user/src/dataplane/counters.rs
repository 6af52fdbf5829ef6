//! The counters: per CPU in the kernel, summed here.

use std::path::Path;

use aya::{
    Ebpf,
    maps::{ArrayOfMaps, Map, MapData, MapError, PerCpuArray, PerCpuValues},
};
use filter_common::{
    Reason, Scope,
    tables::{Counter, INTERFACES, InterfaceBlock, counters},
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

    pub(super) fn of_interface(&self, number: u32) -> Result<Vec<InterfaceCounter>, MapFault> {
        let blocks = self.0.get(&number, 0).map_err(MapFault::of(Self::MAP, "read"))?;
        let places = Reason::ALL
            .iter()
            .flat_map(|reason| [false, true].map(|monitored| (*reason, monitored)));
        let all = places.map(|(reason, monitored)| {
            let place = counters::of_interface(reason, monitored);
            InterfaceCounter { reason, monitored, counter: at(&blocks, place) }
        });
        Ok(all.filter(|found| found.counter.packets != 0).collect())
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
        let chunks = (0..counters::CHUNKS).map_while(open).collect();
        Ok(Self { outer, chunks, pins: pins.cloned() })
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

    pub(super) fn of_rule(&self, number: u32) -> Result<Vec<RuleCounter>, MapFault> {
        let Some(chunk) = self.chunks.get((number / counters::RULES_PER_CHUNK) as usize) else {
            return Ok(Vec::new());
        };
        let base = number % counters::RULES_PER_CHUNK * counters::PER_RULE;
        let fault = MapFault::of(Self::MAP, "read");
        let mut found = Vec::new();
        for (reason, scope, monitored) in Self::places() {
            let Some(place) = counters::of_rule(reason, scope, monitored) else { continue };
            let counter = sum(chunk.get(&(base + place), 0).map_err(&fault)?.iter());
            if counter.packets != 0 {
                found.push(RuleCounter { reason, scope, monitored, counter });
            }
        }
        Ok(found)
    }

    /// Every reason and scope that a rule counts, each once.
    fn places() -> impl Iterator<Item = (Reason, Option<Scope>, bool)> {
        let scopes = || std::iter::once(None).chain(Scope::ALL.iter().copied().map(Some));
        let mut seen = Vec::new();
        [false, true]
            .into_iter()
            .flat_map(move |monitored| {
                Reason::ALL
                    .iter()
                    .flat_map(move |reason| scopes().map(move |scope| (*reason, scope, monitored)))
            })
            .filter(move |(reason, scope, monitored)| {
                let place = counters::of_rule(*reason, *scope, *monitored);
                let new = place.is_some_and(|place| !seen.contains(&place));
                seen.extend(place);
                new
            })
    }
}

fn open(path: &Path) -> Result<PerCpuArray<MapData, Counter>, MapError> {
    Map::from_map_data(MapData::from_pin(path)?)?.try_into()
}

fn sum<'a>(values: impl Iterator<Item = &'a Counter>) -> Counter {
    values.fold(Counter::default(), |sum, value| Counter {
        packets: sum.packets + value.packets,
        bytes: sum.bytes + value.bytes,
    })
}
