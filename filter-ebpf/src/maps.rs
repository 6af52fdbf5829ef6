//! The maps. The controller knows them by these names.
//!
//! Tables of the policy are maps of maps, by generation: the controller makes
//! fresh inner maps for each policy and never refills one. What is not policy
//! (bans, buckets, counters) stands outside of the generations.

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, LruHashMap, PerCpuArray},
    macros::btf_map,
    maps::lpm_trie::Key,
};
use filter_common::{
    Address,
    tables::{
        Counter, GENERATIONS, INTERFACES, InterfaceBlock, Leaf, Rule, SourceBuckets, SourceKey,
        View, ViewPrefix, bans, counters, ports,
    },
};

use crate::inner;

/// `BPF_F_NO_PREALLOC`: entries take memory when they come to be.
const NO_PREALLOC: usize = 1;

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
pub static PREFIXES: ArrayOfMaps<
    inner::LpmTrie<{ size_of::<Key<ViewPrefix>>() }, 4>,
    GENERATION_SLOTS,
> = ArrayOfMaps::new();
#[btf_map]
pub static RULES: ArrayOfMaps<inner::Array<{ size_of::<Rule>() }>, GENERATION_SLOTS> =
    ArrayOfMaps::new();
#[btf_map]
pub static LISTS: ArrayOfMaps<inner::Array<8>, GENERATION_SLOTS> = ArrayOfMaps::new();
#[btf_map]
pub static LIST_LEAVES: ArrayOfMaps<inner::HashMap<4, { size_of::<Leaf>() }>, GENERATION_SLOTS> =
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
pub static BANS: HashMap<Address, u64, 1_000_000, NO_PREALLOC> = HashMap::new();
#[btf_map]
pub static BAN_PREFIXES: LpmTrie<Address, u64, 100_000> = LpmTrie::new();

#[btf_map]
pub static SOURCES: LruHashMap<SourceKey, SourceBuckets, 262_144> = LruHashMap::new();

/// Counters and scratch of each interface, by its number.
#[btf_map]
pub static BLOCKS: PerCpuArray<InterfaceBlock, { INTERFACES as usize }> = PerCpuArray::new();
#[btf_map]
pub static RULE_COUNTERS: ArrayOfMaps<
    inner::PerCpuArray<{ size_of::<Counter>() }, { counters::CHUNK as usize }>,
    { counters::CHUNKS as usize },
> = ArrayOfMaps::new();
