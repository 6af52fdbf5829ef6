//! Frames, header by header.
//!
//! ```
//! use sandbox::packet::frame;
//!
//! let syn = frame().eth().vlan(5).ipv4("203.0.113.9", "198.51.100.1").tcp(4000, 22).syn().build();
//! assert_eq!(syn.len(), 14 + 4 + 20 + 20);
//! ```
//!
//! Lengths, checksums and the numbers by which a header names the next one are
//! right unless they are set. Setters act on the header added last, and exist
//! only for headers that have such a field. Headers may follow each other in
//! any order, sensible or not. The same calls give the same bytes.
//!
//! The headers are written by hand: `etherparse`, which the tests of this
//! module read them back with, cannot write lengths and versions that lie.

mod ethernet;
mod extension;
mod header;
mod icmp;
mod ip;
mod transport;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

pub use ethernet::{Arp, Ethernet, Pppoe, Vlan};
pub use extension::Extension;
pub use header::checksum;
pub use icmp::{Icmp, Icmpv6};
pub use ip::{Ip, Ipv4, Ipv6};
pub use transport::{Tcp, Udp};

use header::{Inside, Write};

/// An empty frame. Start with [`Frame::eth`], or with an IP header for links
/// without Ethernet.
#[must_use]
pub fn frame() -> Frame<Nothing> {
    Frame { below: Vec::new(), top: Nothing, shortest: 0, trailer: Vec::new() }
}

/// A frame whose last header so far is `H`.
#[derive(Clone)]
pub struct Frame<H> {
    /// From the outermost inwards, without the last.
    below: Vec<Arc<dyn Write>>,
    top: H,
    shortest: usize,
    trailer: Vec<u8>,
}

/// The header of an empty frame.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

/// Bytes that are not a header.
#[derive(Debug, Clone)]
pub struct Payload(Vec<u8>);

/// What can be a header of a [`Frame`]: the types of this module.
pub trait Header: Write {}

impl<H: Write> Header for H {}

/// What can be given as an address: itself, its bytes, or a literal.
pub trait Address<A> {
    /// The address.
    ///
    /// # Panics
    /// If it is text that is no such address.
    fn address(self) -> A;
}

impl Address<Ipv4Addr> for Ipv4Addr {
    fn address(self) -> Ipv4Addr {
        self
    }
}

impl Address<Ipv4Addr> for [u8; 4] {
    fn address(self) -> Ipv4Addr {
        self.into()
    }
}

impl Address<Ipv4Addr> for &str {
    #[track_caller]
    fn address(self) -> Ipv4Addr {
        self.parse().unwrap_or_else(|_| panic!("`{self}` is no IPv4 address"))
    }
}

impl Address<Ipv6Addr> for Ipv6Addr {
    fn address(self) -> Ipv6Addr {
        self
    }
}

impl Address<Ipv6Addr> for [u8; 16] {
    fn address(self) -> Ipv6Addr {
        self.into()
    }
}

impl Address<Ipv6Addr> for &str {
    #[track_caller]
    fn address(self) -> Ipv6Addr {
        self.parse().unwrap_or_else(|_| panic!("`{self}` is no IPv6 address"))
    }
}

impl Address<IpAddr> for IpAddr {
    fn address(self) -> IpAddr {
        self
    }
}

impl Address<IpAddr> for &str {
    #[track_caller]
    fn address(self) -> IpAddr {
        self.parse().unwrap_or_else(|_| panic!("`{self}` is no IP address"))
    }
}

impl<H: Header> Frame<H> {
    /// Adds any header.
    fn then<N: Header>(mut self, top: N) -> Frame<N> {
        self.below.push(Arc::new(self.top));
        Frame { below: self.below, top, shortest: self.shortest, trailer: self.trailer }
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn payload(self, bytes: impl Into<Vec<u8>>) -> Frame<Payload> {
        self.then(Payload(bytes.into()))
    }

    /// Adds bytes after the end of everything, which no length covers.
    #[must_use]
    pub fn trailer(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.trailer = bytes.into();
        self
    }

    /// Fills a frame that is shorter with zeroes; Ethernet wants 60 bytes.
    #[must_use]
    pub fn pad_to(mut self, length: usize) -> Self {
        self.shortest = length;
        self
    }

    /// The bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let headers: Vec<&dyn Write> =
            self.below.iter().map(AsRef::as_ref).chain([&self.top as &dyn Write]).collect();
        let mut bytes = Vec::new();
        // From the inside out: a header needs the bytes that it carries.
        for (index, header) in headers.iter().enumerate().rev() {
            let inside = Inside {
                next: headers.get(index + 1).copied(),
                bytes: &bytes,
                addresses: headers[..index].iter().rev().find_map(|outer| outer.addresses()),
            };
            let mut whole = Vec::new();
            header.write(&inside, &mut whole);
            whole.extend_from_slice(&bytes);
            bytes = whole;
        }
        bytes.extend_from_slice(&self.trailer);
        bytes.resize(bytes.len().max(self.shortest), 0);
        bytes
    }
}

impl Write for Nothing {
    fn write(&self, _: &Inside<'_>, _: &mut Vec<u8>) {}
}

impl Write for Payload {
    fn write(&self, _: &Inside<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

#[cfg(test)]
mod tests;
