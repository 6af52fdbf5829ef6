//! The tables that a verdict reads, as BPF maps.

use core::{
    arch::asm,
    ffi::c_void,
    ptr::{self, NonNull},
};

use aya_ebpf::{bindings::xdp_md, maps::lpm_trie::Key};
use filter_common::{
    Address, InterfaceLimit, Outcome, Reason, Socket, State, banned,
    fragments::{Entry, Kept},
    known,
    limits::{self, Charged},
    rate::TICKS_PER_NS,
    read::{Flow, Parsed, Tcp},
    reply::Standing,
    table::{self, Made},
    tables::{
        Counter, Fragments, Generation, INTERFACES, InterfaceBlock, Leaf, Rule, SourceKey,
        VIEW_BITS, View, ViewPrefix, bans, counters,
        fragments::{self, WAYS},
        interfaces, lists,
        probe::{ON, READ_ONLY},
        rule, total_place,
    },
};

use crate::{
    apart,
    atomic::MapWord,
    clock, control, globals, maps, probe, scratch, slots,
    sources::{Buckets, Sources},
};

/// The tables as one packet sees them.
pub struct XdpState {
    pub context: *mut xdp_md,
    interface: interfaces::Entry,
    /// The place of the generation in force.
    slot: u32,
    generation: &'static Generation,
    /// This CPU's own block of the interface.
    block: *mut InterfaceBlock,
}

impl XdpState {
    /// Settles, once, which generation judges the packet. `context`: the
    /// program's own argument; `interface`: the kernel's index.
    #[inline(always)]
    pub fn new(context: *mut c_void, interface: u32) -> Option<Self> {
        let interface =
            if globals::probe(ON) { probe::arrival()? } else { control::guarded(interface) };
        let block = Self::block_of(interface.number as u32)?;
        let slot = control::live();
        let generation = control::generation(slot);
        Some(Self { context: context.cast(), interface, slot, generation, block })
    }

    /// The same tables, for a function of its own that was told where. It has
    /// no packet, and so no sockets.
    #[inline(always)]
    pub fn of(number: u32, slot: u32) -> Option<Self> {
        let interface = interfaces::Entry { index: 0, number: number as u16, flags: 0 };
        let block = Self::block_of(number)?;
        let generation = control::generation(slot);
        Some(Self { context: ptr::null_mut(), interface, slot, generation, block })
    }

    /// This CPU's own block of an interface.
    #[inline(always)]
    pub fn block_of(number: u32) -> Option<*mut InterfaceBlock> {
        maps::BLOCKS.get_ptr_mut(number % INTERFACES)
    }

    #[inline(always)]
    fn add(&self, place: u32, bytes: u32) {
        let mut place = place as usize;
        // SAFETY: the instruction changes nothing; but the compiler must take it
        // that it may, and so leaves the mask in that the verifier wants to see.
        unsafe {
            asm!("{place} = {place}", place = inout(reg) place, options(nomem, nostack));
        }
        let place = place & (counters::PER_INTERFACE as usize - 1);
        // SAFETY: within the block, which lies in a map's value. Not by index:
        // the compiler would leave a check in that ends in a panic.
        let counter = unsafe { (&raw mut (*self.block).counters).cast::<Counter>().add(place) };
        add(Some(counter), bytes);
    }

    /// This CPU's own block of the interface.
    #[inline(always)]
    pub fn block(&self) -> *mut InterfaceBlock {
        self.block
    }

    #[inline(always)]
    fn sources(&self) -> Sources {
        // SAFETY: a value of the map.
        Sources { word: unsafe { scratch::word(self.block) } }
    }

    /// The place of the generation in force.
    #[inline(always)]
    pub fn place(&self) -> u32 {
        self.slot
    }

    /// The place that look-ups of the policy go to.
    #[inline(always)]
    fn slot(&self) -> u32 {
        // What the test of the switch must catch: a packet that asks anew.
        #[cfg(feature = "reread")]
        return control::live();
        #[cfg(not(feature = "reread"))]
        self.slot
    }

    /// The number of the interface that the packet came in on.
    #[inline(always)]
    pub fn number(&self) -> u32 {
        self.interface.number as u32 % INTERFACES
    }

    /// Whether the interface's frames begin with the IP header.
    #[inline(always)]
    pub fn raw_ip(&self) -> bool {
        self.interface.flags & interfaces::RAW_IP != 0
    }

    /// Counts a packet: for its interface, and for its rule where one decided.
    #[inline(always)]
    pub fn count(&self, outcome: &Outcome, bytes: u32) {
        self.add(counters::of_interface(outcome.reason, false), bytes);
        if let Some(reason) = outcome.monitored {
            self.add(counters::of_interface(reason, true), bytes);
        }
        if let Some(rule) = outcome.rule {
            let (place, monitored) = counters::of_outcome(outcome);
            count_rule(rule.get(), place, bytes);
            count_rule(rule.get(), monitored, bytes);
        }
    }
}

