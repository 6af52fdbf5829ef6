//! The bans' bitmap: a bit for each IPv4 /24 that holds a ban, and for the
//! hash of the first 32 bits of each banned IPv6 prefix. Bans are the same for
//! all generations. Before the bitmap stands a bit for each /16.

use crate::Address;

const IPV4_WORDS: u32 = (1 << 24) / 64;
/// Words of the bitmap.
pub const WORDS: u32 = WIDE_FIRST + super::WIDE_WORDS;
const WIDE_FIRST: u32 = IPV4_WORDS + super::FILTER_BITS / 64;

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

/// The word and the bit of an IPv4 address's /16: clear where nothing in it has
/// an entry.
#[inline(always)]
#[must_use]
pub const fn wide_place(address: u32) -> (u32, u32) {
    super::wide_place(WIDE_FIRST, address)
}

/// The word and the bit of an IPv6 address's first 32 bits.
#[inline(always)]
#[must_use]
pub const fn filter_place(high: u32) -> (u32, u32) {
    super::filter_place(IPV4_WORDS, high)
}

/// The word and the bit of any address.
#[inline(always)]
#[must_use]
pub const fn place(address: &Address) -> (u32, u32) {
    if address.is_ipv4() { block_place(address.ipv4() >> 8) } else { filter_place(address.high()) }
}
