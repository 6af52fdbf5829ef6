//! The table of rate state: who is in it, and how full it is.

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use filter_common::{
    table::{Rates, SourceBucket, SourceEntry, WAYS},
    tables::total_place,
};

use super::{LoadError, MapFault, load::take};

/// The table in the kernel, and the one of what all sources of a rule share.
pub(super) struct Sources {
    table: Array<MapData, SourceBucket>,
    totals: Array<MapData, Rates>,
}

impl Sources {
    pub(super) const MAP: &str = "SOURCES";
    const TOTALS: &str = "TOTALS";

    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self { table: take(ebpf, Self::MAP)?, totals: take(ebpf, Self::TOTALS)? })
    }

    /// How many buckets hold so many sources: a power of two.
    pub(super) fn buckets(sources: u32) -> u32 {
        sources.div_ceil(WAYS as u32).next_power_of_two()
    }

    /// How many sources and networks there is room for.
    pub(super) fn capacity(&self) -> u32 {
        self.table.len() * WAYS as u32
    }

    /// What all sources of a rule owe together.
    pub(super) fn total(&self, rule: u32) -> Result<Rates, MapFault> {
        self.totals.get(&total_place(rule, false), 0).map_err(MapFault::of(Self::TOTALS, "read"))
    }

    /// What is in the table, as it stood when each bucket was read.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<SourceEntry, MapFault>> {
        let taken = |bucket: SourceBucket| {
            (0..WAYS).filter(move |way| bucket.tags[*way] != 0).map(move |way| bucket.entries[way])
        };
        (0..self.table.len()).flat_map(move |index| {
            let bucket = self.table.get(&index, 0).map_err(MapFault::of(Self::MAP, "read"));
            let (found, fault) = match bucket {
                Ok(bucket) => (Some(taken(bucket)), None),
                Err(fault) => (None, Some(Err(fault))),
            };
            found.into_iter().flatten().map(Ok).chain(fault)
        })
    }
}
