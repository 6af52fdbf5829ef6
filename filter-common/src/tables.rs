//! The types that stand in the tables, for the kernel and the controller.
//!
//! Every type is `repr(C)` without padding. A change of any of them, or of
//! what an index means, is a change of the boundary.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{Address, Outcome, Reason, rate::Limit};

/// Interfaces that can be told apart, number 0 included: that is any which
/// the controller has not named.
pub const INTERFACES: u32 = 32;

/// Generations of the policy there is room for: live, previous and the one
/// being made, and one more, because the verifier understands a mask.
pub const GENERATIONS: u32 = 4;

/// What the whole of a policy says: one immutable record a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Generation {
    /// Bits of [`generation`].
    pub flags: u32,
    /// Keeps the layout the same for both sides.
    pub reserved: u32,
    /// The port table that each interface sees, by the interface's number.
    pub groups: [u8; INTERFACES as usize],
    /// IP protocols that pass: bit `n % 64` of word `n / 64`.
    pub protocols: [u64; 4],
    /// What of an IPv4 address is its source prefix.
    pub source_mask_ipv4: Mask,
    /// What of an IPv6 address is its source prefix.
    pub source_mask_ipv6: Mask,
    /// Echo requests, for each source; unset: none pass.
    pub echo: Limit,
    /// By [`InterfaceLimit`](crate::InterfaceLimit); `Errors` unset: none pass.
    pub interface: [Limit; 3],
}

/// An address mask, as the words of an [`Address`].
pub type Mask = [u32; 4];

/// Bits of [`Generation::flags`].
pub mod generation {
    /// The whole policy is in monitor mode.
    pub const MONITOR: u32 = 1;
    /// The lists name an IPv4 prefix.
    pub const LISTS_IPV4: u32 = 2;
    /// The lists name an IPv6 prefix.
    pub const LISTS_IPV6: u32 = 4;
}

/// What is behind a port: which rule holds for which source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct View {
    /// The rule for every IPv4 source that no prefix names; 0: none.
    pub default_ipv4: u32,
    /// The rule for every IPv6 source that no prefix names; 0: none.
    pub default_ipv6: u32,
    /// Bits of [`view`].
    pub flags: u32,
    /// Keeps the layout the same for both sides.
    pub reserved: u32,
}

/// Bits of [`View::flags`].
pub mod view {
    /// The prefix table has IPv4 entries for this view.
    pub const PREFIXES_IPV4: u32 = 1;
    /// The prefix table has IPv6 entries for this view.
    pub const PREFIXES_IPV6: u32 = 2;
    /// Every rule of the port is in monitor mode.
    pub const MONITOR: u32 = 4;
}

/// One rule as the verdict reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Rule {
    /// Names the rule's counters and buckets; it stays with the rule's name
    /// from one generation to the next.
    pub id: u32,
    /// Bits of [`rule`].
    pub flags: u32,
    /// New connections of each source.
    pub new_connections: Limit,
    /// Packets of each source.
    pub packets: Limit,
    /// Frame bytes of each source.
    pub bytes: Limit,
}

/// Bits of [`Rule::flags`].
pub mod rule {
    /// The rule is in monitor mode.
    pub const MONITOR: u32 = 1;
}

/// The key of one source's buckets under one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SourceKey {
    /// [`Rule::id`], or [`ECHO`].
    pub rule: u32,
    /// The source's prefix, other bits cleared.
    pub source: Address,
}

/// Stands for a rule in a [`SourceKey`]: the buckets of echo requests.
pub const ECHO: u32 = u32::MAX;

/// One source's buckets under one rule: theoretical arrival times in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SourceBuckets {
    /// Of `new_connections`.
    pub new_connections: u64,
    /// Of `packets`.
    pub packets: u64,
    /// Of `bytes`.
    pub bytes: u64,
}

/// The key of a rule's prefix: the view, then the address. The view comes
/// first, so that the longest match is the longest within the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ViewPrefix {
    /// The view's number; its byte order does not matter, all 32 bits match.
    pub view: u32,
    /// The prefix's address.
    pub address: Address,
}

/// Bits of a [`ViewPrefix`] before its address.
pub const VIEW_BITS: u32 = 32;

/// Two bits for each address of an IPv4 /24 whose addresses differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Leaf {
    /// Address `n` is at bits `2 * (n % 32)` of word `n / 32`.
    pub words: [u64; 8],
}

/// How interfaces are found by their kernel index.
pub mod interfaces {
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
}

