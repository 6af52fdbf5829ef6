//! What is left after a case, as far as it can matter to a packet that comes next.

use std::{collections::BTreeMap, net::IpAddr};

use filter_common::{
    FlowKey, FlowTable, HalfOpen, Sent,
    flow::ASKED_TIMEOUT,
    fragments::is_fresh,
    rate::{TICKS_PER_NS, ahead},
    tables::{ECHO, SourceKey},
};
use filter_user::model::Contents;

use super::text::table_name;
use crate::verdict::Counts;

/// The state after a case. What is idle or has run out is not in it: two filters
/// that keep the same in tables of different forms say the same here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// What was counted since the beginning.
    pub counts: Counts,
    /// The ticks that each bucket owes, by name: connections, packets, bytes.
    pub owed: BTreeMap<String, [u64; 3]>,
    /// Datagrams of which more is to come, by their place: tag, clock, verdict.
    pub datagrams: BTreeMap<u32, [u64; 3]>,
    /// The entries of flows, by table and key.
    pub flows: BTreeMap<String, u64>,
}

impl Left {
    /// What of the tables' words matters at `now`, in nanoseconds.
    pub(super) fn of(contents: Contents, counts: Counts, now: u64) -> Self {
        let ticks = now * TICKS_PER_NS;
        let Contents { sources, totals, interfaces, fragments, flows } = contents;
        let sources = sources.iter().map(|(key, words)| (of_key(key), *words));
        let totals = totals.iter().map(|((rule, strangers), words)| {
            let part = if *strangers { "strangers" } else { "total" };
            (format!("rule {rule} {part}"), *words)
        });
        let interfaces = interfaces.iter().map(|((number, limit), word)| {
            (format!("interface {number} limit {limit}"), [*word, 0, 0])
        });
        let owed = sources.chain(totals).chain(interfaces);
        let owed = owed.map(|(name, words)| (name, words.map(|tat| ahead(tat, ticks))));
        Self {
            counts,
            owed: owed.filter(|(_, owed)| *owed != [0; 3]).collect(),
            datagrams: fragments
                .into_iter()
                .filter(|(_, [_, clock, _])| is_fresh(*clock, ticks))
                .collect(),
            flows: flows
                .iter()
                .filter(|(table, key, word)| is_live(*table, key.protocol, *word, now))
                .map(|(table, key, word)| (of_flow(*table, key), *word))
                .collect(),
        }
    }
}

/// Whether an entry of a table of flows can still matter.
fn is_live(table: FlowTable, protocol: u32, word: u64, now: u64) -> bool {
    match table {
        FlowTable::HalfOpen => HalfOpen(word).is_live(now),
        FlowTable::Asked => Sent(word).is_within(ASKED_TIMEOUT, now),
        FlowTable::Flows | FlowTable::Answered => {
            Sent(word).is_live(u8::try_from(protocol).unwrap_or_default(), now)
        }
    }
}

/// The name of the buckets of a source or network.
fn of_key(key: &SourceKey) -> String {
    let source = IpAddr::from(key.source);
    match key.rule {
        ECHO => format!("echo {source}"),
        rule => format!("rule {rule} scope {} {source}", key.scope),
    }
}

/// The name of an entry of a table of flows.
fn of_flow(table: FlowTable, key: &FlowKey) -> String {
    let (remote, local) = (IpAddr::from(key.remote), IpAddr::from(key.local));
    let FlowKey { remote_port, local_port, protocol, .. } = key;
    format!("{} {protocol} {remote} {remote_port} {local} {local_port}", table_name(table))
}
