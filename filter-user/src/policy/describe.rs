//! Parts of a policy in the words of its file.

use std::{num::NonZeroU32, time::Duration};

use super::diff::{FEW, Listed};
use super::model::{Limits, Mode, PortRange, Rate, Rule, Source};
use super::protocols;
use super::rate::Unit;

/// A rule in one line: `tcp/22 from 10.8.0.0/24 on wg0, per_source.packets 20/s burst 40`.
pub(super) fn rule(rule: &Rule) -> String {
    let Rule { ports: open, from, interfaces: bound, mode, idle_timeout, .. } = rule;
    let mut out = format!("{} from {}", ports(open), source(from));
    if bound.is_some() {
        out.push_str(" on ");
        out.push_str(&interfaces(bound.as_deref(), ""));
    }
    if *mode == Mode::Monitor {
        out.push_str(", monitor");
    }
    if idle_timeout.is_some() {
        out.push_str(&format!(", idle_timeout {}", idle(*idle_timeout)));
    }
    for (key, most) in connections(rule) {
        if let Some(most) = most {
            out.push_str(&format!(", {key} {most}"));
        }
    }
    for limit in limits(rule) {
        if let Some(rate) = limit.rate {
            out.push_str(&format!(", {} {}", limit.key, rate_text(rate, limit.unit)));
        }
    }
    out
}

pub(super) fn ports(ports: &[PortRange]) -> String {
    joined(ports.iter().map(ToString::to_string))
}

pub(crate) fn source(source: &Source) -> String {
    match source {
        Source::Anywhere => "everywhere".to_owned(),
        Source::Prefixes(list) if list.is_empty() => "nowhere".to_owned(),
        Source::Prefixes(list) => {
            Listed { count: list.len(), first: list.iter().take(FEW).copied().collect() }
                .to_string()
        }
    }
}

/// The names, or the words for a list that is not given.
pub(super) fn interfaces(list: Option<&[String]>, default: &str) -> String {
    list.map_or_else(|| default.to_owned(), |list| list.join(", "))
}

pub(super) fn protocols(list: &[u8]) -> String {
    if list.is_empty() {
        "none".to_owned()
    } else {
        joined(list.iter().map(|number| protocols::shown(*number)))
    }
}

/// How many connections may be held, by scope, with the keys of the file.
pub(super) fn connections(rule: &Rule) -> [(&'static str, Option<NonZeroU32>); 3] {
    let Rule { per_source, per_network, total, .. } = rule;
    [
        ("per_source.connections", per_source.connections),
        ("per_network.connections", per_network.connections),
        ("total.connections", total.connections),
    ]
}

/// `10m`, or `none`.
pub(super) fn idle(timeout: Option<Duration>) -> String {
    timeout.map_or_else(|| "none".to_owned(), |time| humantime::format_duration(time).to_string())
}

/// One limit with the key that it has in the file.
pub(super) struct NamedLimit {
    pub key: &'static str,
    pub unit: Unit,
    pub rate: Option<Rate>,
}

/// Every limit of a rule, set or not, always in the same order.
pub(super) fn limits(rule: &Rule) -> [NamedLimit; 9] {
    let Rule { per_source, per_network, total, .. } = rule;
    let [a, b, c] = limits_of(
        per_source,
        ["per_source.new_connections", "per_source.packets", "per_source.bytes"],
    );
    let [d, e, f] = limits_of(
        per_network,
        ["per_network.new_connections", "per_network.packets", "per_network.bytes"],
    );
    let [g, h, i] = limits_of(total, ["total.new_connections", "total.packets", "total.bytes"]);
    [a, b, c, d, e, f, g, h, i]
}

fn limits_of(limits: &Limits, keys: [&'static str; 3]) -> [NamedLimit; 3] {
    let Limits { connections: _, new_connections, packets, bytes } = *limits;
    let named = |index: usize, unit, rate| NamedLimit { key: keys[index], unit, rate };
    [
        named(0, Unit::Packets, new_connections),
        named(1, Unit::Packets, packets),
        named(2, Unit::Bytes, bytes),
    ]
}

/// `2000/s burst 4000`, or `50MB/s burst 100MB`.
pub(crate) fn rate_text(rate: Rate, unit: Unit) -> String {
    match unit {
        Unit::Packets => rate.to_string(),
        Unit::Bytes => {
            format!("{}/{} burst {}", bytes(rate.amount), rate.period, bytes(rate.burst))
        }
    }
}

fn bytes(number: u64) -> String {
    for (factor, name) in [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")] {
        if number >= factor && number.is_multiple_of(factor) {
            return format!("{}{name}", number / factor);
        }
    }
    format!("{number}B")
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
