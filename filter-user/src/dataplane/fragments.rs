//! The table of fragmented datagrams.

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use filter_common::{
    rate::TICKS_PER_NS,
    tables::{self, fragments},
};

use super::{LoadError, MapFault, clock::monotonic, load::take};

/// The table in the kernel.
pub(super) struct Fragments {
    map: Array<MapData, fragments::Bucket>,
    table: tables::Fragments,
}

impl Fragments {
    pub const MAP: &str = "FRAGMENTS";

    /// Buckets for at least so many entries.
    pub fn buckets(entries: u32) -> u32 {
        entries.div_ceil(fragments::WAYS).max(1)
    }

    /// The table, which was made as `table` says.
    pub fn take(ebpf: &mut Ebpf, table: tables::Fragments) -> Result<Self, LoadError> {
        Ok(Self { map: take(ebpf, Self::MAP)?, table })
    }

    /// Entries in use, and how many there is room for.
    pub fn fill(&self) -> Result<(u32, u32), MapFault> {
        let now = monotonic().wrapping_mul(TICKS_PER_NS);
        let mut used = 0;
        for index in 0..self.table.buckets {
            let bucket = self.map.get(&index, 0).map_err(MapFault::of(Self::MAP, "read"))?;
            used +=
                bucket.iter().map(|entry| u32::from(fragments::is_used(entry, now))).sum::<u32>();
        }
        Ok((used, self.table.buckets * fragments::WAYS))
    }

    /// The words of all entries that were ever used, by place.
    pub fn entries(&self) -> Result<Vec<(u32, [u64; 3])>, MapFault> {
        let mut entries = Vec::new();
        for index in 0..self.table.buckets {
            let bucket = self.map.get(&index, 0).map_err(MapFault::of(Self::MAP, "read"))?;
            let places = (index * fragments::WAYS..).zip(bucket);
            entries.extend(places.filter(|(_, entry)| entry.clock != 0).map(
                |(place, fragments::Entry { tag, clock, verdict })| (place, [tag, clock, verdict]),
            ));
        }
        Ok(entries)
    }

    /// Where the program looks for datagrams.
    pub fn table(&self) -> tables::Fragments {
        self.table
    }
}
