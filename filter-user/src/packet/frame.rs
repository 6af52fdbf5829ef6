//! The frame that a packet stands for: lengths and checksums as its sender
//! would have set them, and zeros for what it carries.

use std::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpFragOffset,
    IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, TcpHeader, UdpHeader,
};
use filter_common::read::tcp_flags;
use thiserror::Error;

use super::{Fragment, Packet, Transport};
use crate::capture::Link;

/// As systems send it.
const HOP_LIMIT: u8 = 64;
/// RFC 4861: neighbour discovery has this one, and no other.
const NEIGHBOUR_HOP_LIMIT: u8 = 255;
const NEIGHBOUR_DISCOVERY: std::ops::RangeInclusive<u8> = 133..=137;
/// Bytes of the largest IP packet.
const LARGEST: usize = 65_535;
/// All fragments but the last are of so many bytes, or a multiple.
const BLOCK: usize = 8;

/// Why there is no such frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unbuildable {
    /// Its headers do not fit.
    #[error("a frame of {length} bytes has no room for the headers, which take {least}")]
    Short {
        /// What was asked for.
        length: usize,
        /// What it takes.
        least: usize,
    },
    /// An IP packet cannot be as long.
    #[error(
        "a frame of {length} bytes is longer than any: {most} bytes hold the largest IP packet"
    )]
    Long {
        /// What was asked for.
        length: usize,
        /// The most.
        most: usize,
    },
    /// A fragment that is not the last.
    #[error(
        "a fragment with more to follow carries a multiple of 8 bytes, and in a frame of {length} it would be {carried}; write `len {better}`"
    )]
    Uneven {
        /// What was asked for.
        length: usize,
        /// What it would carry.
        carried: usize,
        /// The next length that does.
        better: usize,
    },
}

impl Packet {
    /// The bytes of the frame on an interface with that framing.
    ///
    /// # Errors
    ///
    /// When no frame has the length that was asked for.
    pub fn frame(&self, link: Link) -> Result<Vec<u8>, Unbuildable> {
        let framing = if link == Link::Ethernet { Ethernet2Header::LEN } else { 0 };
        let ip = match (self.source, self.fragment) {
            (IpAddr::V4(_), _) => Ipv4Header::MIN_LEN,
            (IpAddr::V6(_), None) => Ipv6Header::LEN,
            (IpAddr::V6(_), Some(_)) => Ipv6Header::LEN + Ipv6FragmentHeader::LEN,
        };
        let header = if self.is_later_fragment() { 0 } else { self.transport.header() };
        let (headers, least) = (framing + ip, framing + ip + header);
        let more = self.fragment.is_some_and(|fragment| fragment.more);
        let carried = match self.length.map(|length| length as usize) {
            None if self.is_later_fragment() => BLOCK,
            None if more => header.next_multiple_of(BLOCK),
            None => header,
            Some(length) if length < least => return Err(Unbuildable::Short { length, least }),
            Some(length) => {
                // What IPv6 tells is the length after its header.
                let most = match self.source {
                    IpAddr::V4(_) => LARGEST + framing,
                    IpAddr::V6(_) => LARGEST + framing + Ipv6Header::LEN,
                };
                if length > most {
                    return Err(Unbuildable::Long { length, most });
                }
                let carried = length - headers;
                if more && !carried.is_multiple_of(BLOCK) {
                    let better = headers + carried.next_multiple_of(BLOCK);
                    return Err(Unbuildable::Uneven { length, carried, better });
                }
                carried
            }
        };
        let mut frame = Vec::with_capacity(headers + carried);
        if link == Link::Ethernet {
            frame.extend(self.ethernet().to_bytes());
        }
        self.write_ip(carried, &mut frame);
        let body = frame.len();
        if header > 0 {
            self.write_transport(&vec![0; carried - header], &mut frame);
        }
        frame.resize(body + carried, 0);
        Ok(frame)
    }

    /// Between addresses that no manufacturer gives out.
    fn ethernet(&self) -> Ethernet2Header {
        let ether_type = if self.source.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
        let (source, destination) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        Ethernet2Header { source, destination, ether_type }
    }

