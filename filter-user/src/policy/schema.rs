//! The keys of each table of the policy file.

use super::error::{ErrorKind, KeyHint};
use super::suggest;

/// A table with fixed keys.
pub(super) struct Schema {
    /// Where its keys are written, as a message names it.
    pub place: &'static str,
    /// What this version reads.
    pub keys: &'static [&'static str],
    /// What the policy format has, and this version does not.
    pub later: &'static [&'static str],
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
    ],
    later: &["metrics", "service"],
};
pub(super) const SOURCES: Schema =
    Schema { place: "in `[sources]`", keys: &["trusted", "denied"], later: &[] };
pub(super) const SET: Schema = Schema {
    place: "in a set, as in `peers = { file = \"peers.txt\" }`",
    keys: &["file"],
    later: &[],
};
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
    later: &[],
};
pub(super) const LIMITS: Schema = Schema {
    place: "in `[rule.per_source]`, `[rule.per_network]` or `[rule.total]`",
    keys: &["connections", "new_connections", "packets", "bytes"],
    later: &[],
};
pub(super) const RATE: Schema = Schema {
    place: "in a rate, as in `{ rate = \"20/s\", burst = 40 }`",
    keys: &["rate", "burst"],
    later: &[],
};
pub(super) const ICMP: Schema =
    Schema { place: "in `[icmp]`", keys: &["echo", "errors"], later: &[] };
pub(super) const PROTOCOLS: Schema =
    Schema { place: "in `[protocols]`", keys: &["allow"], later: &[] };
pub(super) const PREFIXES: Schema = Schema {
    place: "in `[prefixes]`",
    keys: &["source_ipv4", "source_ipv6", "network_ipv4", "network_ipv6"],
    later: &[],
};
pub(super) const LOG: Schema =
    Schema { place: "in `[log]`", keys: &["drops", "flows"], later: &[] };
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
    later: &[],
};

const ALL: [&Schema; 11] =
    [&TOP, &SOURCES, &SET, &RULE, &LIMITS, &RATE, &ICMP, &PROTOCOLS, &PREFIXES, &LOG, &TABLES];

impl Schema {
    /// What is wrong with `key` in this table, if anything is.
    pub fn judge(&self, key: &str) -> Option<ErrorKind> {
        if self.keys.contains(&key) {
            return None;
        }
        if self.later.contains(&key) {
            return Some(ErrorKind::NotInThisVersion { key: key.to_owned() });
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
