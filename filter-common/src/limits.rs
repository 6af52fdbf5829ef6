//! Holds sources and interfaces to their rates.

use crate::{
    Address, InterfaceLimit, Reason, Scope, State,
    rate::{Limit, Taken},
    state::{Buckets, Cell},
    tables::{ECHO, Limits, Rule, SourceKey, rule},
};

/// What a packet is charged for.
#[derive(Clone, Copy)]
pub enum Charge {
    /// A bare SYN: `new_connections` alone, so that SYNs spoofed in a peer's
    /// name cannot starve what it has established.
    Connection,
    /// Any other packet: `packets` and `bytes`.
    Packet {
        /// Frame bytes.
        length: u32,
        /// It belongs to a connection, so that its source is no forgery.
        proven: bool,
        /// It may complete a handshake.
        opens: bool,
    },
}

impl Charge {
    /// Whether a connection may come of it: `connections` is for these alone.
    #[inline(always)]
    const fn opens(&self) -> bool {
        matches!(self, Self::Connection | Self::Packet { opens: true, .. })
    }
}

/// What came of it.
pub struct Held {
    /// The limit that refuses the packet; [`Reason::Rule`]: none does.
    pub reason: Reason,
    /// The scope of that limit.
    pub scope: Scope,
}

/// A packet, the rule that admits it, and when it came.
pub struct Charged<'a> {
    /// The rule's number in this generation.
    pub number: u32,
    /// The rule.
    pub rule: &'a Rule,
    /// The packet's source.
    pub source: &'a Address,
    /// What it pays.
    pub charge: Charge,
    /// Ticks.
    pub now: u64,
}

/// Charges a packet to the buckets of all scopes of a rule. What is refused
/// has taken no token anywhere.
///
/// All scopes are looked at before one pays, from the narrow to the wide:
/// what a source or a network has used up costs the others nothing. Nothing is
/// written for a source that a wider scope refuses, so that a flood beyond the
/// total grows no table.
#[inline(always)]
pub(crate) fn charge<S: State>(
    state: &S,
    number: u32,
    rule: &Rule,
    source: &Address,
    charge: Charge,
) -> Held {
    let held = |reason, scope| Held { reason, scope: reported(scope) };
    let paying = rule::scopes(rule.flags, matches!(charge, Charge::Connection));
    let held_to = if charge.opens() { rule::slots(rule.flags) } else { 0 };
    let scopes = paying | held_to;
    if scopes == 0 {
        return held(Reason::Rule, 0);
    }
    let charged = Charged { number, rule, source, charge, now: state.now() };
    for scope in 0..rule::SCOPES {
        if scopes >> scope & 1 == 1 {
            let reason = state.refusal(&charged, scope);
            if reason != Reason::Rule {
                return held(reason, scope);
            }
        }
    }
    for scope in 0..rule::SCOPES {
        if paying >> scope & 1 == 1 {
            let reason = state.pay(&charged, scope);
            if reason != Reason::Rule {
                for paid in 0..scope {
                    if paying >> paid & 1 == 1 {
                        state.give_back(&charged, paid);
                    }
                }
                return held(reason, scope);
            }
        }
    }
    held(Reason::Rule, 0)
}

const PER_NETWORK: usize = Scope::PerNetwork as usize;
const TOTAL: usize = Scope::Total as usize;

/// The scope that a place among a rule's limits is told as.
#[inline(always)]
const fn reported(scope: usize) -> Scope {
    match scope {
        0 => Scope::PerSource,
        PER_NETWORK => Scope::PerNetwork,
        _ => Scope::Total,
    }
}

impl Rule {
    #[inline(always)]
    const fn at(&self, scope: usize) -> &Limits {
        &self.limits[scope & (rule::SCOPES - 1)]
    }
}

/// The buckets of a scope, if they have been made.
#[inline(always)]
fn find<S: State>(state: &S, rule: &Rule, scope: usize, source: &Address) -> Option<S::Buckets> {
    if scope >= TOTAL {
        return state.total_buckets(rule.id, scope != TOTAL);
    }
    state.find_buckets(&key(state, rule.id, scope, source))
}

/// The limit of a scope that refuses the packet, by what its buckets say;
/// [`Reason::Rule`]: none. Those that were not made yet are idle.
#[inline(always)]
pub fn refusal<S: State>(state: &S, charged: &Charged<'_>, scope: usize) -> Reason {
    let Charged { rule, source, charge, .. } = *charged;
    let most = rule.connections[scope & (rule::SCOPES - 1)];
    if most != 0 && charge.opens() {
        let key = key(state, rule.id, scope, source);
        if state.slots(&key) >= most as u64 {
            return Reason::ConnectionLimit;
        }
    }
    rate_refusal(state, charged, scope)
}

