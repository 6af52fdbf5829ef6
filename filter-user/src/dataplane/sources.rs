//! The table of rate state: who is in it, and how full it is.

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use filter_common::{
    table::{Rates, SourceBucket, SourceEntry, SourceTags, WAYS},
    tables::total_place,
};

use super::{LoadError, MapFault, load::take};

/// The table in the kernel, its tags, and the one of what all sources of a rule share.
pub(super) struct Sources {
    table: Array<MapData, SourceBucket>,
    tags: Array<MapData, SourceTags>,
    totals: Array<MapData, Rates>,
}

impl Sources {
    pub(super) const MAP: &str = "SOURCES";
    pub(super) const TAGS: &str = "TAGS";
    const TOTALS: &str = "TOTALS";

    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            table: take(ebpf, Self::MAP)?,
            tags: take(ebpf, Self::TAGS)?,
            totals: take(ebpf, Self::TOTALS)?,
        })
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
        self.part(rule, false)
    }

    /// The same, or the part of it that strangers owe.
    pub(super) fn part(&self, rule: u32, strangers: bool) -> Result<Rates, MapFault> {
        let place = total_place(rule, strangers);
        self.totals.get(&place, 0).map_err(MapFault::of(Self::TOTALS, "read"))
    }

    /// What is in the table, as it stood when each bucket was read.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<SourceEntry, MapFault>> {
        (0..self.table.len()).flat_map(move |index| {
            let (found, fault) = match self.bucket(index) {
                Ok(found) => (Some(found), None),
                Err(fault) => (None, Some(Err(fault))),
            };
            found.into_iter().flatten().map(Ok).chain(fault)
        })
    }

    /// The places of a bucket that are taken.
    fn bucket(&self, index: u32) -> Result<impl Iterator<Item = SourceEntry> + use<>, MapFault> {
        let tags = self.tags.get(&index, 0).map_err(MapFault::of(Self::TAGS, "read"))?;
        let is_taken = tags.iter().any(|tag| *tag != 0);
        let entries = if is_taken {
            self.table.get(&index, 0).map_err(MapFault::of(Self::MAP, "read"))?
        } else {
            SourceBucket::default()
        };
        Ok(tags.into_iter().zip(entries).filter(|(tag, _)| *tag != 0).map(|(_, entry)| entry))
    }
}
