//! The results of requests, which are also what `--json` prints.
//!
//! Absent is null, times are RFC 3339; the objects grow, and never change.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Note;
use crate::policy::Change;

/// How the daemon fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Counts the switches of policy since the start, from 1.
    pub generation: u64,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// The policy in force.
    pub policy: PolicyEntry,
    /// Those that are, or are to be, guarded.
    pub interfaces: Vec<InterfaceEntry>,
    /// Every packet since the start, once.
    pub totals: Vec<TotalEntry>,
    /// Once more: what monitor mode let through, by the reason it would have been dropped for.
    pub monitored: Vec<MonitoredEntry>,
    /// How full the tables are.
    pub tables: Vec<TableEntry>,
    /// The sets that come from files.
    pub sets: Vec<SetEntry>,
    /// Where the bans are saved.
    pub ban_file: BanFileEntry,
    /// Packets refused because other processors won every swap of their
    /// bucket.
    pub contended: u64,
    /// Connections that peers hold.
    pub connections: ConnectionsEntry,
    /// Where metrics are served.
    pub metrics: MetricsEntry,
    /// How many drops were shown one by one.
    pub events: EventsEntry,
    /// The flow log; `None`: there is none.
    pub flow_log: Option<FlowLogEntry>,
    /// The daemon's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// When it was started.
    pub started: String,
    /// Seconds since then.
    pub uptime: u64,
}

/// Connections that peers hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsEntry {
    /// How many, under all rules.
    pub held: u64,
    /// `kernel`: as they come and go; `sweeps`: every few seconds only.
    pub counted_by: String,
    /// Those since the start that came when a limit was reached already.
    pub surplus: u64,
    /// How many of them were closed.
    pub destroyed: u64,
    /// Those since the start that were closed because they were idle.
    pub idle: u64,
    /// By how much counts had to be mended since the start.
    pub drift: u64,
}

/// Where metrics are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsEntry {
    /// The address and port that the policy names; `None`: metrics are off.
    pub listen: Option<String>,
    /// Why they are not served there now.
    pub problem: Option<String>,
}

/// Drops, those included that monitor mode let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsEntry {
    /// How many are or were in the log.
    pub shown: u64,
    /// How many were counted alone: the rate was used up.
    pub not_shown: u64,
    /// How many of these should have been shown, and found the ring full.
    pub lost: u64,
}

/// The flow log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowLogEntry {
    /// Its file.
    pub file: String,
    /// Flows that were written, since it was switched on.
    pub records: u64,
    /// Packets whose flows found no room in the table, likewise.
    pub skipped: u64,
    /// Why it cannot be written.
    pub problem: Option<String>,
}

/// Flows of packets that come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// `flow_log`: those of this minute and the one before, counted; `kernel`: the
    /// connections of sockets, and what this host or a container has sent.
    pub from: String,
    /// How many there are.
    pub total: u64,
    /// The first of them.
    pub flows: Vec<FlowEntry>,
}

/// One flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEntry {
    /// Where it comes in; `None`: not known.
    pub interface: Option<String>,
    /// `pass` or `drop`; `None`: it is not counted.
    pub verdict: Option<String>,
    /// `tcp`, `udp`, `icmp`, `icmp6`, or another by its name or number.
    pub protocol: String,
    /// The other side.
    pub source: IpAddr,
    /// Of TCP and UDP.
    pub source_port: Option<u16>,
    /// This side.
    pub destination: IpAddr,
    /// Of TCP and UDP.
    pub destination_port: Option<u16>,
    /// How many came in; `None`: they are not counted.
    pub packets: Option<u64>,
    /// Their frames' bytes.
    pub bytes: Option<u64>,
    /// When the first that is counted came.
    pub first: Option<String>,
    /// When something was last seen of it.
    pub last: Option<String>,
}

/// Who is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// Those that hold the most connections first.
    pub sources: Vec<SourceReport>,
}

/// A source under one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Its prefix, as `[prefixes]` cuts it.
    pub source: IpNet,
    /// The rule.
    pub rule: String,
    /// Connections that it holds.
    pub connections: u64,
    /// Packets of it that were refused for a rate since it was last idle; about.
    pub refused: u64,
    /// How near each of its own limits is.
    pub limits: Vec<LimitEntry>,
}

/// The policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyEntry {
    /// The file that it was read from.
    pub file: String,
    /// Of the policy's text, in hexadecimal.
    pub sha256: String,
    /// Whether the daemon's own file holds this text now: what a reload would load.
    pub matches_disk: bool,
    /// When it is taken back unless it is confirmed.
    pub pending_until: Option<String>,
    /// Why it is not the daemon's own file, where a start had to load the last
    /// confirmed policy in its place, or it was taken back.
    #[serde(default)]
    pub instead: Option<String>,
    /// The daemon's own file, which the next reload or start loads.
    pub own_file: String,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceEntry {
    /// Its name.
    pub name: String,
    /// `native` or `generic`; `None`: it is not guarded now.
    pub attach: Option<String>,
    /// Why it is not native, or not guarded.
    pub why: Option<String>,
}

