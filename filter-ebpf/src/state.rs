//! The tables that a verdict reads, as BPF maps.

use core::{arch::asm, ptr::NonNull};

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_NOEXIST, xdp_md},
    helpers::{bpf_ktime_get_boot_ns, bpf_ktime_get_ns},
    maps::lpm_trie::Key,
    programs::XdpContext,
};
use filter_common::{
    Address, InterfaceLimit, Outcome, Socket, State,
    rate::TICKS_PER_NS,
    read::{Flow, Tcp},
    tables::{
        Counter, Generation, INTERFACES, InterfaceBlock, Leaf, Rule, SourceBuckets, SourceKey,
        VIEW_BITS, View, ViewPrefix, bans, counters, interfaces, lists,
    },
};

use crate::{atomic::MapWord, control, maps, socket};

/// The tables as one packet sees them.
pub struct XdpState {
    context: *mut xdp_md,
    interface: interfaces::Entry,
    /// The place of the generation in force.
    #[cfg_attr(feature = "reread", expect(dead_code, reason = "the mutant asks anew"))]
    slot: u32,
    generation: &'static Generation,
    /// This CPU's own block of the interface.
    block: *mut InterfaceBlock,
}

impl XdpState {
    /// Settles, once, which generation judges the packet.
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Option<Self> {
        let interface = control::guarded(context.ingress_ifindex() as u32);
        let block = maps::BLOCKS.get_ptr_mut(interface.number as u32 % INTERFACES)?;
        let slot = control::live();
        let generation = control::generation(slot);
        Some(Self { context: context.as_ptr().cast(), interface, slot, generation, block })
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
            count_rule(rule, place, bytes);
            count_rule(rule, monitored, bytes);
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
        // SAFETY: the helper only reads the clock.
        unsafe { bpf_ktime_get_ns() * TICKS_PER_NS }
    }

    #[inline(always)]
    fn list_word(&self, index: u32) -> u64 {
        maps::LISTS.get(self.slot()).and_then(|words| words.get(&index)).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn list_leaf(&self, block: u32) -> Option<&Leaf> {
        maps::LIST_LEAVES.get(self.slot())?.get(&block)
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
        // SAFETY: the value is one aligned word, copied at once.
        unsafe { maps::BANS.get(source) }.is_some_and(|until| holds(*until))
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
    fn prefix_rule(&self, view: u32, source: &Address) -> u32 {
        let key = Key::new(VIEW_BITS + 128, ViewPrefix { view, address: *source });
        maps::PREFIXES.get(self.slot()).and_then(|trie| trie.get(&key)).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn rule(&self, rule: u32) -> Option<&Rule> {
        maps::RULES.get(self.slot())?.get(&rule)
    }

    #[inline(always)]
    fn socket(&self, flow: &Flow, answer: Option<&Tcp>) -> Socket {
        socket::lookup(self.context, flow, answer)
    }

    #[inline(always)]
    fn buckets(&self, key: &SourceKey) -> Option<Buckets> {
        if let Some(found) = maps::SOURCES.get_ptr_mut(key) {
            return Some(Buckets(found));
        }
        // Two CPUs may get here at once: one of them makes the entry, and both
        // charge that one.
        let _ = maps::SOURCES.insert(key, SourceBuckets::default(), BPF_NOEXIST as u64);
        maps::SOURCES.get_ptr_mut(key).map(Buckets)
    }

    #[inline(always)]
    fn interface_bucket(&self, limit: InterfaceLimit) -> Option<MapWord> {
        let word = maps::INTERFACE_RATES.get_ptr_mut(self.interface() * 4 + limit as u32)?;
        // SAFETY: a word in an array's value.
        Some(unsafe { MapWord::new(word) })
    }

    #[inline(always)]
    fn contended(&self) {
        self.add(counters::CONTENDED, 0);
    }
}

/// Whether a ban that ends at `until` (nanoseconds since boot, sleep
/// included) holds still.
#[inline(always)]
fn holds(until: u64) -> bool {
    // SAFETY: the helper only reads the clock.
    until == bans::FOREVER || unsafe { bpf_ktime_get_boot_ns() } < until
}

/// One entry of the sources' map.
pub struct Buckets(*mut SourceBuckets);

impl filter_common::Buckets for Buckets {
    type Cell = MapWord;

    #[inline(always)]
    fn new_connections(&self) -> MapWord {
        // SAFETY: a word in the entry's value; the LRU may hand the entry to
        // another source meanwhile, which costs that one a token, no more.
        unsafe { MapWord::new(&raw mut (*self.0).new_connections) }
    }

    #[inline(always)]
    fn packets(&self) -> MapWord {
        // SAFETY: as above.
        unsafe { MapWord::new(&raw mut (*self.0).packets) }
    }

    #[inline(always)]
    fn bytes(&self) -> MapWord {
        // SAFETY: as above.
        unsafe { MapWord::new(&raw mut (*self.0).bytes) }
    }
}