    /// The IP header of a packet that carries so many bytes.
    fn write_ip(&self, carried: usize, frame: &mut Vec<u8>) {
        let fragment =
            self.fragment.unwrap_or(Fragment { identification: 0, offset: 0, more: false });
        let offset = IpFragOffset::try_new(fragment.offset / 8).unwrap_or_default();
        let (number, hop_limit) = match self.transport {
            Transport::Tcp { .. } => (IpNumber::TCP, HOP_LIMIT),
            Transport::Udp { .. } => (IpNumber::UDP, HOP_LIMIT),
            Transport::Icmp { .. } if self.source.is_ipv4() => (IpNumber::ICMP, HOP_LIMIT),
            Transport::Icmp { kind, .. } if NEIGHBOUR_DISCOVERY.contains(&kind) => {
                (IpNumber::IPV6_ICMP, NEIGHBOUR_HOP_LIMIT)
            }
            Transport::Icmp { .. } => (IpNumber::IPV6_ICMP, HOP_LIMIT),
        };
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = Ipv4Header {
                    total_len: length(carried + Ipv4Header::MIN_LEN),
                    identification: length(fragment.identification as usize),
                    dont_fragment: self.fragment.is_none(),
                    more_fragments: fragment.more,
                    fragment_offset: offset,
                    time_to_live: hop_limit,
                    protocol: number,
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv4Header::default()
                };
                header.header_checksum = header.calc_header_checksum();
                frame.extend(header.to_bytes());
            }
            (source, destination) => {
                let extension = self.fragment.map(|fragment| {
                    Ipv6FragmentHeader::new(number, offset, fragment.more, fragment.identification)
                });
                let extra = extension.as_ref().map_or(0, Ipv6FragmentHeader::header_len);
                let header = Ipv6Header {
                    payload_length: length(carried + extra),
                    next_header: if extra > 0 {
                        IpNumber::IPV6_FRAGMENTATION_HEADER
                    } else {
                        number
                    },
                    hop_limit,
                    source: six(source),
                    destination: six(destination),
                    ..Ipv6Header::default()
                };
                frame.extend(header.to_bytes());
                frame.extend(extension.iter().flat_map(Ipv6FragmentHeader::to_bytes));
            }
        }
    }

    /// The transport header, before what follows it.
    fn write_transport(&self, payload: &[u8], frame: &mut Vec<u8>) {
        let four = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Some((source.octets(), destination.octets()))
            }
            _ => None,
        };
        let (source6, destination6) = (six(self.source), six(self.destination));
        // No length here is beyond what the checksums can do.
        match self.transport {
            Transport::Tcp { source, destination, flags } => {
                let mut header = TcpHeader::new(source, destination, 1, u16::MAX);
                set_flags(&mut header, flags);
                let checksum = match four {
                    Some((from, to)) => header.calc_checksum_ipv4_raw(from, to, payload),
                    None => header.calc_checksum_ipv6_raw(source6, destination6, payload),
                };
                header.checksum = checksum.unwrap_or_default();
                frame.extend(header.to_bytes());
            }
            Transport::Udp { source, destination } => {
                let length = length(UdpHeader::LEN + payload.len());
                let mut header = UdpHeader {
                    source_port: source,
                    destination_port: destination,
                    length,
                    checksum: 0,
                };
                let checksum = match four {
                    Some((from, to)) => header.calc_checksum_ipv4_raw(from, to, payload),
                    None => header.calc_checksum_ipv6_raw(source6, destination6, payload),
                };
                header.checksum = checksum.unwrap_or_default();
                frame.extend(header.to_bytes());
            }
            Transport::Icmp { kind: type_u8, code: code_u8 } => {
                let bytes5to8 = [0; 4];
                if four.is_some() {
                    let kind = Icmpv4Type::Unknown { type_u8, code_u8, bytes5to8 };
                    frame.extend(Icmpv4Header::with_checksum(kind, payload).to_bytes());
                } else {
                    let kind = Icmpv6Type::Unknown { type_u8, code_u8, bytes5to8 };
                    let header = Icmpv6Header::with_checksum(kind, source6, destination6, payload);
                    frame.extend(header.iter().flat_map(Icmpv6Header::to_bytes));
                }
            }
        }
    }
}

impl Transport {
    /// Bytes of its header.
    const fn header(self) -> usize {
        match self {
            Self::Tcp { .. } => TcpHeader::MIN_LEN,
            Self::Udp { .. } | Self::Icmp { .. } => UdpHeader::LEN,
        }
    }
}

fn set_flags(header: &mut TcpHeader, flags: u8) {
    let is_set = |bit: u8| flags & bit != 0;
    header.fin = is_set(tcp_flags::FIN);
    header.syn = is_set(tcp_flags::SYN);
    header.rst = is_set(tcp_flags::RST);
    header.psh = is_set(0x08);
    header.ack = is_set(tcp_flags::ACK);
    header.urg = is_set(0x20);
    header.ece = is_set(0x40);
    header.cwr = is_set(0x80);
    header.acknowledgment_number = u32::from(header.ack);
}

/// What the length was checked to fit into.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

fn six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
