//! IPv4 (RFC 791).

use zerocopy::FromBytes;

use super::{Flow, Fragment, Parsed, Payload, transport};
use crate::{Address, Packet};

#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Ipv4 {
    version_length: u8,
    service: u8,
    total_length: u16,
    identification: u16,
    fragment: u16,
    hop_limit: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Reads the IPv4 packet at `offset` through its transport header. `None`:
/// it cannot be read, or lies about its length.
#[inline(always)]
pub fn ipv4<P: Packet + ?Sized>(packet: &P, offset: usize) -> Option<Parsed> {
    let header = packet.load::<Ipv4>(offset)?;
    let header_length = (header.version_length & 0x0f) as usize * 4;
    let total_length = u16::from_be(header.total_length) as usize;
    let room = packet.length() as usize - offset;
    if header.version_length >> 4 != 4
        || header_length < size_of::<Ipv4>()
        || total_length < header_length
        || total_length > room
    {
        return None;
    }
    let fragment = u16::from_be(header.fragment);
    transport::read(
        packet,
        Payload {
            protocol: header.protocol,
            offset: offset + header_length,
            end: offset + total_length,
            fragment: Fragment::new(fragment & FRAGMENT_OFFSET, fragment & MORE_FRAGMENTS != 0),
        },
        Flow {
            source: Address::from_ipv4(header.source),
            destination: Address::from_ipv4(header.destination),
            source_port: 0,
            destination_port: 0,
        },
        header.hop_limit,
    )
}
