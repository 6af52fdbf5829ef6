//! What a policy means, once it is read: every set looked up, every default filled in.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use filter_common::Scope;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A whole, valid policy. Two that mean the same are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The interfaces to guard, sorted; `None`: every one with a default route.
    pub interfaces: Option<Vec<String>>,
    /// Whether anything is dropped at all.
    pub mode: Mode,
    /// How the program is attached.
    pub attach: Attach,
    /// Sources that pass before any rule: sorted, aggregated, none inside another.
    pub trusted: Vec<IpNet>,
    /// Sources that are dropped before any rule: sorted, aggregated, none inside another.
    pub denied: Vec<IpNet>,
    /// The rules in the order of the file, which has no meaning.
    pub rules: Vec<Rule>,
    /// What ICMP is let in.
    pub icmp: Icmp,
    /// IP protocol numbers that are let in besides TCP, UDP and ICMP: sorted, each once.
    pub protocols: Vec<u8>,
    /// What "source" and "network" mean.
    pub prefixes: Prefixes,
    /// What is told of single packets.
    pub log: Log,
    /// Capacities of the kernel's tables.
    pub tables: Tables,
    /// What becomes of the filter when the daemon is stopped.
    pub on_stop: OnStop,
    /// Where metrics are served; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
}

/// Where metrics are served unless the policy says otherwise.
pub const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9551);

impl Default for Policy {
    /// What an empty policy file means: all closed but essentials and replies.
    fn default() -> Self {
        Self {
            interfaces: None,
            mode: Mode::Enforce,
            attach: Attach::Auto,
            trusted: Vec::new(),
            denied: Vec::new(),
            rules: Vec::new(),
            icmp: Icmp::default(),
            protocols: Vec::new(),
            prefixes: Prefixes::default(),
            log: Log::default(),
            tables: Tables::default(),
            on_stop: OnStop::Keep,
            metrics: Some(METRICS),
        }
    }
}

/// Whether verdicts are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// What is refused is dropped.
    Enforce,
    /// What would be refused is counted and passes.
    Monitor,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
        })
    }
}

/// What becomes of the filter when the daemon is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnStop {
    /// It stays on, with the policy that is in force.
    Keep,
    /// It is taken off.
    Detach,
}

impl fmt::Display for OnStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Detach => "detach",
        })
    }
}

/// How the XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attach {
    /// Native, and generic where the driver refuses.
    Auto,
    /// In the driver or not at all.
    Native,
    /// In the network stack, before anything else of it.
    Generic,
}

impl fmt::Display for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// Opens ports to sources, within limits.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique, `[A-Za-z0-9._-]{1,63}`; counters follow it from policy to policy.
    pub name: String,
    /// Sorted; no two overlap or touch.
    pub ports: Vec<PortRange>,
    /// Who may use them.
    pub from: Source,
    /// The interfaces it holds for, sorted; `None`: all guarded ones.
    pub interfaces: Option<Vec<String>>,
    /// Whether its refusals are carried out.
    pub mode: Mode,
    /// TCP connections over which no byte went for so long are closed.
    pub idle_timeout: Option<Duration>,
    /// The limits of each source.
    pub per_source: Limits,
    /// The limits that the sources of one network share.
    pub per_network: Limits,
    /// The limits that all sources share.
    pub total: Limits,
    /// The line of the policy file on which it begins, from 1. Takes no part in equality.
    pub line: u32,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        // Taken apart whole, so that a new field must be thought of here.
        let Self {
            name,
            ports,
            from,
            interfaces,
            mode,
            idle_timeout,
            per_source,
            per_network,
            total,
            line: _,
        } = self;
        *name == other.name
            && *ports == other.ports
            && *from == other.from
            && *interfaces == other.interfaces
            && *mode == other.mode
            && *idle_timeout == other.idle_timeout
            && *per_source == other.per_source
            && *per_network == other.per_network
            && *total == other.total
    }
}

impl Eq for Rule {}

/// A transport protocol that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The ports `first` to `last`, both included, of one protocol. Displays as `tcp/22` or `udp/100-200`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// From 1.
    pub first: u16,
    /// Not below `first`.
    pub last: u16,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, first, last } = self;
        if first == last {
            write!(f, "{protocol}/{first}")
        } else {
            write!(f, "{protocol}/{first}-{last}")
        }
    }
}

