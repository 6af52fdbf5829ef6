//! Traffic without which the network itself does not work.
//!
//! What is rate limited here loses only its privilege beyond the rate: it is
//! then judged as any other packet. A fragment has no such privilege: RFC 6980
//! forbids fragments of neighbour discovery, and the rest has no need of them.

use crate::{
    InterfaceLimit, State, limits,
    read::{Parsed, Transport, protocol},
};

/// ICMPv6 types (IANA): multicast listener discovery, then neighbour and
/// router discovery.
const MLD: core::ops::RangeInclusive<u8> = 130..=132;
const MLD_V2_REPORT: u8 = 143;
const NEIGHBOUR_DISCOVERY: core::ops::RangeInclusive<u8> = 133..=137;

/// RFC 4861, section 6.1 and 7.1: whatever was routed is below it.
const NEIGHBOUR_HOP_LIMIT: u8 = 255;

/// Ports (IANA): bootps and bootpc; dhcpv6-server and dhcpv6-client.
const DHCP: (u16, u16) = (67, 68);
const DHCPV6: (u16, u16) = (547, 546);

/// Whether the packet is essential, within the rate that such traffic has.
#[inline(always)]
pub(crate) fn is_essential<S: State>(state: &S, parsed: &Parsed) -> bool {
    if !parsed.fragment.is_whole() {
        return false;
    }
    let flow = &parsed.flow;
    let is_ipv4 = flow.source.is_ipv4();
    let limit = match parsed.transport {
        Transport::Icmp if !is_ipv4 => {
            if NEIGHBOUR_DISCOVERY.contains(&parsed.icmp.kind) {
                return parsed.hop_limit == NEIGHBOUR_HOP_LIMIT;
            }
            let is_mld = MLD.contains(&parsed.icmp.kind) || parsed.icmp.kind == MLD_V2_REPORT;
            if !is_mld || !flow.source.is_ipv6_link_local() {
                return false;
            }
            InterfaceLimit::Groups
        }
        Transport::Udp => {
            let ports = (flow.source_port, flow.destination_port);
            let is_answer = if is_ipv4 {
                ports == DHCP
            } else {
                ports == DHCPV6 && flow.source.is_ipv6_link_local()
            };
            if !is_answer {
                return false;
            }
            InterfaceLimit::Dhcp
        }
        Transport::Other if is_ipv4 && parsed.protocol == protocol::IGMP => InterfaceLimit::Groups,
        _ => return false,
    };
    limits::interface(state, limit)
}
