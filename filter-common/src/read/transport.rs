//! TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792) and ICMPv6 (RFC 4443).

use zerocopy::FromBytes;

use super::{Parsed, Payload};
use crate::Packet;

/// IP protocol numbers (IANA).
pub mod protocol {
    #![expect(missing_docs, reason = "the names are IANA's own")]
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION: u8 = 60;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
}

/// TCP's control bits (RFC 9293, section 3.1).
pub mod tcp_flags {
    #![expect(missing_docs, reason = "the names are the RFC's own")]
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

/// What kind of transport header a packet has.
///
/// The variants hold nothing: the kernel's verifier refuses a register that
/// is defined on some paths alone, which is what LLVM makes of an enum with
/// fields. [`Parsed`] holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP over IPv4, or ICMPv6 over IPv6.
    Icmp,
    /// Another IP protocol.
    #[default]
    Other,
    /// A later fragment, which has no transport header.
    Later,
}

/// Of a TCP header, what a verdict may need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Sequence number, in network order.
    pub sequence: u32,
    /// Acknowledgement number, in network order.
    pub acknowledgement: u32,
    /// Control bits, [`tcp_flags`].
    pub flags: u8,
    /// Whether anything follows the header.
    pub has_data: bool,
}

impl Tcp {
    /// Whether it asks for a new connection: SYN without ACK, RST, FIN.
    #[inline(always)]
    #[must_use]
    pub const fn is_bare_syn(&self) -> bool {
        use tcp_flags::{ACK, FIN, RST, SYN};
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }
}

/// Of an ICMP or ICMPv6 header, what a verdict may need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Icmp {
    /// The message's type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// Of an echo: which one it is, in host order.
    pub identifier: u16,
}

#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct TcpHeader {
    source_port: u16,
    destination_port: u16,
    sequence: u32,
    acknowledgement: u32,
    offset: u8,
    flags: u8,
    window: u16,
    checksum_urgent: u32,
}

#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct UdpHeader {
    source_port: u16,
    destination_port: u16,
    length: u16,
    checksum: u16,
}

#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
struct IcmpHeader {
    kind: u8,
    code: u8,
    checksum: u16,
    identifier: u16,
    sequence: u16,
}

/// Reads the transport header where there is one.
#[inline(always)]
pub(super) fn read<P: Packet + ?Sized>(
    packet: &P,
    payload: Payload,
    is_ipv4: bool,
    parsed: &mut Parsed,
) -> Option<()> {
    let Payload { protocol: number, offset, end, fragment } = payload;
    // `end` lies within the frame, and `offset` at or before it.
    let length = end.wrapping_sub(offset);
    parsed.protocol = number;
    parsed.offset = offset;
    parsed.fragment = fragment;
    parsed.flow.source_port = 0;
    parsed.flow.destination_port = 0;
    parsed.transport = if fragment.is_later() {
        if fragment.is_too_long() {
            return None;
        }
        Transport::Later
    } else if number == protocol::TCP {
        let header = packet.load::<TcpHeader>(offset)?;
        let header_length = (header.offset >> 4) as usize * 4;
        if header_length < size_of::<TcpHeader>() || header_length > length {
            return None;
        }
        parsed.flow.source_port = u16::from_be(header.source_port);
        parsed.flow.destination_port = u16::from_be(header.destination_port);
        parsed.tcp = Tcp {
            sequence: header.sequence,
            acknowledgement: header.acknowledgement,
            flags: header.flags,
            has_data: header_length < length,
        };
        Transport::Tcp
    } else if number == protocol::UDP {
        let header = packet.load::<UdpHeader>(offset)?;
        let datagram = u16::from_be(header.length) as usize;
        // The length is the whole datagram's; a first fragment holds less.
        if length < size_of::<UdpHeader>()
            || datagram < size_of::<UdpHeader>()
            || (datagram > length && fragment.is_whole())
        {
            return None;
        }
        parsed.flow.source_port = u16::from_be(header.source_port);
        parsed.flow.destination_port = u16::from_be(header.destination_port);
        Transport::Udp
    } else if number == if is_ipv4 { protocol::ICMP } else { protocol::ICMPV6 } {
        let header = packet.load::<IcmpHeader>(offset)?;
        if length < size_of::<IcmpHeader>() {
            return None;
        }
        parsed.icmp = Icmp {
            kind: header.kind,
            code: header.code,
            identifier: u16::from_be(header.identifier),
        };
        Transport::Icmp
    } else {
        Transport::Other
    };
    Some(())
}
