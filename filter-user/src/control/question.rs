//! What the program says of packets that it is asked about.

use std::net::IpAddr;

use filter_common::Outcome;
use serde::{Deserialize, Serialize};

/// What would become of a packet, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The packet, with what was not said of it.
    pub packet: String,
    /// Where it would come in; `None`: on an interface that no rule names.
    pub interface: Option<String>,
    /// The kernel program's outcome.
    #[serde(flatten)]
    pub outcome: OutcomeEntry,
    /// Sentences.
    pub why: Vec<String>,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutcomeEntry {
    /// `pass` or `drop`; `None`: it was not judged.
    pub verdict: Option<String>,
    /// Why; `not_judged` where there is no verdict.
    pub reason: String,
    /// Why it would have been dropped, where monitor mode let it through.
    pub monitored: Option<String>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The scope of the limit that refused it.
    pub scope: Option<String>,
}

/// The reason of what has no verdict.
pub const NOT_JUDGED: &str = "not_judged";

impl OutcomeEntry {
    /// With names for what the program knows by number.
    pub fn new(outcome: &Outcome, rule: impl FnOnce(u32) -> String) -> Self {
        Self {
            verdict: Some(outcome.verdict().name().to_owned()),
            reason: outcome.reason.name().to_owned(),
            monitored: outcome.monitored.map(|reason| reason.name().to_owned()),
            rule: outcome.rule.map(|number| rule(number.get())),
            scope: outcome.scope.map(|scope| scope.name().to_owned()),
        }
    }

    /// Of a record that is not judged.
    #[must_use]
    pub fn not_judged() -> Self {
        Self {
            verdict: None,
            reason: NOT_JUDGED.to_owned(),
            monitored: None,
            rule: None,
            scope: None,
        }
    }
}

/// How a capture is to be judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayOptions {
    /// This host's addresses in the capture.
    #[serde(default)]
    pub local: Vec<IpAddr>,
    /// Where all of it comes in; `None`: the first that is guarded.
    #[serde(default)]
    pub interface: Option<String>,
}

/// The daemon is ready to judge records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayBegun {
    /// Where all of it comes in.
    pub interface: Option<String>,
}

/// Some records of a capture, in their order; without any, it is through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRecords {
    /// The records.
    pub records: Vec<ReplayRecord>,
}

/// A record: nanoseconds by the capture's clock, whether it begins with the IP
/// header, its length on the wire, and what was captured of it in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRecord(pub Option<u64>, pub bool, pub u32, pub String);

/// What became of some records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Each outcome that there was, once.
    pub outcomes: Vec<ReplayOutcome>,
    /// Which of them each record had, from 0.
    pub rows: Vec<u32>,
}

/// An outcome of records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplayOutcome {
    /// What it is.
    #[serde(flatten)]
    pub outcome: OutcomeEntry,
    /// Why there is no verdict: `sent` by this host, `truncated` by the capture,
    /// too `short`, or too `long`.
    pub because: Option<String>,
}
