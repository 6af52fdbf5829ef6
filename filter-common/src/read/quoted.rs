//! The packet that an ICMP error quotes (RFC 792; RFC 4443, section 2.4).

use zerocopy::FromBytes;

use super::{Flow, ipv6::Ipv6, protocol};
use crate::{Address, Packet};

#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Ipv4 {
    version_length: u8,
    service: u8,
    lengths: [u16; 2],
    fragment: u16,
    hop_limit: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}

/// The first 8 bytes of a transport header are all that a quote must hold.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Ports {
    source: u16,
    destination: u16,
    rest: u32,
}

/// An ICMP error's own header, before the quote.
const ICMP_HEADER: usize = 8;

/// The TCP flow that the ICMP error at `offset` quotes, turned round: as this
/// host would receive it. `None` where it quotes none.
#[inline(always)]
pub fn quoted<P: Packet + ?Sized>(packet: &P, offset: usize, is_ipv4: bool) -> Option<Flow> {
    let offset = offset + ICMP_HEADER;
    let (number, source, destination, offset) = if is_ipv4 {
        let header = packet.load::<Ipv4>(offset)?;
        let length = (header.version_length & 0x0f) as usize * 4;
        if header.version_length >> 4 != 4 || length < size_of::<Ipv4>() {
            return None;
        }
        (
            header.protocol,
            Address::from_ipv4(header.source),
            Address::from_ipv4(header.destination),
            offset + length,
        )
    } else {
        let header = packet.load::<Ipv6>(offset)?;
        if !header.is_version_6() {
            return None;
        }
        (
            header.next,
            Address(header.source),
            Address(header.destination),
            offset + size_of::<Ipv6>(),
        )
    };
    if number != protocol::TCP {
        return None;
    }
    let ports = packet.load::<Ports>(offset)?;
    Some(Flow {
        source: destination,
        destination: source,
        source_port: u16::from_be(ports.destination),
        destination_port: u16::from_be(ports.source),
    })
}
