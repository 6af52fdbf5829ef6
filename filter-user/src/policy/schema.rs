//! The keys of each table of the policy file.

use super::error::{ErrorKind, KeyHint};
use super::suggest;

/// A table with fixed keys.
pub(super) struct Schema {
    /// Where its keys are written, as a message names it.
    pub place: &'static str,
    /// What this version reads.
    pub keys: &'static [&'static str],
}

pub(super) const TOP: Schema = Schema {
    place: "at the top of the file, before the first `[table]`",
    keys: &[
        "interfaces",
        "mode",
        "attach",
        "sources",
        "sets",
        "rule",
        "icmp",
        "protocols",
        "prefixes",
        "log",
        "tables",
        "service",
        "metrics",
    ],
};
pub(super) const SOURCES: Schema = Schema { place: "in `[sources]`", keys: &["trusted", "denied"] };
pub(super) const SET: Schema =
    Schema { place: "in a set, as in `peers = { file = \"peers.txt\" }`", keys: &["file"] };
pub(super) const RULE: Schema = Schema {
    place: "in a `[[rule]]`",
    keys: &[
        "name",
        "ports",
        "from",
        "interfaces",
        "mode",
        "idle_timeout",
        "per_source",
        "per_network",
        "total",
    ],
};
pub(super) const LIMITS: Schema = Schema {
    place: "in `[rule.per_source]`, `[rule.per_network]` or `[rule.total]`",
    keys: &["connections", "new_connections", "packets", "bytes"],
};
pub(super) const RATE: Schema = Schema {
    place: "in a rate, as in `{ rate = \"20/s\", burst = 40 }`",
    keys: &["rate", "burst"],
};
pub(super) const ICMP: Schema = Schema { place: "in `[icmp]`", keys: &["echo", "errors"] };
pub(super) const PROTOCOLS: Schema = Schema { place: "in `[protocols]`", keys: &["allow"] };
pub(super) const PREFIXES: Schema = Schema {
    place: "in `[prefixes]`",
    keys: &["source_ipv4", "source_ipv6", "network_ipv4", "network_ipv6"],
};
pub(super) const LOG: Schema = Schema { place: "in `[log]`", keys: &["drops", "flows"] };
pub(super) const TABLES: Schema = Schema {
    place: "in `[tables]`",
    keys: &[
        "bans",
        "sources",
        "known",
        "slots",
        "flow_log",
        "flows",
        "answered",
        "half_open",
        "asked",
        "fragments",
    ],
};

pub(super) const SERVICE: Schema = Schema { place: "in `[service]`", keys: &["on_stop"] };

pub(super) const METRICS: Schema = Schema { place: "in `[metrics]`", keys: &["listen"] };

const ALL: [&Schema; 13] = [
    &TOP, &SOURCES, &SET, &RULE, &LIMITS, &RATE, &ICMP, &PROTOCOLS, &PREFIXES, &LOG, &TABLES,
    &SERVICE, &METRICS,
];

impl Schema {
    /// What is wrong with `key` in this table, if anything is.
    pub fn judge(&self, key: &str) -> Option<ErrorKind> {
        if self.keys.contains(&key) {
            return None;
        }
        let hint = if let Some(other) = ALL.iter().find(|schema| schema.keys.contains(&key)) {
            // Most often a key of the top that was written below a `[table]` header.
            KeyHint::Belongs(other.place)
        } else if let Some(nearest) = suggest::nearest(key, self.keys.iter().copied()) {
            KeyHint::Nearest(nearest)
        } else {
            KeyHint::Valid(self.keys)
        };
        Some(ErrorKind::UnknownKey { key: suggest::shown(key), hint })
    }
}
