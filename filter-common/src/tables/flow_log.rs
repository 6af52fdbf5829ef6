//! The flows of one minute: what the flow log is written from.
//!
//! Two tables of buckets, of which the program fills one while the controller
//! reads and clears the other. A flow has one place or none: nothing is given
//! up for another, and a packet whose flow finds no room is counted. Refused
//! flows may take half of each bucket, so that no flood of them leaves no room
//! for what is accepted; and a flood in random names reads four tags, no more.

use crate::{Address, Seed, hash::mix};

/// Places of one bucket.
pub const WAYS: usize = 8;
/// Of these, those that refused flows may take.
pub const REFUSED_WAYS: usize = 4;
/// Places of each of the two tables, unless the policy says otherwise.
pub const DEFAULT: u32 = 65_536;

/// In the controller's word: flows are counted.
pub const ON: u64 = 1;
/// In the controller's word: in the second table.
pub const SECOND: u64 = 2;
/// In the controller's word: the first bit of the time, in seconds since 1970.
pub const TIME_SHIFT: u32 = 2;

/// The hash of the key of each place; 0: the place is free.
pub type Tags = [u64; WAYS];
/// The places whose hashes fall together.
pub type Bucket = [Entry; WAYS];

/// One flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// Which one.
    pub key: Key,
    /// When its first packet came, in seconds since 1970.
    pub first: u32,
    /// When its last one came.
    pub last: u32,
    /// How many there were.
    pub packets: u64,
    /// Their frames' bytes.
    pub bytes: u64,
}

/// What tells flows apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Key {
    /// Who sent it.
    pub source: Address,
    /// Whom it is for.
    pub destination: Address,
    /// In host order; 0 where the protocol has none.
    pub source_port: u16,
    /// Likewise.
    pub destination_port: u16,
    /// The interface's number.
    pub interface: u16,
    /// The IP protocol.
    pub protocol: u8,
    /// 1: it was dropped.
    pub refused: u8,
}

impl Key {
    /// Its hash: the tag, and by its low bits the bucket. Who makes two flows
    /// fall together wins nothing: their keys are compared.
    #[inline(always)]
    #[must_use]
    pub const fn hash(&self, seed: &Seed) -> u64 {
        let [a, b] = self.source.halves();
        let [c, d] = self.destination.halves();
        let rest = (self.source_port as u64) << 48
            | (self.destination_port as u64) << 32
            | (self.interface as u64) << 16
            | (self.protocol as u64) << 8
            | self.refused as u64;
        // Side by side, and turned, so that a flow is not its own answer.
        let (from, to) = (mix(seed, [a, b, rest]), mix(seed, [c, d, 0]));
        from ^ to.rotate_left(32) | 1 << 63
    }
}