/// As [`refusal`], by rates alone.
#[inline(always)]
pub fn rate_refusal<S: State>(state: &S, charged: &Charged<'_>, scope: usize) -> Reason {
    let Charged { rule, source, charge, now, .. } = *charged;
    let limits = rule.at(scope);
    let Some(buckets) = find(state, rule, scope, source) else {
        // Idle ones refuse only what is larger than they are. Where that is left
        // for later, the reason depends on who was here before.
        return match charge {
            Charge::Packet { length, .. }
                if limits.bytes.is_set() && limits.bytes.cost(length) > limits.bytes.window =>
            {
                Reason::ByteRate
            }
            _ => Reason::Rule,
        };
    };
    let over = |limit: &Limit, bucket: S::Cell, units| {
        limit.is_set() && limit.conform(bucket.load(), now, limit.cost(units)).is_none()
    };
    let reason = match charge {
        Charge::Connection if over(&limits.new_connections, buckets.new_connections(), 1) => {
            Reason::ConnectionRate
        }
        Charge::Packet { .. } if over(&limits.packets, buckets.packets(), 1) => Reason::PacketRate,
        Charge::Packet { length, .. } if over(&limits.bytes, buckets.bytes(), length) => {
            Reason::ByteRate
        }
        _ => return Reason::Rule,
    };
    // A part of the total is kept for sources that have completed a handshake
    // of late, which no flood in random names has. Whoever finds the strangers'
    // part not used up takes of it, so that nobody is looked up until it is.
    if scope > TOTAL && state.is_known(&prefix(state, 0, source), now) {
        return Reason::Rule;
    }
    buckets.refuse();
    reason
}

/// Charges the packet to the buckets of one scope, or to none of them: then
/// with the limit that refuses it.
#[inline(always)]
pub fn pay<S: State>(state: &S, charged: &Charged<'_>, scope: usize) -> Reason {
    let Charged { rule, source, charge, now, .. } = *charged;
    let limits = rule.at(scope);
    let proven = matches!(charge, Charge::Packet { proven: true, .. });
    let mut found = find(state, rule, scope, source);
    if found.is_none() && scope < TOTAL {
        found = state.buckets(&key(state, rule.id, scope, source), now, proven);
    }
    let Some(buckets) = found else {
        state.contended();
        return match charge {
            Charge::Connection => Reason::ConnectionRate,
            Charge::Packet { .. } if limits.packets.is_set() => Reason::PacketRate,
            Charge::Packet { .. } => Reason::ByteRate,
        };
    };
    if proven {
        buckets.prove(now);
    }
    match charge {
        Charge::Connection => {
            let paid = take(state, &limits.new_connections, &buckets.new_connections(), now, 1);
            // A known source goes beyond the strangers' part.
            if !paid && scope <= TOTAL {
                return Reason::ConnectionRate;
            }
        }
        Charge::Packet { length, .. } => {
            let (packets, bytes) = (&limits.packets, &limits.bytes);
            if packets.is_set() && !take(state, packets, &buckets.packets(), now, 1) {
                return Reason::PacketRate;
            }
            if bytes.is_set() && !take(state, bytes, &buckets.bytes(), now, length) {
                // Another CPU took the bytes meanwhile: give the packet back.
                if packets.is_set() {
                    buckets.packets().subtract(packets.cost(1));
                }
                return Reason::ByteRate;
            }
        }
    }
    Reason::Rule
}

/// Gives back what [`pay`] took, because a wider scope refused.
#[inline(always)]
pub fn give_back<S: State>(state: &S, charged: &Charged<'_>, scope: usize) {
    let Charged { rule, source, charge, .. } = *charged;
    let limits = rule.at(scope);
    let Some(buckets) = find(state, rule, scope, source) else { return };
    let back = |limit: &Limit, bucket: S::Cell, units| {
        if limit.is_set() {
            bucket.subtract(limit.cost(units));
        }
    };
    match charge {
        Charge::Connection => back(&limits.new_connections, buckets.new_connections(), 1),
        Charge::Packet { length, .. } => {
            back(&limits.packets, buckets.packets(), 1);
            back(&limits.bytes, buckets.bytes(), length);
        }
    }
}

/// Charges an echo request to its source. Whether it is within the rate.
#[inline(always)]
pub(crate) fn echo<S: State>(state: &S, source: &Address) -> bool {
    let now = state.now();
    let key = key(state, ECHO, 0, source);
    let found = match state.find_buckets(&key) {
        Some(found) => Some(found),
        None => state.buckets(&key, now, false),
    };
    let Some(buckets) = found else {
        state.contended();
        return false;
    };
    take(state, &state.generation().echo, &buckets.packets(), now, 1)
}

/// Charges a packet to a bucket of its interface. Whether it is within the rate.
#[inline(always)]
pub(crate) fn interface<S: State>(state: &S, limit: InterfaceLimit) -> bool {
    let Some(bucket) = state.interface_bucket(limit) else {
        return false;
    };
    take(state, &state.generation().interface[limit as usize], &bucket, state.now(), 1)
}

#[inline(always)]
fn take<S: State>(state: &S, limit: &Limit, bucket: &S::Cell, now: u64, units: u32) -> bool {
    match limit.take(bucket, now, limit.cost(units)) {
        Taken::Paid => true,
        Taken::Refused => false,
        Taken::Contended => {
            state.contended();
            false
        }
    }
}

/// The key of the buckets of a scope: the source's prefix under the rule.
#[inline(always)]
pub(crate) fn key<S: State>(state: &S, rule: u32, scope: usize, source: &Address) -> SourceKey {
    if scope == TOTAL {
        return SourceKey { rule, scope: scope as u32, source: Address([0; 4]) };
    }
    SourceKey { rule, scope: scope as u32, source: prefix(state, scope, source) }
}

/// What of an address names its source or network.
#[inline(always)]
pub(crate) fn prefix<S: State>(state: &S, scope: usize, source: &Address) -> Address {
    let generation = state.generation();
    let masks = if scope == PER_NETWORK { &generation.network } else { &generation.source };
    source.masked(&Address(if source.is_ipv4() { masks.ipv4 } else { masks.ipv6 }))
}
