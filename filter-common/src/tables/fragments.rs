//! The table of fragmented datagrams.

/// Entries, unless the policy says otherwise.
pub const DEFAULT: u32 = 16_384;
/// Entries of one bucket.
pub const WAYS: u32 = 8;

/// One datagram; [`fragments`](crate::fragments) says what the words mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// The hash of what identifies it.
    pub tag: u64,
    /// When it began and how far it has come; 0: the entry is free.
    pub clock: u64,
    /// What became of its first fragment.
    pub verdict: u64,
}

/// The entries whose hashes fall together.
pub type Bucket = [Entry; WAYS as usize];

/// Whether an entry is in use, at `now` in ticks.
#[must_use]
pub const fn is_used(entry: &Entry, now: u64) -> bool {
    crate::fragments::is_fresh(entry.clock, now)
}
