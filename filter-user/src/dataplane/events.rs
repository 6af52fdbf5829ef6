//! The drops that the program tells of.

use aya::{
    Ebpf,
    maps::{Array, MapData, RingBuf},
};
use filter_common::tables::events::{Event, Granted, LOST, TAKEN};
use zerocopy::FromBytes as _;

use super::{LoadError, MapFault, load::take};

/// The ring of events, and how many there may be.
pub struct Events {
    ring: RingBuf<MapData>,
    words: Array<MapData, u64>,
    granted: Array<MapData, Granted>,
    /// What was written last.
    last: Option<Granted>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Where the loader puts what the program declares in a section of that name.
    const GRANTED: &str = ".data.events";

    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            ring: take(ebpf, "EVENTS")?,
            words: take(ebpf, "EVENT_WORDS")?,
            granted: take(ebpf, Self::GRANTED)?,
            last: None,
        })
    }

    /// How many events the program took of those it was granted, since the maps were made.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn taken(&self) -> Result<u64, MapFault> {
        self.word(TAKEN)
    }

    /// How many of them were lost, because the ring was full.
    ///
    /// # Errors
    ///
    /// As [`taken`](Self::taken).
    pub fn lost(&self) -> Result<u64, MapFault> {
        self.word(LOST)
    }

    fn word(&self, place: u32) -> Result<u64, MapFault> {
        self.words.get(&place, 0).map_err(MapFault::of("EVENT_WORDS", "read"))
    }

    /// Says how many events there may have been since the maps were made.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write.
    pub fn grant(&mut self, events: u64) -> Result<(), MapFault> {
        let granted = Granted { events };
        if self.last != Some(granted) {
            let fault = MapFault::of(Self::GRANTED, "write");
            self.granted.set(0, granted, 0).map_err(fault)?;
            self.last = Some(granted);
        }
        Ok(())
    }

    /// The next event, if there is one.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let item = self.ring.next()?;
            // All that the program writes has this length.
            if let Ok(event) = Event::read_from_bytes(&item) {
                return Some(event);
            }
        }
    }
}
