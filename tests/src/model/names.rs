//! The names of what is left after a case.

use std::net::IpAddr;

use filter_common::{
    FlowKey, FlowTable,
    tables::{ECHO, SourceKey},
};

use super::text::table_name;

/// Of the buckets of a source or network.
pub(super) fn of_key(key: &SourceKey) -> String {
    let source = IpAddr::from(key.source);
    match key.rule {
        ECHO => format!("echo {source}"),
        rule => format!("rule {rule} scope {} {source}", key.scope),
    }
}

/// Of the buckets that all sources of a rule share.
pub(super) fn of_total(rule: u32, strangers: bool) -> String {
    format!("rule {rule} {}", if strangers { "strangers" } else { "total" })
}

/// Of a bucket of an interface.
pub(super) fn of_interface(number: u32, limit: u32) -> String {
    format!("interface {number} limit {limit}")
}

/// Of an entry of a table of flows.
pub(super) fn of_flow(table: FlowTable, key: &FlowKey) -> String {
    let (remote, local) = (IpAddr::from(key.remote), IpAddr::from(key.local));
    let FlowKey { remote_port, local_port, protocol, .. } = key;
    format!("{} {protocol} {remote} {remote_port} {local} {local_port}", table_name(table))
}
