//! IPv6 (RFC 8200) and its extension headers.

use zerocopy::FromBytes;

use super::{Flow, Fragment, Parsed, Payload, protocol, transport};
use crate::{Address, Packet};

#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
pub(super) struct Ipv6 {
    version: u8,
    class: [u8; 3],
    payload_length: u16,
    pub(super) next: u8,
    hop_limit: u8,
    pub(super) source: [u32; 4],
    pub(super) destination: [u32; 4],
}

impl Ipv6 {
    #[inline(always)]
    pub(super) const fn is_version_6(&self) -> bool {
        self.version >> 4 == 6
    }
}

/// What extension headers have in common, and the fragment header's fields.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct Extension {
    next: u8,
    length: u8,
    fragment: u16,
    identification: u32,
}

/// Extension headers that are followed; a longer chain is malformed.
pub const EXTENSIONS_MAX: u32 = 6;

/// Reads the IPv6 packet at `offset` through its transport header. `None`:
/// it cannot be read, lies about its length, has more than
/// [`EXTENSIONS_MAX`] extension headers, or carries an IPv4-mapped address.
#[inline(always)]
pub fn ipv6<P: Packet + ?Sized>(packet: &P, offset: usize, parsed: &mut Parsed) -> Option<()> {
    let header = packet.load::<Ipv6>(offset)?;
    let start = offset + size_of::<Ipv6>();
    let end = start + u16::from_be(header.payload_length) as usize;
    let (source, destination) = (Address(header.source), Address(header.destination));
    if !header.is_version_6() || !packet.reaches(end) || source.is_ipv4() || destination.is_ipv4() {
        return None;
    }
    let payload = extensions(
        packet,
        Payload { protocol: header.next, offset: start, end, fragment: Fragment::WHOLE },
    )?;
    parsed.flow.source = source;
    parsed.flow.destination = destination;
    parsed.hop_limit = header.hop_limit;
    transport::read(packet, payload, false, parsed)
}

/// The addresses of the header at `offset`, whatever else it says; `None` where
/// they would be taken for IPv4 ones.
#[inline(always)]
pub fn addresses<P: Packet + ?Sized>(packet: &P, offset: usize, flow: &mut Flow) -> Option<()> {
    let header = packet.load::<Ipv6>(offset)?;
    let (source, destination) = (Address(header.source), Address(header.destination));
    if !header.is_version_6() || source.is_ipv4() || destination.is_ipv4() {
        return None;
    }
    flow.source = source;
    flow.destination = destination;
    Some(())
}

/// Follows the chain to the first header that is no extension header, or to
/// the end of what a later fragment can tell.
#[inline(always)]
fn extensions<P: Packet + ?Sized>(packet: &P, mut payload: Payload) -> Option<Payload> {
    for _ in 0..EXTENSIONS_MAX {
        if !is_extension(payload.protocol) {
            return Some(payload);
        }
        let header = packet.load::<Extension>(payload.offset)?;
        let length = match payload.protocol {
            protocol::FRAGMENT => {
                // Checked below to lie within the packet.
                let length = payload.end.wrapping_sub(payload.offset + size_of::<Extension>());
                let field = u16::from_be(header.fragment);
                payload.fragment = Fragment::from_ipv6(header.identification, field, length);
                size_of::<Extension>()
            }
            // RFC 4302, section 2.2: in units of 4 bytes, minus 2.
            protocol::AUTHENTICATION => (header.length as usize + 2) * 4,
            _ => (header.length as usize + 1) * 8,
        };
        payload.protocol = header.next;
        payload.offset = packet.forget(payload.offset + length);
        if payload.offset > payload.end {
            return None;
        }
        if payload.fragment.is_later() {
            return Some(payload);
        }
    }
    if is_extension(payload.protocol) { None } else { Some(payload) }
}

/// The headers of RFC 8200, section 4, but ESP, behind which nothing can be
/// read, and those of RFC 6275 (mobility), 7401 (HIP) and 5533 (shim6).
#[inline(always)]
const fn is_extension(number: u8) -> bool {
    matches!(
        number,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
            | protocol::DESTINATION
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6
    )
}
