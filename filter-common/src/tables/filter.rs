//! What stands before the trie of rules' prefixes, which is deep where there are
//! many rules, while most sources of a flood are in no prefix.
//!
//! Each view has a filter for each family, as large as its prefixes are many: one
//! bit for the hash of an address's first bits, of as many as the filter says. Where
//! it is clear, no prefix of the view holds the address.

use crate::Address;

/// One view's filter for one family: where it is, and how it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Filter {
    /// Its first word among those of the generation.
    pub first: u32,
    /// How far an [`Address::head`] is shifted: what is left of it is hashed.
    pub cut: u8,
    /// How far the hash is shifted: what is left of it is the bit's number.
    pub shift: u8,
    /// Keeps the layout the same for both sides.
    pub reserved: u16,
}

impl Filter {
    /// The word and the bit of an address.
    #[inline(always)]
    #[must_use]
    pub const fn place(&self, address: &Address) -> (u32, u32) {
        self.place_of(address.head() >> (self.cut & 63))
    }

    /// The word and the bit of the first bits of an address, as a number.
    /// Multiplicative hashing (Knuth, TAOCP 3, section 6.4): whoever aims at a
    /// collision wins one look-up in the trie.
    #[inline(always)]
    #[must_use]
    pub const fn place_of(&self, bits: u64) -> (u32, u32) {
        let bit = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (self.shift & 63);
        (self.first + (bit >> 6) as u32, bit as u32 & 63)
    }
}
