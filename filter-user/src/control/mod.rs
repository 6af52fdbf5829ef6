//! The control protocol: what the command line and the daemon say to each
//! other over the control socket. `docs/control-protocol.md` describes it.
//!
//! One line of JSON is one [`Request`], one line of JSON is its [`Response`].

mod client;
mod event;
mod problem;
mod question;
mod report;
mod request;
mod response;

use std::time::Duration;

pub use self::client::{Client, ClientError};
pub use self::event::{DropEvent, Log};
pub use self::problem::{Note, Problem};
pub use self::question::{
    Explained, NOT_JUDGED, OutcomeEntry, ReplayBegun, ReplayOptions, ReplayOutcome, ReplayRecord,
    ReplayRecords, Replayed,
};
pub use self::report::{
    Applied, BanEntry, BanFileEntry, BanPage, Banned, ConnectionsEntry, CounterEntry, Detached,
    Difference, EventsEntry, FlowEntry, FlowLogEntry, Flows, InterfaceEntry, LimitEntry, Looked,
    MetricsEntry, MonitoredEntry, PolicyEntry, RuleEntry, RuleMonitoredEntry, Rules, SetEntry,
    SourceReport, Sources, Status, TableEntry, TotalEntry, Unbanned,
};
pub use self::request::{Command, PolicyText, Request};
pub use self::response::{Failure, FailureCode, Response};

/// The version of the protocol, and of every JSON object that is printed.
pub const VERSION: u32 = 1;

/// The longest request or response, in bytes: the largest policy file, and a
/// page of bans, fit with room to spare.
pub const LONGEST_LINE: usize = 64 << 20;

/// How long a connection may be silent before the daemon closes it.
pub const IDLE: Duration = Duration::from_secs(30);

/// Where the daemon listens if nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/nodewall/control.sock";

/// The policy that the daemon loads if nothing else is said.
pub const DEFAULT_CONFIG: &str = "/etc/nodewall/nodewall.toml";
