//! Where outcomes are counted.

use super::{Outcome, Reason};
use crate::Scope;

/// Counters of one interface: by reason, then by the reason for which
/// monitor mode let a packet through.
pub const PER_INTERFACE: u32 = 64;
/// The place, among an interface's, of packets refused because other
/// CPUs won every swap.
pub const CONTENDED: u32 = PER_INTERFACE - 1;
/// The place of sources whose debt was forgotten to make room for others.
pub const EVICTED: u32 = PER_INTERFACE - 2;
/// The place of fragmented datagrams that found no room in their table.
pub const FRAGMENTS_FULL: u32 = PER_INTERFACE - 3;
/// The place of sources that took a place in their table that was nobody's.
pub const TAKEN: u32 = PER_INTERFACE - 4;

/// Counters of one rule.
pub const PER_RULE: u32 = 32;
/// Rules whose counters stand in one chunk.
pub const RULES_PER_CHUNK: u32 = 256;
/// Counters in one chunk.
pub const CHUNK: u32 = PER_RULE * RULES_PER_CHUNK;
/// Chunks there is room for.
pub const CHUNKS: u32 = 256;

/// Added to a counter's place for what monitor mode let through.
const MONITORED: u32 = 16;
const _: () = assert!(Reason::ALL.len() <= PER_INTERFACE as usize / 2 - 4);

/// The place of a reason among an interface's counters.
#[inline(always)]
#[must_use]
pub const fn of_interface(reason: Reason, monitored: bool) -> u32 {
    reason as u32 + if monitored { PER_INTERFACE / 2 } else { 0 }
}

/// The place of a reason and scope among a rule's counters; `None` for a
/// reason to which no rule is party.
#[inline(always)]
#[must_use]
pub const fn of_rule(reason: Reason, scope: Option<Scope>, monitored: bool) -> Option<u32> {
    let limit = match reason {
        Reason::Rule => return Some(0),
        Reason::Monitor => return Some(1),
        Reason::OutOfState => return Some(2 + if monitored { MONITORED } else { 0 }),
        Reason::ConnectionRate => 0,
        Reason::PacketRate => 1,
        Reason::ByteRate => 2,
        Reason::ConnectionLimit => 3,
        _ => return None,
    };
    match scope {
        Some(scope) => Some(4 + limit * 3 + scope as u32 + if monitored { MONITORED } else { 0 }),
        None => None,
    }
}

/// The places at which an outcome counts for its rule: that of its
/// verdict and, where monitor mode let it through, that of the reason.
#[inline(always)]
#[must_use]
pub const fn of_outcome(outcome: &Outcome) -> (Option<u32>, Option<u32>) {
    match outcome.monitored {
        None => (of_rule(outcome.reason, outcome.scope, false), None),
        Some(reason) => {
            (of_rule(outcome.reason, None, false), of_rule(reason, outcome.scope, true))
        }
    }
}
