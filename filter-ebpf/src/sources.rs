//! The table of rate state, as a BPF array of buckets.

use core::ptr::NonNull;

use filter_common::{
    Cell as _,
    table::{Bucket, Place, Rates, SourceBucket, SourceEntry, SourceTags, Table, WAYS},
    tables::{SourceKey, probe::READ_ONLY},
};

use crate::{atomic::MapWord, globals, maps, scratch};

/// The table. `word`: a place of this CPU's own in a map's value.
pub struct Sources {
    pub word: *mut u64,
}

/// One bucket of it.
pub struct MapBucket {
    tags: *mut SourceTags,
    entries: *mut SourceBucket,
    word: *mut u64,
}

/// One place of it, or the buckets that a rule's sources share.
#[derive(Clone, Copy)]
pub struct Buckets(NonNull<Rates>);

impl Table for Sources {
    type Bucket = MapBucket;

    #[inline(always)]
    fn bucket(&self, hash: u64) -> Option<MapBucket> {
        let index = hash as u32 & globals::sources_mask();
        let (tags, entries) = (maps::TAGS.get_ptr_mut(index)?, maps::SOURCES.get_ptr_mut(index)?);
        Some(MapBucket { tags, entries, word: self.word })
    }

    #[inline(always)]
    fn forget(&self, number: usize) -> usize {
        // SAFETY: this CPU's own word.
        unsafe { scratch::forget(self.word, number) }
    }
}

impl MapBucket {
    #[inline(always)]
    fn tag_word(&self, way: usize) -> MapWord {
        // SAFETY: a word in the bucket, by the bound of `way`.
        unsafe { MapWord::new(self.tags.cast::<u64>().add(way)) }
    }

    #[inline(always)]
    fn entry(&self, way: usize) -> *mut SourceEntry {
        // SAFETY: in the bucket, by the bound of `way`.
        unsafe { self.entries.cast::<SourceEntry>().add(way) }
    }
}

impl Bucket for MapBucket {
    type Place = Buckets;

    #[inline(always)]
    fn tag(&self, way: usize) -> u64 {
        self.tag_word(way).load()
    }

    #[inline(always)]
    fn rates(&self, way: usize) -> Rates {
        // SAFETY: in a map's value; a torn copy makes a worse choice, no more.
        unsafe { (*self.entry(way)).rates }
    }

    #[inline(always)]
    fn claim(&self, way: usize, old: u64, new: u64) -> bool {
        self.tag_word(self.forget(way) & (WAYS - 1)).compare_exchange(old, new) == old
    }

    #[inline(always)]
    fn place(&self, way: usize) -> Buckets {
        // SAFETY: not null: in the bucket.
        Buckets(unsafe { NonNull::new_unchecked(self.entry(self.forget(way) & (WAYS - 1)).cast()) })
    }

    #[inline(always)]
    fn forget(&self, number: usize) -> usize {
        // SAFETY: this CPU's own word.
        unsafe { scratch::forget(self.word, number) }
    }
}

impl Place for Buckets {
    #[inline(always)]
    fn begin(&self, key: &SourceKey, fresh: bool) {
        if globals::probe(READ_ONLY) {
            return;
        }
        let entry = self.0.as_ptr().cast::<SourceEntry>();
        // SAFETY: `table` begins its own places only, and they begin with this.
        unsafe {
            if fresh {
                (*entry).rates = Rates::NONE;
            }
            (*entry).rates.protected = 0;
            (*entry).rates.refused = 0;
            (*entry).key = *key;
        }
    }
}

impl Buckets {
    /// Buckets in another map's value.
    ///
    /// # Safety
    ///
    /// They live as long as the program runs.
    #[inline(always)]
    pub unsafe fn new(buckets: NonNull<Rates>) -> Self {
        Self(buckets)
    }
}

impl filter_common::Buckets for Buckets {
    type Cell = MapWord;

    #[inline(always)]
    fn new_connections(&self) -> MapWord {
        // SAFETY: a word in a map's value. The place may become another's
        // meanwhile, which costs that one a token, no more.
        unsafe { MapWord::new(&raw mut (*self.0.as_ptr()).new_connections) }
    }

    #[inline(always)]
    fn packets(&self) -> MapWord {
        // SAFETY: as above.
        unsafe { MapWord::new(&raw mut (*self.0.as_ptr()).packets) }
    }

    #[inline(always)]
    fn bytes(&self) -> MapWord {
        // SAFETY: as above.
        unsafe { MapWord::new(&raw mut (*self.0.as_ptr()).bytes) }
    }

    #[inline(always)]
    fn prove(&self, now: u64) {
        if globals::probe(READ_ONLY) {
            return;
        }
        let rates = self.0.as_ptr();
        // SAFETY: in a map's value.
        unsafe {
            if let Some(until) = Rates::protect((*rates).protected, now) {
                (*rates).protected = until;
            }
        }
    }

    #[inline(always)]
    fn refuse(&self) {
        if globals::probe(READ_ONLY) {
            return;
        }
        // SAFETY: as above; two CPUs may count two packets as one, which
        // people do not mind here. The rule's counters are exact.
        unsafe { (*self.0.as_ptr()).refused += 1 };
    }
}