/// What one interface saw with one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalEntry {
    /// Its name.
    pub interface: String,
    /// `pass` or `drop`.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub packets: u64,
    /// Their frames' bytes.
    pub bytes: u64,
}

/// What monitor mode let through on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitoredEntry {
    /// Its name.
    pub interface: String,
    /// Why it would have been dropped.
    pub reason: String,
    /// How many.
    pub packets: u64,
    /// Their frames' bytes.
    pub bytes: u64,
}

/// A table of bounded size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// `bans`, `ban_prefixes`, `sources`, `fragments`, `slots` or `rules`.
    pub name: String,
    /// How many entries it has.
    pub entries: u64,
    /// How many it has room for.
    pub capacity: u64,
    /// Newcomers since the start that found no room (`fragments`), or took that
    /// of another that still counted (`sources`); `None`: they are not counted.
    pub full: Option<u64>,
}

/// A set that comes from a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetEntry {
    /// Its name.
    pub name: String,
    /// The file.
    pub file: String,
    /// Why the file as it is now is not in force, and an earlier content of it is.
    pub problem: Option<String>,
}

/// The file of the bans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanFileEntry {
    /// Where it is.
    pub file: String,
    /// Why not every ban that holds is in it.
    pub problem: Option<String>,
    /// What of it could not be read when the daemon started.
    pub lost: Option<String>,
}

/// The rules in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// In the order of the policy file.
    pub rules: Vec<RuleEntry>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleEntry {
    /// Its name.
    pub name: String,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// Connections that it holds now; `None`: they are not counted.
    pub connections: Option<u64>,
    /// What it did, since the name was first used.
    pub counters: Vec<CounterEntry>,
    /// Once more: what monitor mode let through.
    pub monitored: Vec<RuleMonitoredEntry>,
    /// How near each of its limits is.
    pub limits: Vec<LimitEntry>,
}

/// How near a limit is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitEntry {
    /// Such as `per_source`.
    pub scope: String,
    /// Such as `new_connections`.
    pub limit: String,
    /// Percent that is used up, by whoever has used most. At 100 the next is refused.
    pub used: u32,
}

/// What a rule did with one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterEntry {
    /// `pass` or `drop`.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// The scope of the limit that refused, such as `per_source`.
    pub scope: Option<String>,
    /// How many.
    pub packets: u64,
    /// Their frames' bytes.
    pub bytes: u64,
}

/// What monitor mode let through of what a rule would have dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMonitoredEntry {
    /// Why it would have been dropped.
    pub reason: String,
    /// The scope of the limit that would have refused.
    pub scope: Option<String>,
    /// How many.
    pub packets: u64,
    /// Their frames' bytes.
    pub bytes: u64,
}

/// What a change of policy did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// None: both mean the same, and nothing was done.
    pub changes: Vec<Change>,
    /// What to think again about.
    pub warnings: Vec<Note>,
    /// The generation in force.
    pub generation: u64,
    /// The file that the policy was read from.
    pub file: String,
    /// It holds until the next reload or start only, which loads another file.
    pub until_reload: bool,
    /// When it is taken back, unless it is confirmed before.
    pub pending_until: Option<String>,
}

/// What a change of policy would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// None: both mean the same.
    pub changes: Vec<Change>,
    /// What to think again about.
    pub warnings: Vec<Note>,
    /// The file that was compared.
    pub file: String,
}

/// What a ban did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Banned {
    /// How many prefixes were banned.
    pub banned: u64,
    /// When the bans end.
    pub until: Option<String>,
    /// What to think again about.
    pub warnings: Vec<Note>,
}

/// What taking a ban back did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unbanned {
    /// What was banned.
    pub prefix: IpNet,
    /// What to think again about.
    #[serde(default)]
    pub warnings: Vec<Note>,
}

/// Some of the bans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanPage {
    /// In the order of their prefixes.
    pub bans: Vec<BanEntry>,
    /// What to ask for after these; `None`: there are no more.
    pub next: Option<IpNet>,
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanEntry {
    /// Who is banned.
    pub prefix: IpNet,
    /// When it ends; `None`: when it is taken back.
    pub until: Option<String>,
    /// What was said of it.
    pub reason: Option<String>,
}

/// What became of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// `None`: it is not one that should be guarded.
    pub interface: Option<InterfaceEntry>,
}

/// What was taken off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// The interfaces that are unguarded from now on.
    pub interfaces: Vec<String>,
}
