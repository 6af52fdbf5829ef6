//! Turns a policy into the tables that the verdict reads.
//!
//! Pure: no kernel, no files. The data plane writes the tables into maps; the
//! model judges with them in user space.

mod filter;
mod lists;
mod ports;

pub use filter::Filters;
pub(crate) use lists::filter_places;
pub(crate) use ports::bits as prefix_bits;

use std::collections::HashMap;

use filter_common::{
    Address, InterfaceLimit,
    rate::Limit,
    tables::{
        self, Generation, INTERFACES, Leaf, Masks, View, ViewPrefix, counters, generation, rule,
    },
};
use thiserror::Error;

use crate::policy::{Limits, Mode, Period, Policy, Rate, Rule};

/// One generation of the policy.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// What the whole of it says.
    pub generation: Generation,
    /// By interface group: the words of its port table that are not 0.
    pub ports: Vec<Vec<(u32, u64)>>,
    /// By number; 0 stands for a closed port and is never read.
    pub views: Vec<View>,
    /// For which sources a view has prefixes.
    pub filters: Filters,
    /// Which rule each source prefix of a view chooses.
    pub prefixes: Vec<Prefix<ViewPrefix>>,
    /// By number; 0 stands for none and is never read.
    pub rules: Vec<tables::Rule>,
    /// The address lists.
    pub lists: Lists,
}

/// An entry of a longest-prefix-match table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix<K> {
    /// What must match, other bits cleared.
    pub key: K,
    /// How many bits of it must match.
    pub length: u32,
    /// What it stands for.
    pub value: u32,
}

/// The address lists of one generation, as `filter_common::tables::lists` says.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    /// The words of bitmap and filter that are not 0.
    pub words: Vec<(u32, u64)>,
    /// In the order of their /24s.
    pub leaves: Vec<Leaf>,
    /// IPv6 prefixes and their class.
    pub prefixes: Vec<Prefix<Address>>,
}

/// Why a valid policy cannot be put into tables.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CompileError {
    /// The counters have no place for another rule name.
    #[error(
        "there are counters for {0} names of rules, those included that were in force once: `nodewall detach` forgets them all"
    )]
    RuleNames(u32),
    /// Numbers of interfaces have run out.
    #[error(
        "{0} interfaces can be told apart, those included that were guarded once: `nodewall detach` forgets them all"
    )]
    Interfaces(u32),
    /// The ports fall into too many kinds.
    #[error(
        "the rules divide the ports into more than {0} kinds by who may use them: merge rules that overlap"
    )]
    Views(u32),
    /// The rules take too many prefixes.
    #[error(
        "the rules need more than {0} entries of port kind and source prefix: name fewer addresses in rules whose ports overlap"
    )]
    Prefixes(usize),
}

/// Gives every name a number for good, so that what is known by the number
/// stays with the name across policies.
#[derive(Debug, Clone)]
pub struct Numbers {
    by_name: HashMap<String, u32>,
    first: u32,
    next: u32,
    end: u32,
}

impl Numbers {
    /// For rules: the places of their counters and buckets.
    #[must_use]
    pub fn of_rules() -> Self {
        Self {
            by_name: HashMap::new(),
            first: 0,
            next: 0,
            end: counters::CHUNKS * counters::RULES_PER_CHUNK,
        }
    }

    /// For interfaces. Number 0 is any that has no name here.
    #[must_use]
    pub fn of_interfaces() -> Self {
        Self { by_name: HashMap::new(), first: 1, next: 1, end: INTERFACES }
    }

    /// With names that have numbers from earlier.
    #[must_use]
    pub fn with(mut self, known: impl Iterator<Item = (String, u32)>) -> Self {
        for (name, number) in known {
            self.next = self.next.max(number.saturating_add(1));
            self.by_name.insert(name, number);
        }
        self
    }

    /// The number of a name, a new one if it is new. `None` when there are no more.
    pub fn get_or_add(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.by_name.get(name) {
            return Some(*number);
        }
        let number = self.next;
        if number >= self.end {
            return None;
        }
        self.next += 1;
        self.by_name.insert(name.to_owned(), number);
        Some(number)
    }

    /// The number of a name that has one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The name that has a number.
    #[must_use]
    pub fn name_of(&self, number: u32) -> String {
        let found = self.iter().find(|(_, other)| *other == number);
        found.map_or_else(|| unnamed(number), |(name, _)| name.to_owned())
    }

    /// All names and their numbers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.by_name.iter().map(|(name, number)| (name.as_str(), *number))
    }

    /// How many names there are numbers for.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.end - self.first
    }

    /// How many names have numbers.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.next - self.first
    }
}

/// What a number without a name is called.
#[must_use]
pub fn unnamed(number: u32) -> String {
    format!("number {number}")
}

/// Rates that essential traffic has on each interface: the contract's for
/// DHCP; for group membership ten times what a busy segment's querier asks.
const DHCP: Rate = Rate { amount: 100, period: Period::Second, burst: 100 };
const GROUPS: Rate = Rate { amount: 100, period: Period::Second, burst: 200 };

