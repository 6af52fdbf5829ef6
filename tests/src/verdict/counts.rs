//! All counters at one moment, and what was added between two.

use std::{
    collections::BTreeMap,
    fmt,
    ops::{AddAssign, Sub},
};

use filter_common::{Outcome, Reason, RuleId, Scope, tables::Counter};

/// What a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Packets of an interface, by its number.
    Interface {
        /// Number of the interface.
        number: u32,
        /// Why they passed or dropped.
        reason: Reason,
        /// They were let through, and this is why they would have dropped.
        monitored: bool,
    },
    /// Packets of a rule, by its number.
    Rule {
        /// Number of the rule.
        number: u32,
        /// Why they passed or dropped.
        reason: Reason,
        /// The scope of the limit that refused them.
        scope: Option<Scope>,
        /// They were let through, and this is why they would have dropped.
        monitored: bool,
    },
    /// Packets that lost every swap of their bucket.
    Contended,
}

/// Counters that are not zero.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Place, Counter>);

impl Counts {
    /// What `packets` packets with one outcome on one interface count, `bytes`
    /// altogether. By the contract: the interface's total of the reason; where
    /// it was let through, also that of the reason for which it would have
    /// dropped; and the same for the rule, with the scope.
    #[must_use]
    pub fn of(outcome: &Outcome, interface: u32, packets: u64, bytes: u64) -> Self {
        let Outcome { reason, monitored, rule, scope } = *outcome;
        let mut counts = Self::default();
        let mut add = |place| counts.add(place, Counter { packets, bytes });
        add(Place::Interface { number: interface, reason, monitored: false });
        if let Some(reason) = monitored {
            add(Place::Interface { number: interface, reason, monitored: true });
        }
        if let Some(number) = rule.map(RuleId::get) {
            match monitored {
                None => add(Place::Rule { number, reason, scope, monitored: false }),
                Some(would) => {
                    add(Place::Rule { number, reason, scope: None, monitored: false });
                    add(Place::Rule { number, reason: would, scope, monitored: true });
                }
            }
        }
        counts
    }

    /// Adds to one counter.
    pub fn add(&mut self, place: Place, counter: Counter) {
        if counter != Counter::default() {
            let sum = self.0.entry(place).or_default();
            sum.packets += counter.packets;
            sum.bytes += counter.bytes;
        }
    }

    /// Packets that one counter counted.
    #[must_use]
    pub fn packets(&self, place: Place) -> u64 {
        self.0.get(&place).map_or(0, |counter| counter.packets)
    }

    /// Packets of an interface with that reason, monitored ones apart.
    #[must_use]
    pub fn of_interface(&self, number: u32, reason: Reason) -> u64 {
        self.packets(Place::Interface { number, reason, monitored: false })
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (place, counter) in other.0 {
            self.add(place, counter);
        }
    }
}

/// What was added since `before`. A counter that went back shows as a huge one.
impl Sub for &Counts {
    type Output = Counts;

    fn sub(self, before: Self) -> Counts {
        let mut difference = Counts::default();
        let places =
            self.0.keys().chain(before.0.keys().filter(|place| !self.0.contains_key(place)));
        for place in places {
            let now = self.0.get(place).copied().unwrap_or_default();
            let then = before.0.get(place).copied().unwrap_or_default();
            let counter = Counter {
                packets: now.packets.wrapping_sub(then.packets),
                bytes: now.bytes.wrapping_sub(then.bytes),
            };
            difference.add(*place, counter);
        }
        difference
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (place, Counter { packets, bytes }) in &self.0 {
            map.entry(&format_args!("{place}"), &format_args!("{packets} packets, {bytes} bytes"));
        }
        map.finish()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |monitored: bool| if monitored { " (monitored)" } else { "" };
        match self {
            Self::Interface { number, reason, monitored } => {
                write!(f, "interface {number} {}{}", reason.name(), mark(*monitored))
            }
            Self::Rule { number, reason, scope, monitored } => {
                let scope = scope.map_or("", Scope::name);
                write!(f, "rule {number} {} {scope}{}", reason.name(), mark(*monitored))
            }
            Self::Contended => f.write_str("contended"),
        }
    }
}
