//! The maps. The controller knows them by these names.
//!
//! Tables of the policy are maps of maps, by generation: the controller makes
//! fresh inner maps for each policy and never refills one. What is not policy
//! (bans, buckets, counters) stands outside of the generations.

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, SkStorage},
    macros::btf_map,
    maps::lpm_trie::Key,
};
use filter_common::{
    Address, FlowKey, Handshake, PeerKey, banned,
    flow::spoken,
    known::Known,
    table::{Rates, SourceBucket, SourceTags},
    tables::{
        Counter, GENERATIONS, INTERFACES, InterfaceBlock, Leaf, Name, Rule, Slot, SourceKey, View,
        ViewPrefix, bans, counters, events, flow_log, fragments, lists, notes, ports, probe,
        speakers, total_place,
    },
};

use crate::inner;

/// `BPF_F_NO_PREALLOC`: entries take memory when they come to be.
const NO_PREALLOC: usize = 1;
/// `BPF_F_MMAPABLE`: the controller has it in its own memory.
const MMAPABLE: usize = 1 << 10;

/// Rules that there are numbers for.
const RULES_MAX: u32 = counters::CHUNKS * counters::RULES_PER_CHUNK;

/// Generations, each with room for the port tables of all interface groups.
const PORT_TABLES: usize = (GENERATIONS * INTERFACES) as usize;
const GENERATION_SLOTS: usize = GENERATIONS as usize;

#[btf_map]
pub static PORTS: ArrayOfMaps<inner::FixedArray<8, { ports::WORDS as usize }>, PORT_TABLES> =
    ArrayOfMaps::new();
#[btf_map]
pub static VIEWS: ArrayOfMaps<inner::Array<{ size_of::<View>() }>, GENERATION_SLOTS> =
    ArrayOfMaps::new();
#[btf_map]
pub static PREFIX_FILTERS: ArrayOfMaps<inner::Array<8>, GENERATION_SLOTS> = ArrayOfMaps::new();
#[btf_map]
pub static PREFIXES: ArrayOfMaps<
    inner::LpmTrie<{ size_of::<Key<ViewPrefix>>() }, 4>,
    GENERATION_SLOTS,
> = ArrayOfMaps::new();
#[btf_map]
pub static RULES: ArrayOfMaps<inner::Array<{ size_of::<Rule>() }>, GENERATION_SLOTS> =
    ArrayOfMaps::new();
#[btf_map]
pub static LISTS: ArrayOfMaps<inner::FixedArray<8, { lists::WORDS as usize }>, GENERATION_SLOTS> =
    ArrayOfMaps::new();
#[btf_map]
pub static LIST_LEAVES: ArrayOfMaps<inner::Array<{ size_of::<Leaf>() }>, GENERATION_SLOTS> =
    ArrayOfMaps::new();
#[btf_map]
pub static LIST_PREFIXES: ArrayOfMaps<
    inner::LpmTrie<{ size_of::<Key<Address>>() }, 4>,
    GENERATION_SLOTS,
> = ArrayOfMaps::new();

#[btf_map]
pub static INTERFACE_RATES: Array<u64, { INTERFACES as usize * 4 }> = Array::new();

#[btf_map]
pub static BAN_BITMAP: Array<u64, { bans::WORDS as usize }> = Array::new();
#[btf_map]
pub static BANS_IPV6: HashMap<Address, u64, 1_000_000, NO_PREALLOC> = HashMap::new();
/// By the hash that `banned` makes; the loader settles how many, and `globals`
/// says it. The controller writes single words, where packets read them; and
/// such a table begins on a page, so that each bucket is one cache line.
#[btf_map]
pub static BANS_IPV4: Array<banned::Bucket, 262_144, MMAPABLE> = Array::new();
#[btf_map]
pub static BAN_PREFIXES: LpmTrie<Address, u64, 100_000> = LpmTrie::new();

