//! The generations of the policy: fresh inner maps for each, and one write
//! that puts one in force.

use std::thread;

use aya::{
    Ebpf,
    maps::{Array, ArrayOfMaps, InnerMap, LpmTrie, MapData, MapError, lpm_trie::Key},
};
use filter_common::{
    Address,
    tables::{GENERATIONS, INTERFACES, Leaf, Rule, View, ViewPrefix, lists, ports, switch::Switch},
};

use super::{BootTime, LoadError, MapFault, Staged, control::Control};
use crate::compile::{Filters, Prefix, Tables};

/// `BPF_F_NO_PREALLOC`.
const NO_PREALLOC: u32 = 1;
/// `BPF_F_INNER_MAP`.
const INNER: u32 = 1 << 12;

/// The maps of maps, and which places of them are in use.
pub(super) struct Generations {
    control: Control,
    ports: Outer<Array<MapData, u64>>,
    views: Outer<Array<MapData, View>>,
    filters: Outer<Array<MapData, u64>>,
    prefixes: Outer<LpmTrie<MapData, ViewPrefix, u32>>,
    rules: Outer<Array<MapData, Rule>>,
    lists: Outer<Array<MapData, u64>>,
    leaves: Outer<Array<MapData, Leaf>>,
    list_prefixes: Outer<LpmTrie<MapData, Address, u32>>,
    /// The place in force, and the one to go back to.
    current: Option<u32>,
    previous: Option<u32>,
    /// One that programs of a start that was cut off may go by.
    avoid: Option<u32>,
    /// What stood before the last activation.
    before: Switch,
}

/// A map of maps by place, and which of its places hold a map with entries:
/// one that is empty and stays so need not be written, and each write waits
/// for an RCU grace period.
struct Outer<V> {
    name: &'static str,
    map: ArrayOfMaps<MapData, V>,
    filled: Vec<bool>,
}

impl<V: InnerMap> Outer<V> {
    fn take(ebpf: &mut Ebpf, name: &'static str, kept: bool) -> Result<Self, LoadError> {
        let map = ebpf.take_map(name).ok_or(LoadError::Object { what: "map", name })?;
        let aya::maps::Map::ArrayOfMaps(data) = map else {
            return Err(LoadError::Object { what: "map of maps", name });
        };
        let map = ArrayOfMaps::try_from(aya::maps::Map::ArrayOfMaps(data))
            .map_err(|error: MapError| LoadError::Other(error.into()))?;
        // An earlier start may have filled any place.
        Ok(Self { name, map, filled: vec![kept; (GENERATIONS * INTERFACES) as usize] })
    }

    /// Fills a fresh map and puts it in a place. `entries`: how many there are.
    fn put(
        &mut self,
        place: u32,
        entries: usize,
        make: impl FnOnce(u32) -> Result<V, MapError>,
    ) -> Result<(), MapFault> {
        let index = place as usize;
        if entries == 0 && !self.filled[index] {
            return Ok(());
        }
        let fault = MapFault::of(self.name, "fill");
        let length = u32::try_from(entries.max(1)).unwrap_or(u32::MAX);
        let inner = make(length).map_err(&fault)?;
        self.map.set(place, &inner, 0).map_err(&fault)?;
        self.filled[index] = entries != 0;
        Ok(())
    }
}

fn array<V: aya::Pod>(length: u32, values: &[V]) -> Result<Array<MapData, V>, MapError> {
    let mut map = Array::create(length, INNER)?;
    (0_u32..).zip(values).try_for_each(|(index, value)| map.set(index, value, 0))?;
    Ok(map)
}

fn sparse(length: u32, flags: u32, words: &[(u32, u64)]) -> Result<Array<MapData, u64>, MapError> {
    let mut map = Array::create(length, flags)?;
    words.iter().try_for_each(|(index, word)| map.set(*index, word, 0))?;
    Ok(map)
}

fn trie<K: aya::Pod>(
    length: u32,
    prefixes: &[Prefix<K>],
) -> Result<LpmTrie<MapData, K, u32>, MapError> {
    let mut map = LpmTrie::create(length, NO_PREALLOC)?;
    prefixes.iter().try_for_each(|p| map.insert(&Key::new(p.length, p.key), p.value, 0))?;
    Ok(map)
}

