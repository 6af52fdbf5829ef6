//! Ethernet (IEEE 802.3), VLAN tags (IEEE 802.1Q, 802.1ad) and PPPoE
//! sessions (RFC 2516), down to the IP header.

use zerocopy::FromBytes;

use crate::Packet;

#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Ethernet {
    addresses: [u16; 6],
    kind: u16,
}

#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Tag {
    control: u16,
    kind: u16,
}

/// PPPoE session header and the first two bytes of the PPP frame in it.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Pppoe {
    version_code: u16,
    session: u16,
    length: u16,
    protocol: [u8; 2],
}

const IPV4: u16 = 0x0800_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();
const ARP: u16 = 0x0806_u16.to_be();
const VLAN: u16 = 0x8100_u16.to_be();
const SERVICE_VLAN: u16 = 0x88a8_u16.to_be();
const PPPOE_SESSION: u16 = 0x8864_u16.to_be();

/// PPP protocol numbers (IANA): IP, and the first of the control protocols.
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const PPP_CONTROL: u16 = 0x8000;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// An IPv4 header at so many bytes from the frame's start.
    Ipv4(usize),
    /// An IPv6 header, likewise.
    Ipv6(usize),
    /// Address resolution.
    Arp,
    /// Something that is not IP.
    Other,
    /// A frame that ends too soon, hides IP under a third tag (the kernel
    /// would peel them all), or carries IP in a form that cannot be read.
    Malformed,
}

/// Finds what a frame carries. `raw_ip`: the interface has no Ethernet
/// framing, the frame begins with the IP header (tun, WireGuard).
#[inline(always)]
pub fn link<P: Packet + ?Sized>(packet: &P, raw_ip: bool) -> Link {
    if raw_ip {
        return match packet.load::<[u8; 4]>(0) {
            Some([first, ..]) if first >> 4 == 4 => Link::Ipv4(0),
            Some([first, ..]) if first >> 4 == 6 => Link::Ipv6(0),
            _ => Link::Malformed,
        };
    }
    let Some(ethernet) = packet.load::<Ethernet>(0) else {
        return Link::Malformed;
    };
    let (kind, offset) = (ethernet.kind, size_of::<Ethernet>());
    if kind == IPV4 {
        return Link::Ipv4(offset);
    }
    if kind == IPV6 {
        return Link::Ipv6(offset);
    }
    match is_tag(kind) {
        false => carried(packet, kind, offset),
        true => tagged(packet, offset),
    }
}

#[inline(always)]
const fn is_tag(kind: u16) -> bool {
    kind == VLAN || kind == SERVICE_VLAN
}

/// One tag or two.
#[inline(always)]
fn tagged<P: Packet + ?Sized>(packet: &P, offset: usize) -> Link {
    let Some(outer) = packet.load::<Tag>(offset) else {
        return Link::Malformed;
    };
    let offset = offset + size_of::<Tag>();
    if !is_tag(outer.kind) {
        return carried(packet, outer.kind, offset);
    }
    match packet.load::<Tag>(offset) {
        Some(inner) if !is_tag(inner.kind) => {
            carried(packet, inner.kind, offset + size_of::<Tag>())
        }
        _ => Link::Malformed,
    }
}

#[inline(always)]
fn carried<P: Packet + ?Sized>(packet: &P, kind: u16, offset: usize) -> Link {
    let offset = packet.forget(offset);
    match kind {
        IPV4 => Link::Ipv4(offset),
        IPV6 => Link::Ipv6(offset),
        ARP => Link::Arp,
        PPPOE_SESSION => pppoe(packet, offset),
        _ => Link::Other,
    }
}

/// IP within a PPPoE session. Whoever reads the frame takes a protocol number
/// of one byte too (RFC 1661, section 6.5), so both forms are read here.
#[inline(always)]
fn pppoe<P: Packet + ?Sized>(packet: &P, offset: usize) -> Link {
    let Some(header) = packet.load::<Pppoe>(offset) else {
        return Link::Malformed;
    };
    let [first, second] = header.protocol;
    let compressed = first & 1 == 1;
    let protocol = if compressed { first as u16 } else { u16::from_be_bytes([first, second]) };
    let offset = packet.forget(offset + size_of::<Pppoe>() - compressed as usize);
    match protocol {
        PPP_IPV4 => Link::Ipv4(offset),
        PPP_IPV6 => Link::Ipv6(offset),
        PPP_CONTROL.. => Link::Other,
        // Network data in another form: header-compressed, multilink, encrypted.
        _ => Link::Malformed,
    }
}