/// The port table: protocol and port to view.
pub mod ports {
    /// Ports in one word.
    const PER_WORD: u32 = 4;
    /// Words of one table: TCP's ports, then UDP's.
    pub const WORDS: u32 = 2 * 65_536 / PER_WORD;
    /// The highest number of a view; 0 is a closed port.
    pub const VIEWS_MAX: u32 = 65_535;

    /// The word and the shift at which a port's view stands.
    #[inline(always)]
    #[must_use]
    pub const fn place(udp: bool, port: u16) -> (u32, u32) {
        let base = if udp { WORDS / 2 } else { 0 };
        (base + port as u32 / PER_WORD, port as u32 % PER_WORD * 16)
    }
}

/// The address lists: `trusted` and `denied` of one generation.
///
/// IPv4 is a bitmap with two bits for each /24: no entry, all trusted, all
/// denied, or [`MIXED`](lists::MIXED), where a leaf tells its addresses
/// apart. IPv6 is a prefix table, and before it a filter: one bit for the
/// hash of an address's first 32 bits.
pub mod lists {
    use crate::Address;

    /// Neither trusted nor denied.
    pub const NONE: u32 = 0;
    /// Trusted.
    pub const TRUSTED: u32 = 1;
    /// Denied.
    pub const DENIED: u32 = 2;
    /// The addresses of the /24 differ.
    pub const MIXED: u32 = 3;

    /// Two-bit entries in a word.
    pub const PER_WORD: u32 = 32;
    const IPV4_WORDS: u32 = (1 << 24) / PER_WORD;
    /// Words of the bitmap and the filter behind it.
    pub const WORDS: u32 = IPV4_WORDS + super::FILTER_BITS / 64;

    /// The word and the shift of an IPv4 /24, by its number.
    #[inline(always)]
    #[must_use]
    pub const fn block_place(block: u32) -> (u32, u32) {
        (block / PER_WORD, block % PER_WORD * 2)
    }

    /// The word and the shift of an address in a leaf, by its last byte.
    #[inline(always)]
    #[must_use]
    pub const fn leaf_place(last: u32) -> (usize, u32) {
        ((last / PER_WORD) as usize & 7, last % PER_WORD * 2)
    }

    /// The word and the bit of an IPv6 address's first 32 bits.
    #[inline(always)]
    #[must_use]
    pub const fn filter_place(high: u32) -> (u32, u32) {
        let bit = super::filter_hash(high);
        (IPV4_WORDS + bit / 64, bit % 64)
    }

    /// [`filter_place`] of an address.
    #[inline(always)]
    #[must_use]
    pub const fn filter_of(address: &Address) -> (u32, u32) {
        filter_place(address.high())
    }
}

/// The bans' bitmap: a bit for each IPv4 /24 that holds a ban, and for the
/// hash of the first 32 bits of each banned IPv6 prefix. Bans are the same for
/// all generations.
pub mod bans {
    use crate::Address;

    const IPV4_WORDS: u32 = (1 << 24) / 64;
    /// Words of the bitmap.
    pub const WORDS: u32 = IPV4_WORDS + super::FILTER_BITS / 64;

    /// A ban exists.
    pub const ANY: u32 = 1;
    /// A banned prefix exists that is wider than one address.
    pub const PREFIXES: u32 = 2;

    /// The ban never runs out.
    pub const FOREVER: u64 = u64::MAX;

    /// The word and the bit of an IPv4 /24, by its number.
    #[inline(always)]
    #[must_use]
    pub const fn block_place(block: u32) -> (u32, u32) {
        (block / 64, block % 64)
    }

    /// The word and the bit of an IPv6 address's first 32 bits.
    #[inline(always)]
    #[must_use]
    pub const fn filter_place(high: u32) -> (u32, u32) {
        let bit = super::filter_hash(high);
        (IPV4_WORDS + bit / 64, bit % 64)
    }

    /// The word and the bit of any address.
    #[inline(always)]
    #[must_use]
    pub const fn place(address: &Address) -> (u32, u32) {
        if address.is_ipv4() {
            block_place(address.ipv4() >> 8)
        } else {
            filter_place(address.high())
        }
    }
}

/// Bits of an IPv6 filter.
pub const FILTER_BITS: u32 = 1 << FILTER_LOG2;
const FILTER_LOG2: u32 = 20;

/// Multiplicative hashing (Knuth, TAOCP 3, section 6.4). Whoever aims at a
/// collision wins one look-up in the table behind the filter.
const fn filter_hash(high: u32) -> u32 {
    high.wrapping_mul(0x9e37_79b1) >> (32 - FILTER_LOG2)
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Packets counted.
    pub packets: u64,
    /// Their frame bytes.
    pub bytes: u64,
}

