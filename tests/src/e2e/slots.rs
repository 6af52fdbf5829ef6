//! A rule `p2p` whose connections are limited, and how many it holds.

use super::{Guarded, eventually, rule_for};

/// A policy by which each source may hold so many connections at port 8080.
#[must_use]
pub fn at_most(connections: u32) -> String {
    let limit = format!("[rule.per_source]\nconnections = {connections}\n");
    format!("interfaces = [\"nw0\"]\n{}", rule_for("p2p", "tcp/8080", &limit))
}

/// How many connections the rule holds.
///
/// # Panics
/// If the daemon does not tell.
#[must_use]
pub fn held(guarded: &Guarded) -> u64 {
    guarded.rules().rule("p2p")["connections"].as_u64().expect("a number")
}

/// Waits until it holds so many.
///
/// # Panics
/// If it does not come to that.
#[track_caller]
pub fn holds(guarded: &Guarded, count: u64) {
    eventually(&format!("{count} connections are held"), || held(guarded) == count);
}
