//! How near limits are: what the verdict would find, for people.

use std::collections::HashMap;

use filter_common::{
    Scope,
    table::Rates,
    tables::{SourceKey, rule::SCOPES},
};

use super::Owner;
use crate::{
    compile,
    control::LimitEntry,
    dataplane::{MapFault, monotonic},
    policy::{Limits, Rule},
};

/// The limits of a scope, in the order in which they are judged.
const NAMES: [&str; 4] = ["connections", "new_connections", "packets", "bytes"];

/// What is owed and held in one scope of one rule.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Owed {
    pub connections: u64,
    pub rates: Rates,
}

/// What one source, one network, or all of them have used up.
pub(super) type Usage = HashMap<SourceKey, Owed>;

/// How much of each limit of a scope is used up; `None` where there is none.
pub(super) fn used(limits: &Limits, owed: &Owed) -> [Option<u32>; NAMES.len()] {
    let now = monotonic().wrapping_mul(filter_common::rate::TICKS_PER_NS);
    let rates = compile::limits(limits);
    let of = |limit: &filter_common::rate::Limit, tat| limit.is_set().then(|| limit.used(tat, now));
    let connections = limits.connections.map(|most| {
        let percent = owed.connections.saturating_mul(100) / u64::from(most.get());
        u32::try_from(percent.min(100)).unwrap_or(100)
    });
    [
        connections,
        of(&rates.new_connections, owed.rates.new_connections),
        of(&rates.packets, owed.rates.packets),
        of(&rates.bytes, owed.rates.bytes),
    ]
}

/// As entries of a report.
pub(super) fn entries(scope: Scope, used: [Option<u32>; NAMES.len()]) -> Vec<LimitEntry> {
    let name = scope.name();
    NAMES
        .into_iter()
        .zip(used)
        .filter_map(|(limit, used)| {
            Some(LimitEntry { scope: name.to_owned(), limit: limit.to_owned(), used: used? })
        })
        .collect()
}

impl Owner {
    /// What everybody has used up.
    pub(super) fn usage(&self) -> Result<Usage, MapFault> {
        let mut usage = Usage::new();
        for (key, connections) in self.plane.slots_ref().held()? {
            usage.entry(key).or_default().connections = connections;
        }
        for entry in self.plane.source_entries() {
            let entry = entry?;
            usage.entry(entry.key).or_default().rates = entry.rates;
        }
        for rule in &self.in_force.loaded.policy.rules {
            if let Some(number) = self.rule_numbers.get(&rule.name) {
                let key = total_key(number);
                usage.entry(key).or_default().rates = self.plane.total(number)?;
            }
        }
        Ok(usage)
    }

    /// How near each limit of the rules is, by the rule's number: of many
    /// sources or networks, as near as it is to the nearest.
    pub(super) fn nearest(&self, usage: &Usage) -> HashMap<u32, Vec<LimitEntry>> {
        let rules: HashMap<u32, &Rule> = self
            .in_force
            .loaded
            .policy
            .rules
            .iter()
            .filter_map(|rule| Some((self.rule_numbers.get(&rule.name)?, rule)))
            .collect();
        let none = Owed::default();
        let mut nearest: HashMap<u32, [[Option<u32>; NAMES.len()]; SCOPES]> = rules
            .iter()
            .map(|(number, rule)| {
                let mut unused = [[None; NAMES.len()]; SCOPES];
                for scope in Scope::ALL {
                    unused[*scope as usize] = used(rule.limits(*scope), &none);
                }
                (*number, unused)
            })
            .collect();
        for (key, owed) in usage {
            let scope = Scope::ALL.iter().find(|scope| **scope as u32 == key.scope);
            let (Some(scope), Some(rule)) = (scope, rules.get(&key.rule)) else { continue };
            let Some(most) = nearest.get_mut(&key.rule) else { continue };
            for (most, used) in
                most[*scope as usize].iter_mut().zip(used(rule.limits(*scope), owed))
            {
                *most = (*most).max(used);
            }
        }
        let told = |by_scope: [[Option<u32>; NAMES.len()]; SCOPES]| {
            Scope::ALL.iter().flat_map(|scope| entries(*scope, by_scope[*scope as usize])).collect()
        };
        nearest.into_iter().map(|(number, by_scope)| (number, told(by_scope))).collect()
    }
}

/// The key of what all sources of a rule share.
pub(super) fn total_key(rule: u32) -> SourceKey {
    let source = filter_common::Address([0; 4]);
    SourceKey { rule, scope: Scope::Total as u32, source }
}