/// Compiles a policy. New names are given numbers in `rules` and `interfaces`.
///
/// # Errors
///
/// When one of the tables' fixed numbers is exceeded.
pub fn compile(
    policy: &Policy,
    rules: &mut Numbers,
    interfaces: &mut Numbers,
) -> Result<Tables, CompileError> {
    let mut tables = Tables {
        generation: generation(policy),
        rules: vec![tables::Rule::default()],
        lists: lists::compile(&policy.trusted, &policy.denied),
        ..Tables::default()
    };
    for rule in &policy.rules {
        let id = rules.get_or_add(&rule.name).ok_or(CompileError::RuleNames(rules.count()))?;
        tables.rules.push(self::rule(rule, id));
    }
    ports::compile(&policy.rules, interfaces, &mut tables)?;
    let has = |v4: bool| {
        policy.trusted.iter().chain(&policy.denied).any(|net| net.addr().is_ipv4() == v4)
    };
    if has(true) {
        tables.generation.flags |= generation::LISTS_IPV4;
    }
    if has(false) {
        tables.generation.flags |= generation::LISTS_IPV6;
    }
    Ok(tables)
}

fn generation(policy: &Policy) -> Generation {
    let mut protocols = [0_u64; 4];
    for number in &policy.protocols {
        protocols[usize::from(*number) / 64] |= 1 << (number % 64);
    }
    let mut interface = [Limit::default(); 3];
    interface[InterfaceLimit::Errors as usize] = limit(policy.icmp.errors);
    interface[InterfaceLimit::Dhcp as usize] = limit(Some(DHCP));
    interface[InterfaceLimit::Groups as usize] = limit(Some(GROUPS));
    Generation {
        flags: if policy.mode == Mode::Monitor { generation::MONITOR } else { 0 },
        protocols,
        source: masks(policy.prefixes.source_ipv4, policy.prefixes.source_ipv6),
        network: masks(policy.prefixes.network_ipv4, policy.prefixes.network_ipv6),
        echo: limit(policy.icmp.echo),
        interface,
        ..Generation::default()
    }
}

fn masks(ipv4: u8, ipv6: u8) -> Masks {
    Masks { ipv4: Address::mask(96 + ipv4).0, ipv6: Address::mask(ipv6).0 }
}

/// A rule as the verdict reads it.
fn rule(rule: &Rule, id: u32) -> tables::Rule {
    let scopes = [&rule.per_source, &rule.per_network, &rule.total];
    let mut flags = 0;
    if rule.mode == Mode::Monitor {
        flags |= rule::MONITOR;
    }
    let [per_source, per_network, total] = scopes.map(limits);
    // All of the burst, which whoever comes first may have, but three quarters
    // of the rate.
    let strangers = limit_of(rule.total.new_connections, |amount, period, burst| {
        match (amount.checked_mul(3), period.checked_mul(4)) {
            (Some(amount), Some(period)) => Limit::of_packets(amount, period, burst),
            _ => Limit::of_packets(amount, period, burst),
        }
    });
    let strangers = tables::Limits { new_connections: strangers, ..tables::Limits::default() };
    let limits = [per_source, per_network, total, strangers];
    let mut connections = [0; rule::SCOPES];
    for (place, scope) in scopes.into_iter().enumerate() {
        if let Some(most) = scope.connections {
            connections[place] = most.get();
            flags |= 1 << place << rule::SLOTS_SHIFT;
        }
    }
    for (place, limits) in limits.iter().enumerate() {
        if limits.new_connections.is_set() {
            flags |= 1 << place << rule::CONNECTIONS_SHIFT;
        }
        if limits.packets.is_set() || limits.bytes.is_set() {
            flags |= 1 << place << rule::PACKETS_SHIFT;
        }
    }
    tables::Rule { id, flags, limits, connections }
}

/// The rates of one scope.
pub(crate) fn limits(limits: &Limits) -> tables::Limits {
    tables::Limits {
        new_connections: limit(limits.new_connections),
        packets: limit(limits.packets),
        bytes: limit_of(limits.bytes, Limit::new),
    }
}

/// The limit of a rate of packets or connections.
fn limit(rate: Option<Rate>) -> Limit {
    limit_of(rate, Limit::of_packets)
}

/// A rate that passed the policy's checks always has a limit.
fn limit_of(rate: Option<Rate>, make: fn(u64, u64, u64) -> Option<Limit>) -> Limit {
    rate.and_then(|rate| make(rate.amount, rate.period.seconds() * 1_000_000_000, rate.burst))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_run_out() {
        let mut numbers = Numbers::of_interfaces();
        assert_eq!(numbers.get_or_add("eth0"), Some(1));
        assert_eq!(numbers.get_or_add("eth1"), Some(2));
        assert_eq!(numbers.get_or_add("eth0"), Some(1));
        assert_eq!(numbers.get("wg0"), None);
        for n in 3..INTERFACES {
            assert_eq!(numbers.get_or_add(&format!("x{n}")), Some(n));
        }
        assert_eq!(numbers.get_or_add("one-too-many"), None);
        assert_eq!(numbers.get_or_add("eth1"), Some(2));
        assert_eq!(numbers.count(), INTERFACES - 1);
    }

    #[test]
    fn every_rate_the_policy_accepts_has_a_limit() {
        for period in [Period::Second, Period::Minute, Period::Hour] {
            for amount in [1, 7, 1000, 50_000_000, 10_000_000_000, u64::MAX] {
                // The largest burst that the policy's reader accepts, and a small one.
                let year = 31_536_000 / period.seconds();
                for burst in [amount.min(8_000), amount.saturating_mul(year)] {
                    let rate = Rate { amount, period, burst };
                    assert!(limit(Some(rate)).is_set(), "{rate}");
                    assert!(limit_of(Some(rate), Limit::new).is_set(), "{rate}");
                }
            }
        }
    }
}
