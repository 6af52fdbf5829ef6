//! The pieces of datagrams, and a policy for them.

use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

/// The first fragments of UDP datagrams hold so many bytes: three blocks.
pub const FIRST: usize = 24;

/// The pieces of a datagram between two hosts.
#[derive(Clone, Copy)]
pub struct Datagram {
    pub ipv6: bool,
    pub source: &'static str,
    pub id: u16,
}

impl Datagram {
    /// One for each family, which no other test case uses.
    pub fn both(id: u16) -> [Self; 2] {
        [(false, PEER), (true, PEER6)].map(|(ipv6, source)| Self { ipv6, source, id })
    }

    /// The first piece of a UDP datagram, of [`FIRST`] bytes.
    pub fn udp(self, port: u16) -> Vec<u8> {
        let payload = [0; FIRST - 8];
        if self.ipv6 {
            let ip = frame().eth().ipv6(self.source, HOST6);
            let udp = ip.fragment_header(self.id.into(), 0, true).udp(4000, port);
            udp.length(4000).payload(payload).build()
        } else {
            let ip = frame().eth().ipv4(self.source, HOST).fragment(self.id, 0, true);
            ip.udp(4000, port).length(4000).payload(payload).build()
        }
    }

    /// The first piece of a TCP segment: a bare SYN without options, 20 bytes.
    pub fn syn(self, port: u16) -> Vec<u8> {
        if self.ipv6 {
            let ip = frame().eth().ipv6(self.source, HOST6);
            ip.fragment_header(self.id.into(), 0, true).tcp(4000, port).syn().build()
        } else {
            let ip = frame().eth().ipv4(self.source, HOST).fragment(self.id, 0, true);
            ip.tcp(4000, port).syn().build()
        }
    }

    /// A piece of `length` bytes at `offset` blocks.
    pub fn later(self, protocol: u8, offset: u16, more: bool, length: usize) -> Vec<u8> {
        // It looks like an admitted SYN, where it is long enough, and is none.
        let mut inside = frame().tcp(4000, 22).syn().build();
        inside.resize(length, 0);
        if self.ipv6 {
            let ip = frame().eth().ipv6(self.source, HOST6);
            let ip = ip.fragment_header(self.id.into(), offset, more);
            ip.next_header(protocol).payload(inside).build()
        } else {
            let ip = frame().eth().ipv4(self.source, HOST).fragment(self.id, offset, more);
            ip.protocol(protocol).payload(inside).build()
        }
    }

    /// [`later`](Self::later), of UDP and 16 bytes.
    pub fn next(self, offset: u16, more: bool) -> Vec<u8> {
        self.later(17, offset, more, 16)
    }

    pub fn name(self) -> &'static str {
        if self.ipv6 { "IPv6" } else { "IPv4" }
    }
}

/// A port for everybody, and one for others than the peer.
pub const OPEN: &str = "[[rule]]\nname = \"open\"\nports = [\"tcp/22\", \"udp/22\"]\n[[rule]]\nname = \"others\"\nports = [\"udp/24\"]\nfrom = [\"192.0.2.7\", \"2001:db8:7::7\"]\n";