impl Generations {
    /// `avoid`: a place that a program may still go by.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        control: Control,
        avoid: Option<u32>,
    ) -> Result<Self, LoadError> {
        // The programs of an earlier start go by these until they are replaced;
        // where a confirmation is pending, by the second from one moment to the next.
        let switch = control.switch();
        let current = switch.is_set().then(|| switch.place());
        let kept = current.is_some();
        Ok(Self {
            current,
            control,
            ports: Outer::take(ebpf, "PORTS", kept)?,
            views: Outer::take(ebpf, "VIEWS", kept)?,
            filters: Outer::take(ebpf, "PREFIX_FILTERS", kept)?,
            prefixes: Outer::take(ebpf, "PREFIXES", kept)?,
            rules: Outer::take(ebpf, "RULES", kept)?,
            lists: Outer::take(ebpf, "LISTS", kept)?,
            leaves: Outer::take(ebpf, "LIST_LEAVES", kept)?,
            list_prefixes: Outer::take(ebpf, "LIST_PREFIXES", kept)?,
            previous: switch.is_set().then(|| switch.before()),
            avoid,
            before: switch,
        })
    }

    /// Writes a policy into the place that is neither in force nor was so
    /// before. A packet that began under what once stood there is long done:
    /// writing a map of maps waits for it.
    pub(super) fn stage(&mut self, tables: &Tables) -> Result<Staged, MapFault> {
        let slot = (0..GENERATIONS)
            .find(|slot| ![self.current, self.previous, self.avoid].contains(&Some(*slot)))
            .unwrap_or(0);
        let Self { control, ports, views, filters, prefixes, rules, .. } = self;
        let Self { lists, leaves, list_prefixes, .. } = self;
        // Side by side, because each waits for a grace period, and the large
        // ones take both processors.
        thread::scope(|scope| {
            let tasks: [thread::ScopedJoinHandle<'_, Result<(), MapFault>>; 8] = [
                scope.spawn(move || {
                    // A group that this policy has not got is never looked at.
                    (0_u32..).zip(&tables.ports).try_for_each(|(group, words)| {
                        ports.put(slot * INTERFACES + group, words.len(), |_| {
                            sparse(ports::WORDS, 0, words)
                        })
                    })
                }),
                scope.spawn(move || {
                    views.put(slot, tables.views.len(), |length| array(length, &tables.views))
                }),
                scope.spawn(move || {
                    rules.put(slot, tables.rules.len(), |length| array(length, &tables.rules))
                }),
                scope.spawn(move || {
                    let Filters { words, length } = &tables.filters;
                    filters.put(slot, *length as usize, |length| sparse(length, INNER, words))
                }),
                scope.spawn(move || {
                    let entries = &tables.prefixes;
                    prefixes.put(slot, entries.len(), |length| trie(length, entries))
                }),
                scope.spawn(move || {
                    let words = &tables.lists.words;
                    lists.put(slot, words.len(), |_| sparse(lists::WORDS, 0, words))
                }),
                scope.spawn(move || {
                    let entries = &tables.lists.leaves;
                    leaves.put(slot, entries.len(), |length| array(length, entries))
                }),
                scope.spawn(move || {
                    let entries = &tables.lists.prefixes;
                    list_prefixes.put(slot, entries.len(), |length| trie(length, entries))
                }),
            ];
            tasks.into_iter().try_for_each(|task| match task.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        control.change(|control| {
            control.policies[slot as usize] = tables.generation;
            Ok(())
        })?;
        Ok(Staged { slot })
    }

    /// Puts what is staged in force; `until`: it is taken back at that time of
    /// the boot-time clock, by the kernel itself, unless it is
    /// [settled](Self::settle) before.
    pub(super) fn activate(
        &mut self,
        staged: Staged,
        until: Option<BootTime>,
    ) -> Result<(), MapFault> {
        let Staged { slot } = staged;
        let before = self.current.unwrap_or(slot);
        let switch = match until.and_then(|until| u64::try_from(until.as_nanos()).ok()) {
            Some(deadline) => Switch::until(slot, before, deadline),
            None => Switch::to(slot, before),
        };
        self.before = self.control.switch();
        self.write(switch)?;
        if self.current != Some(slot) {
            self.previous = self.current.replace(slot);
        }
        Ok(())
    }

    /// Takes back the last activation: what was in force before is so again, and
    /// for as long as it was to be.
    pub(super) fn revert(&mut self) -> Result<(), MapFault> {
        self.write(self.before)?;
        self.current = self.before.is_set().then(|| self.before.place());
        self.previous = self.before.is_set().then(|| self.before.before());
        Ok(())
    }

    /// What is in force is so for good.
    pub(super) fn settle(&mut self) -> Result<(), MapFault> {
        let switch = self.control.switch();
        self.write(Switch::to(switch.place(), switch.before()))
    }

    fn write(&self, switch: Switch) -> Result<(), MapFault> {
        self.control.change(|control| {
            control.switch = switch.0;
            Ok(())
        })
    }
}
