//! The lines of the flow log: AWS VPC Flow Logs, version 2, the default format
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>):
//! version, account-id, interface-id, srcaddr, dstaddr, srcport, dstport,
//! protocol, packets, bytes, start, end, action, log-status.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use filter_common::tables::flow_log::{Entry, Key};

/// What the format has for an account that is not known.
const ACCOUNT: &str = "unknown";

/// The time that lines are about, in seconds since 1970, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub from: u32,
    pub until: u32,
}

/// An interface, and what became of its flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    pub name: &'a str,
    /// Something went by that is not in the log.
    pub skipped: bool,
}

/// The lines of all flows; and of each interface one that says that it had none,
/// or that some are left out.
pub(super) fn lines(
    flows: &[Entry],
    window: Window,
    interfaces: &BTreeMap<u32, Seen<'_>>,
) -> String {
    let mut text = String::new();
    for flow in flows {
        let name = interfaces.get(&flow.key.interface.into()).map_or("unknown", |seen| seen.name);
        let Entry { key, first, last, packets, bytes } = flow;
        let Key { source, destination, source_port, destination_port, protocol, refused, .. } = key;
        let (source, destination) = (IpAddr::from(*source), IpAddr::from(*destination));
        let action = if *refused == 0 { "ACCEPT" } else { "REJECT" };
        // A string takes everything.
        let _ = writeln!(
            text,
            "2 {ACCOUNT} {name} {source} {destination} {source_port} {destination_port} {protocol} {packets} {bytes} {first} {last} {action} OK"
        );
    }
    for (number, Seen { name, skipped }) in interfaces {
        let status = if *skipped {
            "SKIPDATA"
        } else if flows.iter().all(|flow| u32::from(flow.key.interface) != *number) {
            "NODATA"
        } else {
            continue;
        };
        let Window { from, until } = window;
        let _ = writeln!(text, "2 {ACCOUNT} {name} - - - - - - - {from} {until} - {status}");
    }
    text
}

#[cfg(test)]
mod tests {
    use filter_common::Address;

    use super::*;

    #[test]
    fn lines_have_the_fields_of_version_2() {
        let address = |text: &str| match text.parse::<IpAddr>() {
            Ok(address) => Address::from(address),
            Err(error) => panic!("{error}"),
        };
        let key = |source, destination, interface, refused| Key {
            source: address(source),
            destination: address(destination),
            source_port: 49_761,
            destination_port: 3389,
            interface,
            protocol: 6,
            refused,
        };
        let flow = |key| Entry {
            key,
            first: 1_418_530_010,
            last: 1_418_530_070,
            packets: 20,
            bytes: 4249,
        };
        let flows = [
            flow(key("172.31.9.69", "172.31.9.12", 1, 1)),
            flow(key("2001:db8::1", "2001:db8::2", 2, 0)),
        ];
        let seen = |name, skipped| Seen { name, skipped };
        let interfaces = BTreeMap::from([
            (1, seen("eth0", false)),
            (2, seen("eth1", true)),
            (3, seen("wg0", false)),
        ]);
        let window = Window { from: 1_418_530_020, until: 1_418_530_079 };
        assert_eq!(
            lines(&flows, window, &interfaces),
            "2 unknown eth0 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK\n\
             2 unknown eth1 2001:db8::1 2001:db8::2 49761 3389 6 20 4249 1418530010 1418530070 ACCEPT OK\n\
             2 unknown eth1 - - - - - - - 1418530020 1418530079 - SKIPDATA\n\
             2 unknown wg0 - - - - - - - 1418530020 1418530079 - NODATA\n"
        );
    }
}
