//! IPv4 (RFC 791) and IPv6 (RFC 8200).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Address, Frame, Header,
    header::{Inside, Write, checksum, low_u16},
};

/// An IPv4 header with its options.
#[derive(Debug, Clone)]
pub struct Ipv4 {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    version: u8,
    header_words: Option<u8>,
    tos: u8,
    total_length: Option<u16>,
    id: u16,
    /// Three flag bits and the offset in units of eight bytes.
    fragment: u16,
    ttl: u8,
    protocol: Option<u8>,
    checksum: Option<u16>,
    options: Vec<u8>,
}

/// An IPv6 header without extensions.
#[derive(Debug, Clone)]
pub struct Ipv6 {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    version: u8,
    /// Traffic class and flow label, 28 bits.
    class_and_flow: u32,
    payload_length: Option<u16>,
    next_header: Option<u8>,
    hop_limit: u8,
}

/// An IP header of either family, for tests that treat both alike.
#[derive(Debug, Clone)]
pub enum Ip {
    /// IPv4
    V4(Ipv4),
    /// IPv6
    V6(Ipv6),
}

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

impl Ipv4 {
    fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self {
            source,
            destination,
            version: 4,
            header_words: None,
            tos: 0,
            total_length: None,
            id: 1,
            fragment: DONT_FRAGMENT,
            ttl: 64,
            protocol: None,
            checksum: None,
            options: Vec::new(),
        }
    }
}

impl Ipv6 {
    fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self {
            source,
            destination,
            version: 6,
            class_and_flow: 0,
            payload_length: None,
            next_header: None,
            hop_limit: 64,
        }
    }
}

impl<H: Header> Frame<H> {
    /// Adds an IPv4 header: TTL 64, id 1, "don't fragment".
    ///
    /// # Panics
    /// If an address is text that is not an IPv4 address.
    #[must_use]
    #[track_caller]
    pub fn ipv4(
        self,
        source: impl Address<Ipv4Addr>,
        destination: impl Address<Ipv4Addr>,
    ) -> Frame<Ipv4> {
        let (source, destination) = (source.address(), destination.address());
        self.then(Ipv4::new(source, destination))
    }

    /// Adds an IPv6 header: hop limit 64.
    ///
    /// # Panics
    /// If an address is text that is not an IPv6 address.
    #[must_use]
    #[track_caller]
    pub fn ipv6(
        self,
        source: impl Address<Ipv6Addr>,
        destination: impl Address<Ipv6Addr>,
    ) -> Frame<Ipv6> {
        let (source, destination) = (source.address(), destination.address());
        self.then(Ipv6::new(source, destination))
    }

    /// Adds the header of the addresses' family, as [`Frame::ipv4`] or
    /// [`Frame::ipv6`] would.
    ///
    /// # Panics
    /// If they are of different families, or text that is no address.
    #[must_use]
    #[track_caller]
    pub fn ip(self, source: impl Address<IpAddr>, destination: impl Address<IpAddr>) -> Frame<Ip> {
        let header = match (source.address(), destination.address()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ip::V4(Ipv4::new(source, destination)),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ip::V6(Ipv6::new(source, destination)),
            (source, destination) => panic!("{source} and {destination} are of different families"),
        };
        self.then(header)
    }
}

