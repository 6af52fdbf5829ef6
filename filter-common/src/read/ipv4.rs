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

/// Reads the IPv4 packet at `offset` through its transport header. `None`:
/// it cannot be read, or lies about its length.
#[inline(always)]
pub fn ipv4<P: Packet + ?Sized>(packet: &P, offset: usize, parsed: &mut Parsed) -> Option<()> {
    let header = packet.load::<Ipv4>(offset)?;
    let header_length = (header.version_length & 0x0f) as usize * 4;
    let total_length = u16::from_be(header.total_length) as usize;
    if header.version_length >> 4 != 4
        || header_length < size_of::<Ipv4>()
        || total_length < header_length
        || !packet.reaches(offset + total_length)
    {
        return None;
    }
    let length = total_length - header_length;
    parsed.flow.source = Address::from_ipv4(header.source);
    parsed.flow.destination = Address::from_ipv4(header.destination);
    parsed.hop_limit = header.hop_limit;
    transport::read(
        packet,
        Payload {
            protocol: header.protocol,
            offset: offset + header_length,
            end: offset + total_length,
            fragment: Fragment::from_ipv4(
                header.identification,
                u16::from_be(header.fragment),
                length,
            ),
        },
        true,
        parsed,
    )
}

/// The addresses of the header at `offset`, whatever else it says.
#[inline(always)]
pub fn addresses<P: Packet + ?Sized>(packet: &P, offset: usize, flow: &mut Flow) -> Option<()> {
    let header = packet.load::<Ipv4>(offset)?;
    if header.version_length >> 4 != 4 {
        return None;
    }
    flow.source = Address::from_ipv4(header.source);
    flow.destination = Address::from_ipv4(header.destination);
    Some(())
}
