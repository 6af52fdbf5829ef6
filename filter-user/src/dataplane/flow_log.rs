//! The flows that the program counts for the flow log.

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, PerCpuArray},
};
use filter_common::tables::{
    InterfaceBlock,
    flow_log::{Bucket, Entry, ON, SECOND, TIME_SHIFT, Tags, WAYS},
};

use super::{LoadError, MapFault, load::take};

/// The two tables of flows, and the word that says which of them is filled.
pub struct FlowCounts {
    tags: Array<MapData, Tags>,
    counts: Array<MapData, Bucket>,
    blocks: PerCpuArray<MapData, InterfaceBlock>,
    word: Array<MapData, u64>,
}

impl std::fmt::Debug for FlowCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowCounts").finish_non_exhaustive()
    }
}

/// Which of the two tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Half {
    /// One.
    #[default]
    First,
    /// The other.
    Second,
}

impl Half {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl FlowCounts {
    pub(super) const COUNTS: &str = "FLOW_COUNTS";
    pub(super) const TAGS: &str = "FLOW_TAGS";
    /// Where the loader puts what the program declares in a section of that name.
    const WORD: &str = ".data.flows";

    /// Takes its maps, and another handle to one that others have too.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        const BLOCKS: &str = "BLOCKS";
        let Some(Map::PerCpuArray(blocks)) = ebpf.map(BLOCKS) else {
            return Err(LoadError::Object { what: "map", name: BLOCKS });
        };
        let other = |error: Box<dyn std::error::Error + Send + Sync>| LoadError::Other(error);
        let blocks = std::os::fd::AsFd::as_fd(blocks.fd()).try_clone_to_owned();
        let blocks = blocks.map_err(|error| other(error.into()))?;
        let blocks = MapData::from_fd(blocks).map_err(|error| other(error.into()))?;
        let blocks = Map::PerCpuArray(blocks).try_into();
        Ok(Self {
            tags: take(ebpf, Self::TAGS)?,
            counts: take(ebpf, Self::COUNTS)?,
            blocks: blocks.map_err(|error: aya::maps::MapError| other(error.into()))?,
            word: take(ebpf, Self::WORD)?,
        })
    }

    /// How many buckets each half has to hold so many flows: a power of two.
    pub(super) fn buckets(flows: u32) -> u32 {
        flows.div_ceil(WAYS as u32).next_power_of_two()
    }

    /// How many flows each half has room for.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.buckets_of_half() * WAYS as u32
    }

    fn buckets_of_half(&self) -> u32 {
        self.tags.len() / 2
    }

    /// Has flows counted in that half, as of now (seconds since 1970); `None`: not at all.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write.
    pub fn count_in(&mut self, half: Option<(Half, u32)>) -> Result<(), MapFault> {
        let word = half.map_or(0, |(half, now)| {
            let place = if half == Half::Second { SECOND } else { 0 };
            u64::from(now) << TIME_SHIFT | place | ON
        });
        self.word.set(0, word, 0).map_err(MapFault::of(Self::WORD, "write"))
    }

    /// The flows of a half.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn flows(&self, half: Half) -> Result<Vec<Entry>, MapFault> {
        let mut found = Vec::new();
        self.visit(half, |_, entries| {
            found.extend(entries);
            Ok(())
        })?;
        Ok(found)
    }

    /// The flows of a half that the program does not fill now, which is empty then.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read or write.
    pub fn drain(&mut self, half: Half) -> Result<Vec<Entry>, MapFault> {
        let (mut found, mut taken) = (Vec::new(), Vec::new());
        self.visit(half, |index, entries| {
            found.extend(entries);
            taken.push(index);
            Ok(())
        })?;
        for index in taken {
            let empty = Bucket::default();
            self.counts.set(index, empty, 0).map_err(MapFault::of(Self::COUNTS, "write"))?;
            let free = Tags::default();
            self.tags.set(index, free, 0).map_err(MapFault::of(Self::TAGS, "write"))?;
        }
        Ok(found)
    }

    /// Looks at each bucket that holds something.
    fn visit(
        &self,
        half: Half,
        mut look: impl FnMut(u32, Vec<Entry>) -> Result<(), MapFault>,
    ) -> Result<(), MapFault> {
        for bucket in 0..self.buckets_of_half() {
            let index = bucket << 1 | u32::from(half == Half::Second);
            let tags = self.tags.get(&index, 0).map_err(MapFault::of(Self::TAGS, "read"))?;
            if tags == Tags::default() {
                continue;
            }
            let bucket = self.counts.get(&index, 0).map_err(MapFault::of(Self::COUNTS, "read"))?;
            look(index, bucket.into_iter().filter(|entry| entry.packets > 0).collect())?;
        }
        Ok(())
    }

    /// Packets on the interface with that number whose flow found no room, since
    /// the maps were made.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn unlogged(&self, interface: u32) -> Result<u64, MapFault> {
        let blocks = self.blocks.get(&interface, 0).map_err(MapFault::of("BLOCKS", "read"))?;
        Ok(blocks.iter().map(|block| block.unlogged).sum())
    }
}
