//! What a valid policy should make its author think again.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::error::write_place;
use super::model::PortRange;

/// One warning. Displays as ``FILE:LINE:COLUMN: field `sources.trusted[0]`: SENTENCE``;
/// serializes as `{warning, file, line, column, field}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The policy file, or the set file that it is about.
    pub file: PathBuf,
    /// From 1; `None` where it is about the whole file.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    /// The path of the field, such as `rule[2].ports[0]`, counted from 0.
    pub field: Option<String>,
    /// What it is.
    pub kind: WarningKind,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, field, kind } = self;
        write_place(f, file, *line, *column, field.as_deref())?;
        write!(f, "{kind}")
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Warning", 5)?;
        out.serialize_field("warning", &self.kind.to_string())?;
        out.serialize_field("file", &self.file.to_string_lossy())?;
        out.serialize_field("line", &self.line)?;
        out.serialize_field("column", &self.column)?;
        out.serialize_field("field", &self.field)?;
        out.end()
    }
}

/// What to think again about, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WarningKind {
    /// Nothing is open.
    #[error(
        "the policy has no rule: every port is closed, and only essential traffic, trusted sources and replies pass; \
         add a `[[rule]]` for each port to open"
    )]
    NoRules,
    /// A prefix that is written with an address inside of it.
    #[error("`{written}` has bits set beyond its prefix length; it is taken as {network}")]
    HostBits {
        /// As written.
        written: String,
        /// What it became.
        network: IpNet,
    },
    /// More of them than are worth listing.
    #[error(
        "and {count} more prefixes with bits set beyond their length; each is taken as its network"
    )]
    MoreHostBits {
        /// How many are not listed.
        count: usize,
    },
    /// A set without an address.
    #[error("the set `{name}` is empty: {effect}")]
    EmptySet {
        /// Its name.
        name: String,
        /// What that means here.
        effect: &'static str,
    },
    /// Ports that one rule names twice.
    #[error("{written} overlaps {other} of the same rule; they are taken as one")]
    Overlap {
        /// The later one.
        written: PortRange,
        /// The one before it.
        other: PortRange,
    },
    /// A name that is in a list twice.
    #[error("`{value}` is named twice; once is enough")]
    Repeated {
        /// As written.
        value: String,
    },
    /// Everybody passes everything.
    #[error(
        "{prefix} trusts every {family} address there is: no rule, ban or limit holds for any; name the addresses that you mean"
    )]
    TrustsEverybody {
        /// The default route of the family.
        prefix: IpNet,
        /// "IPv4" or "IPv6".
        family: &'static str,
    },
    /// Denied, but trusted first.
    #[error("{} trusted, and trusted wins: denying {} has no effect", subject(*.prefix, *.count), object(*.count))]
    DeniedButTrusted {
        /// The first such prefix.
        prefix: IpNet,
        /// How many of the same entry there are.
        count: usize,
    },
    /// Metrics for others.
    #[error(
        "{listen} is not a loopback address: every host that a rule admits to tcp/{} reads how this one is guarded; \
         write \"127.0.0.1:{}\" unless the collector is another host", .listen.port(), .listen.port()
    )]
    MetricsExposed {
        /// As written.
        listen: SocketAddr,
    },
    /// A burst that large packets cannot pass.
    #[error(
        "a burst of {burst} bytes is less than the {least} that the kernel merges into one packet in generic mode; \
         such a packet can never pass, so write a burst of at least {least}"
    )]
    SmallByteBurst {
        /// As written.
        burst: u64,
        /// 65,536.
        least: u64,
    },
}

fn subject(prefix: IpNet, count: usize) -> String {
    match count {
        1 => format!("{prefix} is"),
        _ => format!("{prefix} and {} more prefixes here are", count - 1),
    }
}

fn object(count: usize) -> &'static str {
    if count == 1 { "it" } else { "them" }
}
