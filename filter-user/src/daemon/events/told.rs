//! An event of the program as people read it.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use filter_common::{
    Outcome,
    fragments::Kept,
    read::protocol,
    tables::events::{Event, has},
};
use humantime::format_rfc3339_millis;

use crate::{compile::unnamed, control::DropEvent, packet, policy};

/// What the program knows by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Names {
    pub interfaces: HashMap<u32, String>,
    pub rules: HashMap<u32, String>,
}

impl Names {
    /// The event. `since`: how long ago it was, by the clock that timed it.
    pub(super) fn tell(&self, event: &Event, since: Duration) -> DropEvent {
        let Outcome { reason, monitored, rule, scope } = Kept(event.outcome).outcome();
        let means = |bit| event.has & bit != 0;
        let address = |address| means(has::ADDRESSES).then(|| IpAddr::from(address));
        let port = |port| means(has::PORTS).then_some(port);
        let icmp = |number| means(has::ICMP).then_some(number);
        let name = |names: &HashMap<u32, String>, number| {
            names.get(&number).cloned().unwrap_or_else(|| unnamed(number))
        };
        DropEvent {
            time: format_rfc3339_millis(SystemTime::now() - since).to_string(),
            interface: name(&self.interfaces, event.interface.into()),
            verdict: reason.verdict().name().to_owned(),
            reason: monitored.unwrap_or(reason).name().to_owned(),
            rule: rule.map(|rule| name(&self.rules, rule.get())),
            scope: scope.map(|scope| scope.name().to_owned()),
            source: address(event.source),
            destination: address(event.destination),
            protocol: means(has::PROTOCOL).then(|| protocol_name(event.protocol)),
            source_port: port(event.source_port),
            destination_port: port(event.destination_port),
            flags: means(has::FLAGS).then(|| packet::flag_names(event.flags)),
            icmp_type: icmp(event.kind),
            icmp_code: icmp(event.code),
            length: event.length,
            not_shown: event.not_shown,
        }
    }
}

/// As the packets of `explain` name it.
pub(in crate::daemon) fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMPV6 => "icmp6".to_owned(),
        other => policy::protocol_name(other),
    }
}

#[cfg(test)]
mod tests {
    use filter_common::{Address, Reason, Scope};

    use super::*;

    fn told(outcome: &Outcome, event: Event) -> DropEvent {
        let names = Names {
            interfaces: HashMap::from([(1, "eth0".to_owned())]),
            rules: HashMap::from([(0, "ssh".to_owned())]),
        };
        names.tell(&Event { outcome: Kept::new(outcome).0, ..event }, Duration::ZERO)
    }

    #[test]
    fn an_event_reads_as_a_packet_is_written() {
        let source = |text: &str| match text.parse::<IpAddr>() {
            Ok(address) => Address::from(address),
            Err(error) => panic!("{error}"),
        };
        let event = Event {
            source: source("198.51.100.9"),
            destination: source("203.0.113.5"),
            length: 60,
            source_port: 4000,
            destination_port: 22,
            interface: 1,
            protocol: 6,
            flags: 0x12,
            has: has::ADDRESSES | has::PROTOCOL | has::PORTS | has::FLAGS,
            ..Event::default()
        };
        let outcome = Outcome {
            scope: Some(Scope::PerSource),
            ..Outcome::by_rule(Reason::ConnectionRate, 0)
        };
        let shown = told(&outcome, event);
        assert_eq!(
            shown.to_string(),
            "eth0: tcp 198.51.100.9:4000 > 203.0.113.5:22 syn ack len 60"
        );
        assert_eq!((shown.verdict.as_str(), shown.reason.as_str()), ("drop", "connection_rate"));
        assert_eq!(
            (shown.rule.as_deref(), shown.scope.as_deref()),
            (Some("ssh"), Some("per_source"))
        );
        let monitored = told(&Outcome::of(Reason::PortClosed).under(true), event);
        assert_eq!(
            (monitored.verdict.as_str(), monitored.reason.as_str()),
            ("pass", "port_closed")
        );

        let event = Event {
            source: source("2001:db8::1"),
            destination: source("2001:db8::2"),
            protocol: 58,
            kind: 128,
            interface: 9,
            has: has::ADDRESSES | has::PROTOCOL | has::ICMP,
            ..event
        };
        let shown = told(&Outcome::of(Reason::IcmpClosed), event);
        assert_eq!(
            shown.to_string(),
            "number 9: icmp6 2001:db8::1 > 2001:db8::2 type 128 code 0 len 60"
        );
        assert_eq!((shown.source_port, shown.flags), (None, None));
        let unread = told(&Outcome::of(Reason::Malformed), Event { has: 0, ..event });
        assert_eq!(unread.to_string(), "number 9: len 60");
    }
}