/// What one CPU keeps for one interface.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct InterfaceBlock {
    /// By [`counters::of_interface`].
    pub counters: [Counter; counters::PER_INTERFACE as usize],
    /// The program's own, for the packet at hand.
    pub scratch: [u64; SCRATCH_WORDS],
}

/// Words of [`InterfaceBlock::scratch`].
pub const SCRATCH_WORDS: usize = 16;

/// What every packet reads, in one place that the program has at hand without
/// a look-up. The controller writes it whole; a word of it changes at a time.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Control {
    /// The place of the generation in force: what a packet reads once.
    pub live: u64,
    /// Which kinds of ban exist: bits of [`bans`].
    pub bans: u32,
    /// Keeps the layout the same for both sides.
    pub reserved: u32,
    /// Which interfaces are guarded, by [`interfaces::bucket`].
    pub guarded: [interfaces::Bucket; interfaces::BUCKETS as usize],
    /// What each generation says, by its place.
    pub policies: [Generation; GENERATIONS as usize],
}

impl Control {
    /// No policy, no ban, no interface: everything is closed.
    #[must_use]
    pub const fn new() -> Self {
        let limit = Limit { multiplier: 0, window: 0, shift: 0, reserved: 0 };
        let entry = interfaces::Entry { index: 0, number: 0, flags: 0 };
        let generation = Generation {
            flags: 0,
            reserved: 0,
            groups: [0; INTERFACES as usize],
            protocols: [0; 4],
            source_mask_ipv4: [0; 4],
            source_mask_ipv6: [0; 4],
            echo: limit,
            interface: [limit; 3],
        };
        let bucket = interfaces::Bucket { entries: [entry; interfaces::WAYS] };
        Self {
            live: 0,
            bans: 0,
            reserved: 0,
            guarded: [bucket; interfaces::BUCKETS as usize],
            policies: [generation; GENERATIONS as usize],
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

/// Where outcomes are counted.
pub mod counters {
    use super::{Outcome, Reason};
    use crate::Scope;

    /// Counters of one interface: by reason, then by the reason for which
    /// monitor mode let a packet through.
    pub const PER_INTERFACE: u32 = 64;
    /// The place, among an interface's, of packets refused because other
    /// CPUs won every swap, or for want of room.
    pub const CONTENDED: u32 = PER_INTERFACE - 1;

    /// Counters of one rule.
    pub const PER_RULE: u32 = 32;
    /// Rules whose counters stand in one chunk.
    pub const RULES_PER_CHUNK: u32 = 256;
    /// Counters in one chunk.
    pub const CHUNK: u32 = PER_RULE * RULES_PER_CHUNK;
    /// Chunks there is room for.
    pub const CHUNKS: u32 = 256;

    /// Added to a counter's place for what monitor mode let through.
    const MONITORED: u32 = 16;
    const _: () = assert!(Reason::ALL.len() < PER_INTERFACE as usize / 2);

    /// The place of a reason among an interface's counters.
    #[inline(always)]
    #[must_use]
    pub const fn of_interface(reason: Reason, monitored: bool) -> u32 {
        reason as u32 + if monitored { PER_INTERFACE / 2 } else { 0 }
    }

    /// The place of a reason and scope among a rule's counters; `None` for a
    /// reason to which no rule is party.
    #[inline(always)]
    #[must_use]
    pub const fn of_rule(reason: Reason, scope: Option<Scope>, monitored: bool) -> Option<u32> {
        let limit = match reason {
            Reason::Rule => return Some(0),
            Reason::Monitor => return Some(1),
            Reason::OutOfState => return Some(2 + if monitored { MONITORED } else { 0 }),
            Reason::ConnectionRate => 0,
            Reason::PacketRate => 1,
            Reason::ByteRate => 2,
            _ => return None,
        };
        match scope {
            Some(scope) => {
                Some(4 + limit * 3 + scope as u32 + if monitored { MONITORED } else { 0 })
            }
            None => None,
        }
    }

    /// The places at which an outcome counts for its rule: that of its
    /// verdict and, where monitor mode let it through, that of the reason.
    #[inline(always)]
    #[must_use]
    pub const fn of_outcome(outcome: &Outcome) -> (Option<u32>, Option<u32>) {
        match outcome.monitored {
            None => (of_rule(outcome.reason, outcome.scope, false), None),
            Some(reason) => {
                (of_rule(outcome.reason, None, false), of_rule(reason, outcome.scope, true))
            }
        }
    }
}
