//! Which piece of a datagram a packet is (RFC 791, section 3.2; RFC 8200,
//! section 4.5).

/// The largest datagram that the length fields of either family can tell.
const DATAGRAM_MAX: u32 = 65_535;

/// Bytes in the unit of offsets.
const BLOCK: u32 = 8;

const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// A piece of a datagram, or all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// What tells the datagrams of two hosts apart, in network order; 16 bits
    /// in IPv4.
    pub identification: u32,
    /// As in IPv4's header: the offset in blocks of 8 bytes, and [`MORE`].
    place: u16,
    /// Its bytes, all after the IP header or the fragment header.
    length: u16,
}

impl Fragment {
    /// A packet that is no fragment.
    pub(super) const WHOLE: Self = Self { identification: 0, place: 0, length: 0 };

    /// From IPv4's field of flags and offset.
    #[inline(always)]
    pub(super) const fn from_ipv4(identification: u16, field: u16, length: usize) -> Self {
        Self {
            identification: identification as u32,
            place: field & (MORE | OFFSET),
            length: length as u16,
        }
    }

    /// From the fields of IPv6's fragment header.
    #[inline(always)]
    pub(crate) const fn from_ipv6(identification: u32, field: u16, length: usize) -> Self {
        Self { identification, place: field >> 3 | (field & 1) << 13, length: length as u16 }
    }

    /// Whether it is a whole datagram; so is an atomic fragment (RFC 6946).
    #[inline(always)]
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.place == 0
    }

    /// Whether it is the first piece of several, which holds the transport
    /// header.
    #[inline(always)]
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.place == MORE
    }

    /// Whether it is a later piece, which has no ports.
    #[inline(always)]
    #[must_use]
    pub const fn is_later(&self) -> bool {
        self.place & OFFSET != 0
    }

    /// Whether more pieces follow it.
    #[inline(always)]
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.place & MORE != 0
    }

    /// Where it begins in the datagram, in blocks of 8 bytes.
    #[inline(always)]
    #[must_use]
    pub const fn offset(&self) -> u32 {
        (self.place & OFFSET) as u32
    }

    /// The first block that it has no byte of.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self) -> u32 {
        self.offset() + (self.length as u32).div_ceil(BLOCK)
    }

    /// Whether it has no bytes.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether it is of whole blocks, as all but the last must be.
    #[inline(always)]
    #[must_use]
    pub const fn is_even(&self) -> bool {
        (self.length as u32).is_multiple_of(BLOCK)
    }

    /// Whether it would make a datagram longer than there can be ("ping of
    /// death").
    #[inline(always)]
    pub(super) const fn is_too_long(&self) -> bool {
        self.offset() * BLOCK + self.length as u32 > DATAGRAM_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_say_the_same() {
        for offset in [0, 1, 185, 0x1fff] {
            for more in [false, true] {
                let v4 = Fragment::from_ipv4(7, offset | if more { MORE } else { 0 }, 12);
                let v6 = Fragment::from_ipv6(7, offset << 3 | u16::from(more), 12);
                assert_eq!(v4, v6);
                assert_eq!(v4.offset(), u32::from(offset));
                assert_eq!(v4.end(), u32::from(offset) + 2);
                assert_eq!(v4.has_more(), more);
                assert_eq!(v4.is_later(), offset != 0);
                assert_eq!(v4.is_first(), offset == 0 && more);
                assert_eq!(v4.is_whole(), offset == 0 && !more);
            }
        }
        // "Don't fragment" and the reserved bits are none of it.
        assert!(Fragment::from_ipv4(7, 0xc000, 12).is_whole());
        assert!(Fragment::from_ipv6(7, 0x0006, 12).is_whole());
    }

    #[test]
    fn no_datagram_is_longer_than_its_length_can_tell() {
        assert!(!Fragment::from_ipv4(7, OFFSET, 7).is_too_long());
        assert!(Fragment::from_ipv4(7, OFFSET, 8).is_too_long());
        assert!(!Fragment::from_ipv4(7, MORE, usize::from(u16::MAX)).is_too_long());
    }
}
