//! The types that stand in the tables, for the kernel and the controller.
//!
//! Every type is `repr(C)` without padding. A change of any of them, or of
//! what an index means, is a change of the boundary.

pub mod bans;
pub mod counters;
pub mod events;
pub mod filter;
pub mod flow_log;
pub mod fragments;
pub mod interfaces;
pub mod lists;
pub mod ports;
pub mod probe;
pub mod speakers;
pub mod switch;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use self::filter::Filter;
use crate::{Address, Outcome, Reason, Seed, rate::Limit};

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
    /// How many port tables there are; [`groups`](Self::groups) names them.
    pub group_count: u32,
    /// The port table that each interface sees, by the interface's number.
    pub groups: [u8; INTERFACES as usize],
    /// IP protocols that pass: bit `n % 64` of word `n / 64`.
    pub protocols: [u64; 4],
    /// What of an address is its source prefix.
    pub source: Masks,
    /// What of an address is its network prefix.
    pub network: Masks,
    /// Echo requests, for each source; unset: none pass.
    pub echo: Limit,
    /// By [`InterfaceLimit`](crate::InterfaceLimit); `Errors` unset: none pass.
    pub interface: [Limit; 3],
}

/// An address mask, as the words of an [`Address`].
pub type Mask = [u32; 4];

/// What of an address counts, by its family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Masks {
    /// Of an IPv4 address.
    pub ipv4: Mask,
    /// Of an IPv6 address.
    pub ipv6: Mask,
}

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
    /// Which IPv4 sources a prefix may hold, where there are any.
    pub filter_ipv4: Filter,
    /// Likewise of IPv6.
    pub filter_ipv6: Filter,
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
    /// By scope: what each source may, what the sources of one network may
    /// together, what all sources may together; and at [`rule::STRANGERS`]
    /// what of that may be taken by sources that have not completed a
    /// handshake of late.
    pub limits: [Limits; rule::SCOPES],
    /// By scope: how many connections may be held at the same time; 0: any number.
    pub connections: [u32; rule::SCOPES],
}

/// The limits of one scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Limits {
    /// Bare SYNs.
    pub new_connections: Limit,
    /// Packets that are no bare SYN.
    pub packets: Limit,
    /// Their frames' bytes.
    pub bytes: Limit,
}

/// Bits of [`Rule::flags`].
pub mod rule {
    /// The rule is in monitor mode.
    pub const MONITOR: u32 = 1;
    /// The first of four bits that tell at which places among the rule's
    /// limits there is one on what bare SYNs pay.
    pub const CONNECTIONS_SHIFT: u32 = 8;
    /// Likewise on what all other packets pay.
    pub const PACKETS_SHIFT: u32 = 16;
    /// Likewise on the connections that are held at the same time.
    pub const SLOTS_SHIFT: u32 = 24;

    /// The places at which a rule has limits for bare SYNs, or for others.
    #[inline(always)]
    #[must_use]
    pub const fn scopes(flags: u32, connections: bool) -> u32 {
        flags >> if connections { CONNECTIONS_SHIFT } else { PACKETS_SHIFT } & 0xf
    }

    /// The scopes in which a rule limits the connections that are held.
    #[inline(always)]
    #[must_use]
    pub const fn slots(flags: u32) -> u32 {
        flags >> SLOTS_SHIFT & 7
    }

    /// The place of the strangers' part of the total among a rule's limits;
    /// before it are those of each [`Scope`](crate::Scope).
    pub const STRANGERS: usize = 3;
    /// How many limits a rule has.
    pub const SCOPES: usize = 4;
}

/// The key of one source's buckets under one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SourceKey {
    /// [`Rule::id`], or [`ECHO`].
    pub rule: u32,
    /// The scope, a [`Scope`](crate::Scope).
    pub scope: u32,
    /// The prefix of that scope, other bits cleared.
    pub source: Address,
}

/// Stands for a rule in a [`SourceKey`]: the buckets of echo requests.
pub const ECHO: u32 = u32::MAX;

/// What a TCP connection is charged for. It is kept with its socket, so that
/// exactly this is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Slot {
    /// When the connection was established, in nanoseconds of the monotonic clock.
    pub since: u64,
    /// [`Rule::id`] of the rule that admits it, where bit [`slot::RULE`] says so.
    pub rule: u32,
    /// Bits of [`slot`].
    pub flags: u32,
    /// The peer's source prefix.
    pub source: Address,
    /// The peer's network prefix.
    pub network: Address,
}

