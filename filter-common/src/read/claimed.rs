//! Of a frame that cannot be read: whom it says that it is from.

use super::{Flow, ipv4, ipv6, link, link::Link};
use crate::Packet;

/// Reads the addresses of an IP header, whatever is wrong with the frame. Whether
/// there is one.
#[inline(always)]
pub fn claimed<P: Packet + ?Sized>(packet: &P, raw_ip: bool, flow: &mut Flow) -> bool {
    match link::link(packet, raw_ip) {
        Link::Ipv4(offset) => ipv4::addresses(packet, offset, flow),
        Link::Ipv6(offset) => ipv6::addresses(packet, offset, flow),
        Link::Arp | Link::Other | Link::Malformed => None,
    }
    .is_some()
}
