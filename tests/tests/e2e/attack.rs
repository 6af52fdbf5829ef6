//! Attacks at full scale: what they must not reach, by the filter's counters,
//! by real sockets, and by what the host's own stack has counted.

use nodewall_tests::e2e::{Guarded, eventually};

mod answers;
mod blind;
mod names;
mod servers;
mod siege;
mod slots;

const NW0: &str = "interfaces = [\"nw0\"]\n";
/// Segments of one flood.
const FLOOD: u32 = 100_000;

/// How many connections the rule `p2p` holds.
fn held(guarded: &Guarded) -> u64 {
    guarded.rules().rule("p2p")["connections"].as_u64().expect("a number")
}

#[track_caller]
fn holds(guarded: &Guarded, count: u64) {
    eventually(&format!("{count} connections are held"), || held(guarded) == count);
}