/// Bits of [`Slot::flags`].
pub mod slot {
    /// One bit for each scope in which it counts.
    pub const SCOPES: u32 = 7;
    /// A rule admits it.
    pub const RULE: u32 = 8;
    /// It came when a limit was reached already: handshakes side by side.
    pub const SURPLUS: u32 = 16;
    /// Its socket is of another network namespace. In the scope of a
    /// [`SourceKey`](super::SourceKey) too: such connections are counted apart.
    pub const FOREIGN: u32 = 1 << 8;
}

/// Places of the words by which the kernel tells of connections.
pub mod notes {
    /// Connections that came when a limit was reached already.
    pub const SURPLUS: u32 = 0;
    /// Connections that could not be counted in every scope: no room.
    pub const FULL: u32 = 1;
    /// Connections of containers that were counted.
    pub const FOREIGN: u32 = 2;
    /// How many words there are.
    pub const COUNT: u32 = 3;
}

/// Where the buckets that all sources of a rule share stand: those of
/// [`Rule::id`], then those of the strangers' part, then the next rule's.
#[inline(always)]
#[must_use]
pub const fn total_place(rule: u32, strangers: bool) -> u32 {
    rule * 2 + strangers as u32
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

/// Where datagrams in fragments have their entries: settled at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragments {
    /// Random: nobody can aim at a bucket.
    pub seed: Seed,
    /// Buckets, of [`fragments::WAYS`] entries each.
    pub buckets: u32,
}

impl Default for Fragments {
    fn default() -> Self {
        Self { seed: [0; 2], buckets: fragments::DEFAULT / fragments::WAYS }
    }
}

/// Bits of an IPv6 filter.
pub const FILTER_BITS: u32 = 1 << FILTER_LOG2;
const FILTER_LOG2: u32 = 20;

/// Words in which each IPv4 /16 has a bit: so few that they stay in the fastest
/// cache, where the bitmaps that they stand before do not.
const WIDE_WORDS: u32 = 65_536 / 64;

/// The word and the bit of the /16 of an IPv4 address in a filter that begins at
/// the word `first`.
#[inline(always)]
const fn wide_place(first: u32, address: u32) -> (u32, u32) {
    (first + (address >> 22), address >> 16 & 63)
}

/// The word and the bit of an IPv6 address's first 32 bits in a filter that
/// begins at the word `first`. Multiplicative hashing (Knuth, TAOCP 3, section
/// 6.4): whoever aims at a collision wins one look-up in the table behind it.
#[inline(always)]
const fn filter_place(first: u32, high: u32) -> (u32, u32) {
    let bit = high.wrapping_mul(0x9e37_79b1) >> (32 - FILTER_LOG2);
    (first + bit / 64, bit % 64)
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
    /// What was told of its drops.
    pub told: events::Told,
    /// Packets whose flow found no room in the flow log's table.
    pub unlogged: u64,
    /// The program's own, for the packet at hand.
    pub scratch: [u64; SCRATCH_WORDS],
}

/// Words of [`InterfaceBlock::scratch`].
pub const SCRATCH_WORDS: usize = 24;

/// A name of a rule or an interface, in ASCII, filled up with zeros: what keeps
/// their numbers theirs when the controller starts anew.
pub type Name = [u8; NAME_LENGTH];

/// Bytes of a [`Name`]: a rule's has 63 at most, an interface's 15.
pub const NAME_LENGTH: usize = 64;

/// Where the name of an interface stands among those of the rules.
#[must_use]
pub const fn interface_name_place(number: u32) -> u32 {
    counters::CHUNKS * counters::RULES_PER_CHUNK + number
}

/// What every packet reads, in one place that the program has at hand without
/// a look-up. The controller writes it whole; a word of it changes at a time.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Control {
    /// Which generation is in force ([`switch::Switch`]): what a packet reads once.
    pub switch: u64,
    /// Which kinds of ban exist: bits of [`bans`].
    pub bans: u32,
    /// Bits of [`control`].
    pub flags: u32,
    /// The cookie of the network namespace whose connections are counted.
    pub namespace: u64,
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
        let masks = Masks { ipv4: [0; 4], ipv6: [0; 4] };
        let generation = Generation {
            flags: 0,
            group_count: 0,
            groups: [0; INTERFACES as usize],
            protocols: [0; 4],
            source: masks,
            network: masks,
            echo: limit,
            interface: [limit; 3],
        };
        let bucket = interfaces::Bucket { entries: [entry; interfaces::WAYS] };
        Self {
            switch: 0,
            bans: 0,
            flags: 0,
            namespace: 0,
            guarded: [bucket; interfaces::BUCKETS as usize],
            policies: [generation; GENERATIONS as usize],
        }
    }
}

/// Bits of [`Control::flags`].
pub mod control {
    /// The controller has corrected counts of connections.
    pub const MENDED: u32 = 1;
    /// It is known from which TCP ports this host's sockets speak.
    pub const PORTS: u32 = 2;
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}
