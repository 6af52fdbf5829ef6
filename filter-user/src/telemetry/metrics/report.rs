//! What is told at one scrape.

use std::time::SystemTime;

use crate::{
    control::{InterfaceEntry, TableEntry},
    dataplane::{InterfaceCounter, RuleCounter},
};

/// The filter at one moment.
#[derive(Debug)]
pub struct Report {
    /// The daemon's version.
    pub version: &'static str,
    /// When it was started.
    pub started: SystemTime,
    /// Counts the switches of policy since then.
    pub generation: u64,
    /// The whole policy is in monitor mode.
    pub monitor: bool,
    /// The daemon's own file holds the policy in force.
    pub matches_disk: bool,
    /// A change waits for its confirmation.
    pub pending: bool,
    /// Those that are, or are to be, guarded.
    pub interfaces: Vec<InterfaceEntry>,
    /// By interface: all its counters, those at zero too.
    pub counters: Vec<(String, Vec<InterfaceCounter>)>,
    /// Those in force.
    pub rules: Vec<Rule>,
    /// Those that come from files.
    pub sets: Vec<Set>,
    /// How many prefixes are banned.
    pub bans: u64,
    /// All of them are in the state file.
    pub bans_saved: bool,
    /// How full the tables are.
    pub tables: Vec<TableEntry>,
    /// What became of connections since the start.
    pub connections: Connections,
    /// Packets refused because other processors won every swap.
    pub contended: u64,
    /// Drop events that nobody could be told of.
    pub events_lost: u64,
}

/// Connections since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Connections {
    /// Those that came when a limit was reached already.
    pub surplus: u64,
    /// How many of them were closed.
    pub destroyed: u64,
    /// Those that were closed because they were idle.
    pub idle: u64,
    /// By how much counts had to be mended.
    pub drift: u64,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Connections that it holds.
    pub connections: u64,
    /// Every counter that could have counted, those at zero too.
    pub counters: Vec<RuleCounter>,
}

/// A set that comes from a file.
#[derive(Debug)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its file as it is now is in force.
    pub in_force: bool,
    /// How often the file could not be taken since the daemon's start.
    pub read_errors: u64,
}