impl Frame<Ipv4> {
    /// Sets the version, four bits.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.top.version = version;
        self
    }

    /// Sets the header length in words of four bytes, without changing it.
    #[must_use]
    pub fn header_words(mut self, words: u8) -> Self {
        self.top.header_words = Some(words);
        self
    }

    /// Sets the byte that holds DSCP and ECN.
    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        self.top.tos = tos;
        self
    }

    /// Sets the total length in bytes, without changing it.
    #[must_use]
    pub fn total_length(mut self, length: u16) -> Self {
        self.top.total_length = Some(length);
        self
    }

    /// Sets the identification.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.top.id = id;
        self
    }

    /// Makes it a fragment: the packet's identification, its place in units of
    /// eight bytes, and whether more follow. What comes next is written whole;
    /// a later fragment carries a payload and needs [`Frame::protocol`].
    #[must_use]
    pub fn fragment(mut self, id: u16, offset: u16, more: bool) -> Self {
        self.top.id = id;
        self.top.fragment = (offset & 0x1fff) | if more { MORE_FRAGMENTS } else { 0 };
        self
    }

    /// Sets the three flag bits and the 13 bits of the offset as one word.
    #[must_use]
    pub fn flags_and_offset(mut self, word: u16) -> Self {
        self.top.fragment = word;
        self
    }

    /// Sets the time to live.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.top.ttl = ttl;
        self
    }

    /// Sets the protocol number.
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.top.protocol = Some(protocol);
        self
    }

    /// Sets the header checksum.
    #[must_use]
    pub fn checksum(mut self, checksum: u16) -> Self {
        self.top.checksum = Some(checksum);
        self
    }

    /// Sets the options, filled up to a word with zeroes. The length field
    /// holds 40 bytes of them; of longer ones it writes the low bits.
    #[must_use]
    pub fn options(mut self, options: impl Into<Vec<u8>>) -> Self {
        self.top.options = options.into();
        let whole = self.top.options.len().next_multiple_of(4);
        self.top.options.resize(whole, 0);
        self
    }
}

impl Frame<Ipv6> {
    /// Sets the version, four bits.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.top.version = version;
        self
    }

    /// Sets the traffic class and the flow label (20 bits).
    #[must_use]
    pub fn class_and_flow(mut self, class: u8, flow: u32) -> Self {
        self.top.class_and_flow = u32::from(class) << 20 | (flow & 0xf_ffff);
        self
    }

    /// Sets the payload length in bytes, without changing it.
    #[must_use]
    pub fn payload_length(mut self, length: u16) -> Self {
        self.top.payload_length = Some(length);
        self
    }

    /// Sets the number of the header that follows.
    #[must_use]
    pub fn next_header(mut self, protocol: u8) -> Self {
        self.top.next_header = Some(protocol);
        self
    }

    /// Sets the hop limit.
    #[must_use]
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.top.hop_limit = hop_limit;
        self
    }
}

impl Write for Ipv4 {
    fn ethertype(&self) -> Option<u16> {
        Some(0x0800)
    }

    /// IPv4 inside of IP (RFC 2003).
    fn protocol(&self) -> Option<u8> {
        Some(4)
    }

    fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        Some((self.source.into(), self.destination.into()))
    }

    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        let header_length = 20 + self.options.len();
        let words = self.header_words.unwrap_or(((header_length / 4) & 0x0f) as u8);
        let total =
            self.total_length.unwrap_or_else(|| low_u16(header_length + inside.bytes.len()));
        let mut header = Vec::with_capacity(header_length);
        header.extend([self.version << 4 | (words & 0x0f), self.tos]);
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol.unwrap_or_else(|| inside.protocol()), 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        header.extend(&self.options);
        let sum = self.checksum.unwrap_or_else(|| checksum(&header));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        out.extend(header);
    }
}

impl Write for Ipv6 {
    fn ethertype(&self) -> Option<u16> {
        Some(0x86dd)
    }

    /// IPv6 inside of IP (RFC 2473).
    fn protocol(&self) -> Option<u8> {
        Some(41)
    }

    fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        Some((self.source.into(), self.destination.into()))
    }

    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        let first = u32::from(self.version) << 28 | self.class_and_flow;
        out.extend(first.to_be_bytes());
        out.extend(
            self.payload_length.unwrap_or_else(|| low_u16(inside.bytes.len())).to_be_bytes(),
        );
        out.extend([self.next_header.unwrap_or_else(|| inside.protocol()), self.hop_limit]);
        out.extend(self.source.octets());
        out.extend(self.destination.octets());
    }
}

impl Ip {
    fn header(&self) -> &dyn Write {
        match self {
            Self::V4(header) => header,
            Self::V6(header) => header,
        }
    }
}

impl Write for Ip {
    fn ethertype(&self) -> Option<u16> {
        self.header().ethertype()
    }

    fn protocol(&self) -> Option<u8> {
        self.header().protocol()
    }

    fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        self.header().addresses()
    }

    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        self.header().write(inside, out);
    }
}
