//! ICMP (RFC 792) and ICMPv6 (RFC 4443).

use super::{
    Frame, Header,
    header::{Inside, Write, checksum},
};

/// An ICMP header of eight bytes.
#[derive(Debug, Clone)]
pub struct Icmp(Message);

/// An ICMPv6 header of eight bytes.
#[derive(Debug, Clone)]
pub struct Icmpv6(Message);

/// What both have.
#[derive(Debug, Clone)]
struct Message {
    kind: u8,
    code: u8,
    rest: [u8; 4],
    checksum: Option<u16>,
}

impl Message {
    const fn new(kind: u8, code: u8) -> Self {
        Self { kind, code, rest: [0; 4], checksum: None }
    }

    fn write(&self, sum: impl FnOnce(&[u8]) -> u16, out: &mut Vec<u8>) {
        let [a, b, c, d] = self.rest;
        let mut header = [self.kind, self.code, 0, 0, a, b, c, d];
        let sum = self.checksum.unwrap_or_else(|| sum(&header));
        header[2..4].copy_from_slice(&sum.to_be_bytes());
        out.extend(header);
    }
}

fn id_and_sequence(id: u16, sequence: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (id.to_be_bytes(), sequence.to_be_bytes());
    [a, b, c, d]
}

impl<H: Header> Frame<H> {
    /// Adds an ICMP header; what it quotes is the payload.
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8) -> Frame<Icmp> {
        self.then(Icmp(Message::new(kind, code)))
    }

    /// Adds an ICMPv6 header; what it quotes is the payload.
    #[must_use]
    pub fn icmpv6(self, kind: u8, code: u8) -> Frame<Icmpv6> {
        self.then(Icmpv6(Message::new(kind, code)))
    }

    /// Adds an echo request.
    #[must_use]
    pub fn ping(self, id: u16, sequence: u16) -> Frame<Icmp> {
        self.icmp(8, 0).rest(id_and_sequence(id, sequence))
    }

    /// Adds an echo request of ICMPv6.
    #[must_use]
    pub fn pingv6(self, id: u16, sequence: u16) -> Frame<Icmpv6> {
        self.icmpv6(128, 0).rest(id_and_sequence(id, sequence))
    }
}

impl Frame<Icmp> {
    /// Sets the second half of the header.
    #[must_use]
    pub fn rest(mut self, rest: [u8; 4]) -> Self {
        self.top.0.rest = rest;
        self
    }

    /// Sets the checksum.
    #[must_use]
    pub fn checksum(mut self, checksum: u16) -> Self {
        self.top.0.checksum = Some(checksum);
        self
    }
}

impl Frame<Icmpv6> {
    /// Sets the second half of the header.
    #[must_use]
    pub fn rest(mut self, rest: [u8; 4]) -> Self {
        self.top.0.rest = rest;
        self
    }

    /// Sets the checksum.
    #[must_use]
    pub fn checksum(mut self, checksum: u16) -> Self {
        self.top.0.checksum = Some(checksum);
        self
    }
}

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl Write for Icmp {
    fn protocol(&self) -> Option<u8> {
        Some(ICMP)
    }

    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        // No pseudo header here.
        self.0.write(|header| checksum(&[header, inside.bytes].concat()), out);
    }
}

impl Write for Icmpv6 {
    fn protocol(&self) -> Option<u8> {
        Some(ICMPV6)
    }

    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        self.0.write(|header| inside.checksum(header, ICMPV6), out);
    }
}
