//! The packet that an ICMP error quotes (RFC 792; RFC 4443, section 2.4).

use zerocopy::FromBytes;

use super::{Flow, ipv6::Ipv6, protocol};
use crate::{Address, Packet, icmp::asks_for_echo};

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
    /// Of an echo, its identifier.
    third: u16,
    fourth: u16,
}

/// An ICMP error's own header, before the quote.
const ICMP_HEADER: usize = 8;

/// What an ICMP error is about.
#[derive(Clone, Copy)]
pub struct Quoted {
    /// The flow, turned round: as this host would receive its answers. An echo
    /// has its identifier as the port here.
    pub flow: Flow,
    /// TCP, UDP, ICMP or ICMPv6.
    pub protocol: u8,
}

/// The flow that the ICMP error at `offset` quotes. `None` where it quotes
/// nothing that can be answered.
#[inline(always)]
pub fn quoted<P: Packet + ?Sized>(packet: &P, offset: usize, is_ipv4: bool) -> Option<Quoted> {
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
    let echo = number == if is_ipv4 { protocol::ICMP } else { protocol::ICMPV6 };
    if !echo && number != protocol::TCP && number != protocol::UDP {
        return None;
    }
    let ports = packet.load::<Ports>(offset)?;
    let (mut remote_port, mut local_port) = (ports.destination, ports.source);
    if echo {
        // Type and code stand where a port would.
        let [kind, _] = ports.source.to_ne_bytes();
        if !asks_for_echo(is_ipv4, kind) {
            return None;
        }
        (remote_port, local_port) = (0, ports.third);
    }
    Some(Quoted {
        flow: Flow {
            source: destination,
            destination: source,
            source_port: u16::from_be(remote_port),
            destination_port: u16::from_be(local_port),
        },
        protocol: number,
    })
}
