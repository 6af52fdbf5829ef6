//! Drops, one by one.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// Some of the drops that were shown, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The oldest first.
    pub events: Vec<DropEvent>,
    /// Those before them that whoever follows was too slow for.
    pub missed: u64,
}

/// A packet that was dropped, or would have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropEvent {
    /// When.
    pub time: String,
    /// Where it came in.
    pub interface: String,
    /// `drop`; `pass` where monitor mode let it through.
    pub verdict: String,
    /// Why it was, or would have been, dropped.
    pub reason: String,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The scope of the limit that refused it.
    pub scope: Option<String>,
    /// Who sent it, by its own word; `None`: it cannot be read.
    pub source: Option<IpAddr>,
    /// Whom it was for.
    pub destination: Option<IpAddr>,
    /// `tcp`, `udp`, `icmp`, `icmp6`, or another by its name or number.
    pub protocol: Option<String>,
    /// Of TCP and UDP.
    pub source_port: Option<u16>,
    /// Likewise.
    pub destination_port: Option<u16>,
    /// TCP's control bits that are set, such as `syn ack`.
    pub flags: Option<String>,
    /// ICMP's type.
    pub icmp_type: Option<u8>,
    /// ICMP's code.
    pub icmp_code: Option<u8>,
    /// Bytes of the frame.
    pub length: u32,
    /// Drops on this interface since the one that was shown before, on the same processor.
    pub not_shown: u64,
}

/// As it is written on the command line: `eth0: tcp 198.51.100.9:4000 > 203.0.113.5:22 syn len 60`.
impl fmt::Display for DropEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.interface)?;
        if let Some(protocol) = &self.protocol {
            write!(f, " {protocol}")?;
        }
        if let (Some(source), Some(destination)) = (self.source, self.destination) {
            write!(f, " {}", End(source, self.source_port))?;
            write!(f, " > {}", End(destination, self.destination_port))?;
        }
        if let Some(flags) = self.flags.as_deref().filter(|flags| !flags.is_empty()) {
            write!(f, " {flags}")?;
        }
        if let (Some(kind), Some(code)) = (self.icmp_type, self.icmp_code) {
            write!(f, " type {kind} code {code}")?;
        }
        write!(f, " len {}", self.length)
    }
}

/// An address, and a port where there is one.
struct End(IpAddr, Option<u16>);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(address, Some(port)) => std::net::SocketAddr::new(address, port).fmt(f),
            Self(address, None) => address.fmt(f),
        }
    }
}