/// Whom a rule lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Every IPv4 and every IPv6 address.
    Anywhere,
    /// These prefixes: sorted, each once, perhaps none. One may lie inside
    /// of another: the longest prefix decides between rules. Rules that name
    /// the same single set share one list.
    Prefixes(Arc<[IpNet]>),
}

impl Source {
    /// The prefixes that it stands for; both default routes for everywhere.
    pub fn prefixes(&self) -> &[IpNet] {
        match self {
            Self::Anywhere => &EVERYWHERE,
            Self::Prefixes(list) => list,
        }
    }
}

/// Every address there is.
const EVERYWHERE: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, 0)),
];

impl From<Arc<[IpNet]>> for Source {
    fn from(list: Arc<[IpNet]>) -> Self {
        if *list == EVERYWHERE { Self::Anywhere } else { Self::Prefixes(list) }
    }
}

impl Rule {
    /// The limits of one scope.
    #[must_use]
    pub const fn limits(&self, scope: Scope) -> &Limits {
        match scope {
            Scope::PerSource => &self.per_source,
            Scope::PerNetwork => &self.per_network,
            Scope::Total => &self.total,
        }
    }
}

/// The limits of one scope; `None`: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are held at the same time.
    pub connections: Option<NonZeroU32>,
    /// Bare SYNs.
    pub new_connections: Option<Rate>,
    /// Packets that are no bare SYN.
    pub packets: Option<Rate>,
    /// Their frames' bytes.
    pub bytes: Option<Rate>,
}

/// `burst` at once from idle, then `amount` each `period`. All above 0; an
/// empty bucket is full again within a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Packets, connections or bytes.
    pub amount: u64,
    /// In which time.
    pub period: Period,
    /// Packets, connections or bytes.
    pub burst: u64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} burst {}", self.amount, self.period, self.burst)
    }
}

/// The time that a rate counts in. Displays as `s`, `m` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// `/s`
    Second,
    /// `/m`
    Minute,
    /// `/h`
    Hour,
}

impl Period {
    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        })
    }
}

/// What ICMP and ICMPv6 let in; `None`: nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Icmp {
    /// Echo requests, for each source.
    pub echo: Option<Rate>,
    /// Errors, for each interface.
    pub errors: Option<Rate>,
}

/// Prefix lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    /// 1 to 32.
    pub source_ipv4: u8,
    /// 1 to 128.
    pub source_ipv6: u8,
    /// 1 to `source_ipv4`.
    pub network_ipv4: u8,
    /// 1 to `source_ipv6`.
    pub network_ipv6: u8,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { source_ipv4: 32, source_ipv6: 64, network_ipv4: 24, network_ipv6: 48 }
    }
}

/// What is told of single packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How many dropped packets are shown; `None`: none of them.
    pub drops: Option<Rate>,
    /// The file that flows are logged in; `None`: they are not.
    pub flows: Option<PathBuf>,
}

impl Default for Log {
    fn default() -> Self {
        Self { drops: Some(Rate { amount: 50, period: Period::Second, burst: 50 }), flows: None }
    }
}

/// Entries that the kernel's tables have room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables {
    /// Bans.
    pub bans: u32,
    /// Sources and networks whose rates are known at a time.
    pub sources: u32,
    /// Sources whose last handshake is remembered.
    pub known: u32,
    /// What this host sends.
    pub flows: FlowTables,
    /// Sources and networks whose connections are counted at a time.
    pub slots: u32,
    /// Datagrams in fragments that are known at a time.
    pub fragments: u32,
    /// Flows of one minute of the flow log.
    pub flow_log: u32,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            bans: 1_000_000,
            sources: 262_144,
            known: 65_536,
            flows: FlowTables::default(),
            slots: 262_144,
            fragments: filter_common::tables::fragments::DEFAULT,
            flow_log: filter_common::tables::flow_log::DEFAULT,
        }
    }
}

/// Entries of the tables that tell replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowTables {
    /// What this host began.
    pub flows: u32,
    /// Forwarded connections that strangers began.
    pub answered: u32,
    /// Those that they only asked for.
    pub half_open: u32,
    /// Strangers' datagrams that monitor mode let through.
    pub asked: u32,
}

impl Default for FlowTables {
    fn default() -> Self {
        Self { flows: 131_072, answered: 65_536, half_open: 65_536, asked: 16_384 }
    }
}
