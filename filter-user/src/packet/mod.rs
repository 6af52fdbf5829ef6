//! A packet as it is written on the command line, and the frame that it stands for.

mod frame;
mod text;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

pub use self::frame::Unbuildable;
pub use self::text::PacketError;

/// The names of TCP's control bits (RFC 9293, section 3.1), from the lowest.
pub(crate) const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

/// The names of those that are set, such as `syn ack`.
pub(crate) fn flag_names(bits: u8) -> String {
    let set = FLAGS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

/// A packet. Displays as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes in; `None`: not said.
    pub interface: Option<String>,
    /// Who sends it.
    pub source: IpAddr,
    /// To whom; of the same family.
    pub destination: IpAddr,
    /// What it carries.
    pub transport: Transport,
    /// Bytes of its frame; `None`: as many as it takes.
    pub length: Option<u32>,
    /// Which piece of a datagram it is; `None`: all of it.
    pub fragment: Option<Fragment>,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// The sender's port.
        source: u16,
        /// The receiver's.
        destination: u16,
        /// Control bits.
        flags: u8,
    },
    /// UDP.
    Udp {
        /// The sender's port.
        source: u16,
        /// The receiver's.
        destination: u16,
    },
    /// ICMP over IPv4, or ICMPv6 over IPv6.
    Icmp {
        /// The message's type.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

/// Which piece of a datagram a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// What tells the datagrams of two hosts apart; 16 bits in IPv4.
    pub identification: u32,
    /// Where it begins, in bytes: a multiple of 8.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
}

impl Packet {
    /// The ports of TCP and UDP: the sender's and the receiver's.
    #[must_use]
    pub const fn ports(&self) -> Option<(u16, u16)> {
        match self.transport {
            Transport::Tcp { source, destination, .. } | Transport::Udp { source, destination } => {
                Some((source, destination))
            }
            Transport::Icmp { .. } => None,
        }
    }

    /// `tcp`, `udp`, `icmp` or `icmp6`.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match (self.transport, self.source) {
            (Transport::Tcp { .. }, _) => "tcp",
            (Transport::Udp { .. }, _) => "udp",
            (Transport::Icmp { .. }, IpAddr::V4(_)) => "icmp",
            (Transport::Icmp { .. }, IpAddr::V6(_)) => "icmp6",
        }
    }

    /// Whether it is a later piece of a datagram, which carries no ports.
    #[must_use]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "{interface}: ")?;
        }
        write!(f, "{} ", self.protocol())?;
        let (source, destination) = (self.source, self.destination);
        match self.ports().filter(|_| !self.is_later_fragment()) {
            Some((from, to)) => {
                let (from, to) = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
                write!(f, "{from} > {to}")?;
            }
            None => write!(f, "{source} > {destination}")?,
        }
        match self.transport {
            _ if self.is_later_fragment() => {}
            Transport::Tcp { flags: 0, .. } => f.write_str(" none")?,
            Transport::Tcp { flags, .. } => write!(f, " {}", flag_names(flags))?,
            Transport::Icmp { kind, code } => write!(f, " type {kind} code {code}")?,
            Transport::Udp { .. } => {}
        }
        if let Some(length) = self.length {
            write!(f, " len {length}")?;
        }
        if let Some(Fragment { identification, offset, more }) = self.fragment {
            write!(f, " frag {identification},{offset}{}", if more { ",mf" } else { "" })?;
        }
        Ok(())
    }
}