/// Of sources and networks; the loader settles how many buckets, and
/// `globals` says it.
#[btf_map]
pub static SOURCES: Array<SourceBucket, 32_768> = Array::new();
/// By bucket, likewise.
#[btf_map]
pub static TAGS: Array<SourceTags, 32_768> = Array::new();
/// By `total_place`.
#[btf_map]
pub static TOTALS: Array<Rates, { total_place(RULES_MAX, false) as usize }> = Array::new();
/// As `SOURCES`, by the hash that `known` makes.
#[btf_map]
pub static KNOWN: Array<Known, 8_192> = Array::new();

/// What this host sends, by `FlowTable`; see `filter_common::flow`.
#[btf_map]
pub static FLOWS: LruHashMap<FlowKey, u64, 131_072> = LruHashMap::new();
#[btf_map]
pub static ANSWERED: LruHashMap<FlowKey, u64, 65_536> = LruHashMap::new();
#[btf_map]
pub static HALF_OPEN: LruHashMap<PeerKey, Handshake, 65_536> = LruHashMap::new();
#[btf_map]
pub static ASKED: LruHashMap<FlowKey, u64, 16_384> = LruHashMap::new();
/// From which ports it was sent, by `spoken::place`.
#[btf_map]
pub static SPOKEN: Array<u32, { spoken::PLACES as usize }> = Array::new();

/// How many connections are held, as this program has counted them; and what
/// the controller adds to that. Each has one writer.
#[btf_map]
pub static SLOTS: HashMap<SourceKey, u64, 262_144, NO_PREALLOC> = HashMap::new();
#[btf_map]
pub static MENDED: HashMap<SourceKey, u64, 262_144, NO_PREALLOC> = HashMap::new();
/// What the connection of each socket is charged for.
#[btf_map]
pub static CHARGED: SkStorage<Slot> = SkStorage::new();
#[btf_map]
pub static NOTES: Array<u64, { notes::COUNT as usize }> = Array::new();

/// From where this host's TCP sockets speak, by the places of `speakers`: those
/// whose words differ. The first changes when a socket begins to; the second is
/// the controller's, which writes there the first's number of a time when no
/// socket did.
#[btf_map]
pub static MARKED: Array<u64, { speakers::PLACES as usize }> = Array::new();
#[btf_map]
pub static SILENT: Array<u64, { speakers::PLACES as usize }> = Array::new();

#[btf_map]
pub static FRAGMENTS: Array<
    fragments::Bucket,
    { (fragments::DEFAULT / fragments::WAYS) as usize },
> = Array::new();

/// What the loader settled when these maps were made, and the program has as
/// constants: the seed. For the next loader.
#[btf_map]
pub static SETTLED: Array<u64, 2> = Array::new();
/// The names of rules by [`Rule::id`], and of interfaces, by
/// `interface_name_place`. The controller's alone.
#[btf_map]
pub static NAMES: HashMap<u32, Name, { (RULES_MAX + INTERFACES) as usize }, NO_PREALLOC> =
    HashMap::new();

/// Counters and scratch of each interface, by its number.
#[btf_map]
pub static BLOCKS: PerCpuArray<InterfaceBlock, { INTERFACES as usize }> = PerCpuArray::new();
#[btf_map]
pub static RULE_COUNTERS: ArrayOfMaps<
    inner::PerCpuArray<{ size_of::<Counter>() }, { counters::CHUNK as usize }>,
    { counters::CHUNKS as usize },
> = ArrayOfMaps::new();

/// Dropped packets, and how many were taken and lost of them.
#[btf_map]
pub static EVENTS: RingBuf<events::Event, { events::RING }> = RingBuf::new();
#[btf_map]
pub static EVENT_WORDS: Array<u64, { events::WORDS as usize }> = Array::new();

/// A question and its answer, and the sockets of that world: words of `probe`.
/// The host's own program has no use for either, and its loader makes them small.
#[btf_map]
pub static PROBE: Array<probe::Probe, 1> = Array::new();
#[btf_map]
pub static TOLD: HashMap<FlowKey, u32, { probe::SOCKETS as usize }, NO_PREALLOC> = HashMap::new();

/// The flows of this minute and of the last, bucket by bucket; and whose they are.
#[btf_map]
pub static FLOW_COUNTS: Array<flow_log::Bucket, 4096> = Array::new();
#[btf_map]
pub static FLOW_TAGS: Array<flow_log::Tags, 4096> = Array::new();
