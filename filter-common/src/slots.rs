//! Connections that are held at the same time: what each is charged for.
//!
//! The kernel's word that a connection is established adds, its word that it is
//! closed takes away; what packets say does neither. A source holds a slot until
//! its connection is closed altogether, or a peer that sends FIN alone would
//! hold sockets for nothing.

use crate::{
    Address, Listed, Scope, State,
    limits::prefix,
    read::Flow,
    tables::{INTERFACES, Slot, SourceKey, slot},
    verdict::{self, listed},
};

/// Whether host and peer are one: such connections hold no slot.
#[inline(always)]
#[must_use]
pub fn is_loopback(local: &Address, remote: &Address) -> bool {
    const IPV6: [u32; 4] = [0, 0, 0, 1_u32.to_be()];
    let ipv4 = remote.is_ipv4() && remote.ipv4() >> 24 == 127;
    ipv4 || remote.0 == IPV6 || remote.0 == local.0
}

/// What a peer's connection is charged for, before it is known under which rule.
#[inline(always)]
pub fn unruled<S: State>(state: &S, peer: &Address, since: u64) -> Slot {
    let source = prefix(state, Scope::PerSource as usize, peer);
    let network = prefix(state, Scope::PerNetwork as usize, peer);
    Slot { since, rule: 0, flags: 0, source, network }
}

/// The key of the connections of containers, from that of this host's own.
#[inline(always)]
#[must_use]
pub const fn foreign(key: &SourceKey) -> SourceKey {
    SourceKey { scope: key.scope | slot::FOREIGN, ..*key }
}

/// And back: the key of this host's own.
#[inline(always)]
#[must_use]
pub const fn own(key: &SourceKey) -> SourceKey {
    SourceKey { scope: key.scope & !slot::FOREIGN, ..*key }
}

/// Whether a key is one of containers' connections.
#[must_use]
pub const fn is_foreign(key: &SourceKey) -> bool {
    key.scope & slot::FOREIGN != 0
}

/// The rule that a peer's connection is charged to, by its number; 0: none. The
/// flow is the peer's: its destination is this host's port.
///
/// A socket does not tell which interface its peer is behind: it is the rule of
/// the first group of interfaces in which one admits it.
#[inline(always)]
pub fn rule<S: State>(state: &S, flow: &Flow) -> u32 {
    if let Listed::Trusted = listed(state, &flow.source) {
        return 0;
    }
    // As often for every policy: the verifier of Linux 6.1 follows a loop to its
    // end only where it knows the end.
    for group in 0..INTERFACES {
        let number = state.rule_in_group(group, &flow.source, flow.destination_port);
        if number != 0 {
            return number;
        }
    }
    0
}

/// The number of the rule that admits a source to a TCP port, by the port table
/// of one group of interfaces; 0: none does, or there is no such group.
#[inline(always)]
pub fn rule_in_group<S: State>(state: &S, group: u32, source: &Address, port: u16) -> u32 {
    if group >= state.generation().group_count {
        return 0;
    }
    verdict::rule_in_group(state, group, source, port, false).number()
}

impl Slot {
    /// The key under which it counts in a scope. Connections of containers are
    /// counted apart: no list of this host's sockets has them.
    #[inline(always)]
    #[must_use]
    pub const fn key(&self, scope: Scope) -> SourceKey {
        let source = match scope {
            Scope::PerSource => self.source,
            Scope::PerNetwork => self.network,
            Scope::Total => Address([0; 4]),
        };
        let place = self.flags & slot::FOREIGN;
        SourceKey { rule: self.rule, scope: scope as u32 | place, source }
    }

    /// Whether it counts in a scope.
    #[inline(always)]
    #[must_use]
    pub const fn counts_in(&self, scope: Scope) -> bool {
        self.flags >> scope as u32 & 1 == 1
    }
}
