//! What headers have in common: how they are named, written and summed up.

use std::net::IpAddr;

/// What each header knows of itself and does with what it carries. Out of reach
/// for other crates, so that nobody depends on it.
pub trait Write: Send + Sync + 'static {
    /// Its number where an Ethernet header names it.
    fn ethertype(&self) -> Option<u16> {
        None
    }

    /// Its number where an IP header names it.
    fn protocol(&self) -> Option<u8> {
        None
    }

    /// The addresses that checksums inside of it cover.
    fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        None
    }

    /// Appends itself; `inside` tells what it carries.
    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>);
}

/// What a header may need to know about the rest of its frame.
pub struct Inside<'a> {
    /// The header that follows, if any.
    pub(super) next: Option<&'a dyn Write>,
    /// Everything that follows.
    pub(super) bytes: &'a [u8],
    /// Addresses of the nearest IP header around it.
    pub(super) addresses: Option<(IpAddr, IpAddr)>,
}

/// What an Ethernet header names a payload that nobody named: IEEE 802's
/// number for local experiments.
const ETHERTYPE_EXPERIMENTAL: u16 = 0x88b5;
/// The same for IP (RFC 3692).
const PROTOCOL_EXPERIMENTAL: u8 = 253;

impl Inside<'_> {
    pub(super) fn ethertype(&self) -> u16 {
        self.next.and_then(Write::ethertype).unwrap_or(ETHERTYPE_EXPERIMENTAL)
    }

    pub(super) fn protocol(&self) -> u8 {
        self.next.and_then(Write::protocol).unwrap_or(PROTOCOL_EXPERIMENTAL)
    }

    /// The checksum of `header`, which is of protocol `protocol`, and all that
    /// it carries, with the pseudo header of RFC 793 or RFC 8200. The checksum
    /// field must still be zero.
    pub(super) fn checksum(&self, header: &[u8], protocol: u8) -> u16 {
        let length = header.len() + self.bytes.len();
        let mut covered = Vec::with_capacity(40 + length);
        match self.addresses {
            Some((IpAddr::V4(source), IpAddr::V4(destination))) => {
                covered.extend(source.octets());
                covered.extend(destination.octets());
                covered.extend([0, protocol]);
                covered.extend(low_u16(length).to_be_bytes());
            }
            Some((IpAddr::V6(source), IpAddr::V6(destination))) => {
                covered.extend(source.octets());
                covered.extend(destination.octets());
                covered.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
                covered.extend([0, 0, 0, protocol]);
            }
            _ => {}
        }
        covered.extend(header);
        covered.extend(self.bytes);
        checksum(&covered)
    }
}

/// The Internet checksum of RFC 1071: the complement of the sum of all 16-bit
/// words in ones' complement, an odd last byte filled up with zero.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let (words, last) = bytes.as_chunks::<2>();
    let words = words.iter().map(|word| u64::from(u16::from_be_bytes(*word)));
    let mut sum: u64 = words.sum::<u64>() + last.first().map_or(0, |byte| u64::from(*byte) << 8);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // The loop leaves 16 bits.
    !(sum as u16)
}

/// A length field holds 16 bits: longer packets write what fits, as they would
/// on the wire.
pub(super) fn low_u16(length: usize) -> u16 {
    (length & 0xffff) as u16
}
