//! How interfaces are found by their kernel index.

use super::INTERFACES;

/// Entries of one bucket.
pub const WAYS: usize = 4;
/// Buckets; a power of two.
pub const BUCKETS: u32 = 64;

/// One guarded interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// The kernel's index of the interface; 0: the entry is free.
    pub index: u32,
    /// The number that policy and counters know it by, below [`INTERFACES`].
    pub number: u16,
    /// Bits: [`RAW_IP`].
    pub flags: u16,
}

/// The frames of the interface begin with the IP header.
pub const RAW_IP: u16 = 1;

/// The interfaces whose index falls on one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket {
    /// In no order.
    pub entries: [Entry; WAYS],
}

/// The bucket of an interface's index.
#[inline(always)]
#[must_use]
pub const fn bucket(index: u32) -> u32 {
    index % BUCKETS
}

impl Bucket {
    /// The entry of an interface; number 0 for one that is not known.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, index: u32) -> Entry {
        let [a, b, c, d] = self.entries;
        if a.index == index {
            a
        } else if b.index == index {
            b
        } else if c.index == index {
            c
        } else if d.index == index {
            d
        } else {
            Entry { index, ..Entry::default() }
        }
    }
}

const _: () = assert!(INTERFACES <= BUCKETS && BUCKETS.is_power_of_two());
