//! The address lists: `trusted` and `denied` of one generation.
//!
//! IPv4 is a bitmap with two bits for each /24: no entry, all trusted, all
//! denied, or [`MIXED`], where a leaf tells its addresses apart. A word holds
//! sixteen of them, and above them the number of the first leaf among them: one
//! look finds it, and no key need be hashed. IPv6 is a prefix table, and before
//! it a filter: one bit for the hash of an address's first 32 bits. Before the
//! bitmap stands a bit for each /16.

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
pub const PER_WORD: u32 = 16;
/// Where in a word the number of its first leaf stands.
pub const LEAF_SHIFT: u32 = 32;
const IPV4_WORDS: u32 = (1 << 24) / PER_WORD;
/// Words of the bitmap and the filters behind it.
pub const WORDS: u32 = WIDE_FIRST + super::WIDE_WORDS;
const WIDE_FIRST: u32 = IPV4_WORDS + super::FILTER_BITS / 64;

/// The word and the shift of an IPv4 /24, by its number.
#[inline(always)]
#[must_use]
pub const fn block_place(block: u32) -> (u32, u32) {
    (block / PER_WORD, block % PER_WORD * 2)
}

/// The number of the leaf of the mixed entry at `shift` of a word: as many
/// after the word's first as there are mixed entries below it.
#[inline(always)]
#[must_use]
pub const fn leaf_of(word: u64, shift: u32) -> u32 {
    // Counted in parallel (Knuth, TAOCP 4A, section 7.1.3): the BPF
    // instruction set has no population count.
    let below = word & ((1 << shift) - 1);
    let mixed = (below & below >> 1 & 0x5555_5555) as u32;
    let pairs = (mixed & 0x3333_3333) + (mixed >> 2 & 0x3333_3333);
    let bytes = (pairs + (pairs >> 4)) & 0x0f0f_0f0f;
    (word >> LEAF_SHIFT) as u32 + (bytes.wrapping_mul(0x0101_0101) >> 24)
}

/// Two-bit entries in a leaf's word.
const PER_LEAF_WORD: u32 = 32;

/// The word and the shift of an address in a leaf, by its last byte.
#[inline(always)]
#[must_use]
pub const fn leaf_place(last: u32) -> (usize, u32) {
    ((last / PER_LEAF_WORD) as usize & 7, last % PER_LEAF_WORD * 2)
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

/// [`filter_place`] of an address.
#[inline(always)]
#[must_use]
pub const fn filter_of(address: &Address) -> (u32, u32) {
    filter_place(address.high())
}
