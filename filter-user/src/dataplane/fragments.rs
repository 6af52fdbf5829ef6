//! The table of fragmented datagrams.

use std::{collections::hash_map::RandomState, hash::BuildHasher as _};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use filter_common::{
    rate::TICKS_PER_NS,
    tables::{self, fragments},
};
use nix::time::{ClockId, clock_gettime};

use super::{LoadError, MapFault, control::Control, load::take};

/// The table in the kernel.
pub(super) struct Fragments {
    map: Array<MapData, fragments::Entry>,
    table: tables::Fragments,
}

impl Fragments {
    pub const MAP: &str = "FRAGMENTS";

    /// Buckets for at least so many entries.
    pub fn buckets(entries: u32) -> u32 {
        entries.div_ceil(fragments::WAYS).max(1)
    }

    /// Tells the program of the table, which was made with so many buckets.
    pub fn take(ebpf: &mut Ebpf, control: &Control, buckets: u32) -> Result<Self, LoadError> {
        // Of the standard library's hash maps: from the system's source of random numbers.
        let random = || RandomState::new().hash_one(0);
        let table = tables::Fragments { seed: [random(), random()], buckets, reserved: 0 };
        let told = control.change(|control| {
            control.fragments = table;
            Ok(())
        });
        told.map_err(|error| LoadError::Other(error.into()))?;
        Ok(Self { map: take(ebpf, Self::MAP)?, table })
    }

    /// Entries in use, and how many there is room for.
    pub fn fill(&self) -> Result<(u32, u32), MapFault> {
        let now = now();
        let capacity = self.table.buckets * fragments::WAYS;
        let mut used = 0;
        for index in 0..capacity {
            let entry = self.map.get(&index, 0).map_err(MapFault::of(Self::MAP, "read"))?;
            used += u32::from(fragments::is_used(&entry, now));
        }
        Ok((used, capacity))
    }

    /// Where the program looks for datagrams.
    pub fn table(&self) -> tables::Fragments {
        self.table
    }
}

/// The program's clock, `bpf_ktime_get_ns`, in its ticks.
fn now() -> u64 {
    // The clock has always existed; there is no way for this to fail.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
    let nanoseconds = now.unwrap_or_default().as_nanos();
    u64::try_from(nanoseconds).unwrap_or(u64::MAX).wrapping_mul(TICKS_PER_NS)
}
