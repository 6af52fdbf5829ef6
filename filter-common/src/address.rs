//! One form for both families.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The prefix `::ffff:0:0/96` in which IPv4 addresses are written as IPv6
/// ones (RFC 4291, section 2.5.5.2), as the third word in memory.
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

/// An IP address as four words in network order. IPv4 is written as its
/// IPv4-mapped IPv6 address, so that every table and every rule treats the
/// two families alike. The wire cannot forge one: an IPv6 packet that
/// carries a mapped address is malformed (as Linux holds it too,
/// net/ipv6/ip6_input.c).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Address(pub [u32; 4]);

impl Address {
    /// From an IPv4 address word as it stands in the packet.
    #[inline(always)]
    #[must_use]
    pub const fn from_ipv4(word: u32) -> Self {
        Self([0, 0, MAPPED, word])
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == MAPPED
    }

    /// The IPv4 address (or the last 32 bits of an IPv6 one) as a number.
    #[inline(always)]
    #[must_use]
    pub const fn ipv4(&self) -> u32 {
        u32::from_be(self.0[3])
    }

    /// The first 32 bits as a number: an IPv6 address's registry block.
    #[inline(always)]
    #[must_use]
    pub const fn high(&self) -> u32 {
        u32::from_be(self.0[0])
    }

    /// The first 64 bits as a number, of an IPv4 address its own 32 and zeros: what
    /// differs soonest comes first.
    #[inline(always)]
    #[must_use]
    pub const fn head(&self) -> u64 {
        if self.is_ipv4() {
            (self.ipv4() as u64) << 32
        } else {
            (self.high() as u64) << 32 | u32::from_be(self.0[1]) as u64
        }
    }

    /// Its two halves as they stand in memory.
    #[inline(always)]
    #[must_use]
    pub const fn halves(&self) -> [u64; 2] {
        let Self([a, b, c, d]) = *self;
        [(b as u64) << 32 | a as u64, (d as u64) << 32 | c as u64]
    }

    /// Back from [`halves`](Self::halves).
    #[inline(always)]
    #[must_use]
    pub const fn of_halves([high, low]: [u64; 2]) -> Self {
        Self([high as u32, (high >> 32) as u32, low as u32, (low >> 32) as u32])
    }

    /// Whether this is a link-local IPv6 address, `fe80::/10`.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv6_link_local(&self) -> bool {
        self.high() & 0xffc0_0000 == 0xfe80_0000
    }

    /// The address with all bits cleared that `mask` does not have.
    #[inline(always)]
    #[must_use]
    pub const fn masked(&self, mask: &Self) -> Self {
        Self([
            self.0[0] & mask.0[0],
            self.0[1] & mask.0[1],
            self.0[2] & mask.0[2],
            self.0[3] & mask.0[3],
        ])
    }

    /// The mask of the first `length` bits (0 to 128).
    #[must_use]
    pub const fn mask(length: u8) -> Self {
        let bits: u128 = if length == 0 { 0 } else { u128::MAX << (128 - length as u32) };
        let b = bits.to_be_bytes();
        Self([
            u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
            u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
            u32::from_ne_bytes([b[8], b[9], b[10], b[11]]),
            u32::from_ne_bytes([b[12], b[13], b[14], b[15]]),
        ])
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        let octets = match address {
            core::net::IpAddr::V4(v4) => return Self::from_ipv4(u32::from(v4).to_be()),
            core::net::IpAddr::V6(v6) => v6.octets(),
        };
        zerocopy::transmute!(octets)
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> Self {
        if address.is_ipv4() {
            return Self::V4(address.ipv4().into());
        }
        let octets: [u8; 16] = zerocopy::transmute!(address);
        Self::V6(octets.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    #[test]
    fn both_families_survive_the_round_trip() {
        for text in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1", "fe80::1"] {
            let ip = match text.parse::<IpAddr>() {
                Ok(ip) => ip,
                Err(_) => unreachable!("{text}"),
            };
            let address = Address::from(ip);
            assert_eq!(address.is_ipv4(), ip.is_ipv4(), "{text}");
            assert_eq!(IpAddr::from(address), ip);
        }
    }

    #[test]
    fn masks_cut_at_any_bit() {
        let address = Address::from(IpAddr::from([0xffff_u16; 8]));
        let cut = IpAddr::from([0xffff, 0xffff, 0xffff, 0x8000, 0, 0, 0, 0_u16]);
        assert_eq!(IpAddr::from(address.masked(&Address::mask(49))), cut);
        assert_eq!(address.masked(&Address::mask(0)), Address([0; 4]));
        assert_eq!(address.masked(&Address::mask(128)), address);
    }
}
