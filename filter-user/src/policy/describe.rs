//! Parts of a policy in the words of its file.

use super::diff::{FEW, Listed};
use super::model::{Limits, Mode, PortRange, Rate, Rule, Source};
use super::protocols;
use super::rate::Unit;

/// A rule in one line: `tcp/22 from 10.8.0.0/24 on wg0, per_source.packets 20/s burst 40`.
pub(super) fn rule(rule: &Rule) -> String {
    let Rule { name: _, ports: open, from, interfaces: bound, mode, per_source, line: _ } = rule;
    let mut out = format!("{} from {}", ports(open), source(from));
    if bound.is_some() {
        out.push_str(" on ");
        out.push_str(&interfaces(bound.as_deref(), ""));
    }
    if *mode == Mode::Monitor {
        out.push_str(", monitor");
    }
    for limit in limits(per_source) {
        if let Some(rate) = limit.rate {
            out.push_str(&format!(", {} {}", limit.key, rate_text(rate, limit.unit)));
        }
    }
    out
}

pub(super) fn ports(ports: &[PortRange]) -> String {
    joined(ports.iter().map(ToString::to_string))
}

pub(super) fn source(source: &Source) -> String {
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

/// One limit with the key that it has in the file.
pub(super) struct NamedLimit {
    pub key: &'static str,
    pub unit: Unit,
    pub rate: Option<Rate>,
}

/// Every limit of `per_source`, set or not, always in the same order.
pub(super) fn limits(limits: &Limits) -> [NamedLimit; 3] {
    let Limits { new_connections, packets, bytes } = *limits;
    [
        NamedLimit {
            key: "per_source.new_connections",
            unit: Unit::Packets,
            rate: new_connections,
        },
        NamedLimit { key: "per_source.packets", unit: Unit::Packets, rate: packets },
        NamedLimit { key: "per_source.bytes", unit: Unit::Bytes, rate: bytes },
    ]
}

/// `2000/s burst 4000`, or `50MB/s burst 100MB`.
pub(super) fn rate_text(rate: Rate, unit: Unit) -> String {
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