#[inline(always)]
fn count_rule(rule: u32, place: Option<u32>, bytes: u32) {
    let Some(place) = place else { return };
    let chunk = rule / counters::RULES_PER_CHUNK;
    let index = rule % counters::RULES_PER_CHUNK * counters::PER_RULE + place;
    let counter = maps::RULE_COUNTERS.get(chunk).and_then(|counters| counters.find(&index));
    add(counter.map(NonNull::as_ptr), bytes);
}

#[inline(always)]
fn add(counter: Option<*mut Counter>, bytes: u32) {
    if let Some(counter) = counter {
        // SAFETY: a place of this CPU's own, which no other program changes;
        // packets on one CPU do not interrupt one another (NAPI, softirq).
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += bytes as u64;
        }
    }
}

impl State for XdpState {
    type Cell = MapWord;
    type Buckets = Buckets;

    #[inline(always)]
    fn generation(&self) -> &Generation {
        self.generation
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.number()
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        clock::monotonic() * TICKS_PER_NS
    }

    #[inline(always)]
    fn list_word(&self, index: u32) -> u64 {
        maps::LISTS.get(self.slot()).and_then(|words| words.get(&index)).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn list_leaf(&self, leaf: u32) -> Option<&Leaf> {
        maps::LIST_LEAVES.get(self.slot())?.get(&leaf)
    }

    #[inline(always)]
    fn list_prefix(&self, source: &Address) -> u32 {
        let found =
            maps::LIST_PREFIXES.get(self.slot()).and_then(|trie| trie.get(&Key::new(128, *source)));
        found.copied().unwrap_or(lists::NONE)
    }

    #[inline(always)]
    fn bans(&self) -> u32 {
        control::bans()
    }

    #[inline(always)]
    fn ban_word(&self, index: u32) -> u64 {
        maps::BAN_BITMAP.get(index).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn banned(&self, source: &Address) -> bool {
        if source.is_ipv4() {
            return holds(apart::banned_until(source.ipv4()));
        }
        // SAFETY: the value is one aligned word, copied at once.
        unsafe { maps::BANS_IPV6.get(source) }.is_some_and(|until| holds(*until))
    }

    #[inline(always)]
    fn banned_prefix(&self, source: &Address) -> bool {
        maps::BAN_PREFIXES.get(&Key::new(128, *source)).is_some_and(|until| holds(*until))
    }

    #[inline(always)]
    fn port_word(&self, group: u32, index: u32) -> u64 {
        let table = self.slot() * INTERFACES + group;
        maps::PORTS.get(table).and_then(|words| words.get(&index)).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn view(&self, view: u32) -> Option<&View> {
        maps::VIEWS.get(self.slot())?.get(&view)
    }

    #[inline(always)]
    fn filter_word(&self, index: u32) -> u64 {
        let words = maps::PREFIX_FILTERS.get(self.slot());
        // Where there is none, the trie is asked.
        words.and_then(|words| words.get(&index)).copied().unwrap_or(u64::MAX)
    }

    #[inline(always)]
    fn prefix_rule(&self, view: u32, source: &Address) -> u32 {
        let key = Key::new(VIEW_BITS + 128, ViewPrefix { view, address: *source });
        maps::PREFIXES.get(self.slot()).and_then(|trie| trie.get(&key)).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn rule(&self, rule: u32) -> Option<&Rule> {
        maps::RULES.get(self.slot())?.get(&rule)
    }

    #[inline(always)]
    fn speaks(&self, flow: &Flow) -> bool {
        slots::speaks(flow)
    }

    #[inline(always)]
    fn socket(&self, flow: &Flow, answer: Option<&Tcp>) -> Socket {
        apart::socket(self, flow, answer)
    }

    #[inline(always)]
    fn rule_in_group(&self, group: u32, source: &Address, port: u16) -> u32 {
        apart::rule_in_group(self, group, source, port)
    }

    #[inline(always)]
    fn refusal(&self, charged: &Charged<'_>, scope: usize) -> Reason {
        // The narrowest, which most rules have alone, at hand.
        if scope == 0 && rule::slots(charged.rule.flags) & 1 == 0 {
            limits::rate_refusal(self, charged, 0)
        } else {
            apart::refusal(self, charged, scope)
        }
    }

    #[inline(always)]
    fn pay(&self, charged: &Charged<'_>, scope: usize) -> Reason {
        apart::pay(self, charged, scope)
    }

    #[inline(always)]
    fn give_back(&self, charged: &Charged<'_>, scope: usize) {
        apart::give_back(self, charged, scope);
    }

    #[inline(always)]
    fn standing(&self, flow: &Flow, protocol: u8) -> Standing {
        apart::standing(self, flow, protocol)
    }

    #[inline(always)]
    fn note_asked(&self, flow: &Flow) {
        apart::note_asked(self, flow);
    }

    #[inline(always)]
    fn is_known_datagram(&self, _: &Parsed) -> bool {
        apart::is_known_datagram(self)
    }

    #[inline(always)]
    fn remember(&self, _: &Parsed, outcome: Outcome) -> Outcome {
        apart::remember(self, &outcome)
    }

    #[inline(always)]
    fn follow(&self, _: &Parsed) -> Kept {
        apart::follow(self)
    }

    #[inline(always)]
    fn find_buckets(&self, key: &SourceKey) -> Option<Buckets> {
        table::find(&self.sources(), table::hash(&globals::seed(), key))
    }

    #[inline(always)]
    fn buckets(&self, key: &SourceKey, now: u64, proven: bool) -> Option<Buckets> {
        let hash = table::hash(&globals::seed(), key);
        if globals::probe(READ_ONLY) {
            return table::find(&self.sources(), hash).or_else(probe::idle);
        }
        match apart::make_place(self, hash, key, now, proven) {
            Made::Evicted => self.add(counters::EVICTED, 0),
            Made::Fresh => self.add(counters::TAKEN, 0),
            Made::Idle | Made::Lost => {}
        }
        table::find(&self.sources(), hash)
    }

    #[inline(always)]
    fn total_buckets(&self, rule: u32, strangers: bool) -> Option<Buckets> {
        let buckets = NonNull::new(maps::TOTALS.get_ptr_mut(total_place(rule, strangers))?)?;
        // SAFETY: a value of an array.
        Some(unsafe { Buckets::new(buckets) })
    }

    #[inline(always)]
    fn slots(&self, key: &SourceKey) -> u64 {
        slots::held(key)
    }

    #[inline(always)]
    fn is_known(&self, source: &Address, now: u64) -> bool {
        let hash = known::hash(&globals::seed(), source);
        known_bucket(hash).is_some_and(|bucket| known::holds(bucket, hash, now))
    }

    #[inline(always)]
    fn interface_bucket(&self, limit: InterfaceLimit) -> Option<MapWord> {
        let word = maps::INTERFACE_RATES.get_ptr_mut(self.interface() * 4 + limit as u32)?;
        // SAFETY: a word in an array's value.
        Some(unsafe { MapWord::new(word) })
    }

    #[inline(always)]
    fn fragments(&self) -> Fragments {
        globals::fragments()
    }

    #[inline(always)]
    fn fragment(&self, index: u32) -> Option<Entry<MapWord>> {
        let bucket = maps::FRAGMENTS.get_ptr_mut(index / WAYS)?;
        // SAFETY: words in an array's value; the number is one of the bucket's.
        Some(unsafe {
            let entry = bucket.cast::<fragments::Entry>().add((index % WAYS) as usize);
            Entry {
                tag: MapWord::new(&raw mut (*entry).tag),
                clock: MapWord::new(&raw mut (*entry).clock),
                verdict: MapWord::new(&raw mut (*entry).verdict),
            }
        })
    }

    #[inline(always)]
    fn fragments_full(&self) {
        self.add(counters::FRAGMENTS_FULL, 0);
    }

    #[inline(always)]
    fn contended(&self) {
        self.add(counters::CONTENDED, 0);
    }
}

/// The bucket of `KNOWN` that a hash leads to, by place.
#[inline(always)]
pub fn known_bucket(hash: u64) -> Option<impl Fn(usize) -> MapWord> {
    let found = maps::KNOWN.get_ptr_mut(hash as u32 & globals::known_mask())?;
    // SAFETY: words in an array's value.
    Some(move |way| unsafe { MapWord::new((&raw mut (*found).words).cast::<u64>().add(way)) })
}

/// When the ban of an IPv4 address ends; 0: there is none.
#[inline(always)]
pub fn banned_until(address: u32) -> u64 {
    let bucket = |number| {
        let words = maps::BANS_IPV4.get_ptr(number)?.cast::<u64>();
        // SAFETY: a word of an array's value, which the controller writes at once.
        Some(move |way| unsafe { words.add(way).read_volatile() })
    };
    banned::until(banned::find(&globals::seed(), globals::bans_mask(), address, bucket))
}

/// Whether a ban that ends at `until` (nanoseconds since boot, sleep
/// included) holds still.
#[inline(always)]
fn holds(until: u64) -> bool {
    until == bans::FOREVER || (until != 0 && clock::boot() < until)
}
