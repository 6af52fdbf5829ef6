//! Reads a packet: link layer, IP with its options and extension headers,
//! and the transport header. What lies about its own length, or ends before
//! a header does, cannot be read; the caller drops it as malformed.

mod claimed;
mod fragment;
mod ipv4;
mod ipv6;
mod link;
mod quoted;
mod transport;

pub use claimed::claimed;
pub use fragment::Fragment;
pub use quoted::{Quoted, quoted};
pub use transport::{Icmp, Tcp, Transport, protocol, tcp_flags};

use crate::{Address, Packet, Reason};
use link::Link;

/// The addresses and ports of a packet, as seen by the host that receives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Who sent it.
    pub source: Address,
    /// Whom it is for.
    pub destination: Address,
    /// Ports in host order; 0 where the protocol has none.
    pub source_port: u16,
    /// Likewise.
    pub destination_port: u16,
}

/// Reads a frame. `raw_ip`: its interface has no Ethernet framing.
///
/// It writes into `parsed`, field by field as they are read, and leaves what
/// has no meaning for the packet: a value that is returned goes through the
/// stack first, all of it. Whether there is more to know than the reason:
/// [`Reason::Rule`] if so, else it is not IP, or cannot be read.
#[inline(always)]
pub fn packet<P: Packet + ?Sized>(packet: &P, raw_ip: bool, parsed: &mut Parsed) -> Reason {
    let read = match link::link(packet, raw_ip) {
        Link::Ipv4(offset) => ipv4::ipv4(packet, offset, parsed),
        Link::Ipv6(offset) => ipv6::ipv6(packet, offset, parsed),
        Link::Arp => return Reason::Essential,
        Link::Other => return Reason::NotIp,
        Link::Malformed => None,
    };
    if read.is_some() { Reason::Rule } else { Reason::Malformed }
}

/// An IP packet that could be read through its transport header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Addresses and ports.
    pub flow: Flow,
    /// The IP protocol number after all extension headers.
    pub protocol: u8,
    /// IPv4's time to live or IPv6's hop limit.
    pub hop_limit: u8,
    /// Where the transport header begins, in bytes from the frame's start.
    pub offset: usize,
    /// What begins there.
    pub transport: Transport,
    /// What the TCP header says, where it is one.
    pub tcp: Tcp,
    /// What the ICMP header says, where it is one.
    pub icmp: Icmp,
    /// Which piece of a datagram it is.
    pub fragment: Fragment,
}

/// Where the IP header has led to: what is between it and the transport.
#[derive(Clone, Copy)]
struct Payload {
    /// The IP protocol number of what begins at `offset`.
    protocol: u8,
    /// In bytes from the frame's start.
    offset: usize,
    /// The end of the IP packet, in bytes from the frame's start.
    end: usize,
    fragment: Fragment,
}
