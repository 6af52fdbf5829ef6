//! The table of rate state: who is in it, and how full it is.

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use filter_common::table::{SourceBucket, SourceEntry, WAYS};

use super::{LoadError, MapFault, load::take};

/// The table in the kernel.
pub(super) struct Sources(Array<MapData, SourceBucket>);

impl Sources {
    pub(super) const MAP: &str = "SOURCES";

    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        take(ebpf, Self::MAP).map(Self)
    }

    /// How many buckets hold so many sources: a power of two.
    pub(super) fn buckets(sources: u32) -> u32 {
        sources.div_ceil(WAYS as u32).next_power_of_two()
    }

    /// How many sources and networks there is room for.
    pub(super) fn capacity(&self) -> u32 {
        self.0.len() * WAYS as u32
    }

    /// What is in the table, as it stood when each bucket was read.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<SourceEntry, MapFault>> {
        let taken = |bucket: SourceBucket| {
            (0..WAYS).filter(move |way| bucket.tags[*way] != 0).map(move |way| bucket.entries[way])
        };
        (0..self.0.len()).flat_map(move |index| {
            let bucket = self.0.get(&index, 0).map_err(MapFault::of(Self::MAP, "read"));
            let (found, fault) = match bucket {
                Ok(bucket) => (Some(taken(bucket)), None),
                Err(fault) => (None, Some(Err(fault))),
            };
            found.into_iter().flatten().map(Ok).chain(fault)
        })
    }
}
