//! Captures that show every reason, made here and kept as files in
//! `tests/captures/`: `NAME.pcap`, the policy `NAME.toml` that judges it, and
//! `NAME.expected` with a line for each record: its number, then the reason, rule
//! and scope (`-` for none), or `sent` for what the host itself sends.
//!
//! What a capture needs besides its policy, a ban or connections that are held,
//! stands in `NAME.expected` as a comment. The files are written as one would
//! write them by hand: the classic format is a header and, for each packet, the
//! time, two lengths and the bytes.

use std::{fmt::Write as _, time::Duration};

use sandbox::packet::frame;

use crate::model::{Case, Held, Interface, Step};

/// Whom packets are for.
pub const HOST: &str = "198.51.100.1";
const PEER: &str = "203.0.113.9";
const OTHER: &str = "203.0.113.10";

/// When captures begin: the first second of 2026.
const BEGIN: Duration = Duration::from_secs(1_767_225_600);

/// A capture, what it needs, and what becomes of its packets.
#[derive(Debug)]
pub struct Capture {
    /// Of its files.
    pub name: &'static str,
    /// The policy, and everything that happens.
    pub case: Case,
    /// Of each packet that comes in: reason, rule, scope.
    pub expected: Vec<[&'static str; 3]>,
}

impl Capture {
    fn new(name: &'static str, policy: &str) -> Self {
        let case = Case { policies: vec![policy.to_owned()], steps: Vec::new() };
        Self { name, case, expected: Vec::new() }
    }

    fn receive(&mut self, frame: Vec<u8>, expected: [&'static str; 3]) {
        self.case.steps.push(Step::Receive(Interface::Ethernet, frame));
        self.case.steps.push(Step::Wait(Duration::from_micros(10)));
        self.expected.push(expected);
    }

    fn send(&mut self, frame: Vec<u8>) {
        self.case.steps.push(Step::Send(Interface::Ethernet, frame));
        self.case.steps.push(Step::Wait(Duration::from_millis(20)));
    }

    /// The capture file.
    #[must_use]
    pub fn pcap(&self) -> Vec<u8> {
        let mut file = Vec::new();
        // Microseconds, version 2.4, UTC, exact; the longest packet; Ethernet.
        for word in [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 262_144, 1] {
            file.extend(word.to_le_bytes());
        }
        let mut now = BEGIN;
        for step in &self.case.steps {
            match step {
                Step::Wait(time) => now += *time,
                Step::Receive(_, frame) | Step::Send(_, frame) => {
                    let seconds = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
                    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                    for word in [seconds, now.subsec_micros(), length, length] {
                        file.extend(word.to_le_bytes());
                    }
                    file.extend(frame);
                }
                _ => {}
            }
        }
        file
    }

    /// The file of what is expected.
    #[must_use]
    pub fn expected(&self) -> String {
        let mut text = String::new();
        let mut expected = self.expected.iter();
        let mut number = 0;
        for step in &self.case.steps {
            let line = match step {
                Step::Receive(..) => {
                    expected.next().map(|words| words.join(" ")).unwrap_or_default()
                }
                Step::Send(..) => "sent - -".to_owned(),
                Step::Wait(_) => continue,
                needed => {
                    let _ = writeln!(text, "# needs: {needed}");
                    continue;
                }
            };
            number += 1;
            let _ = writeln!(text, "{number} {line}");
        }
        text
    }
}

fn syn(source: &str, port: u16) -> Vec<u8> {
    frame().eth().ipv4(source, HOST).tcp(4000, port).syn().build()
}

fn ack(source: &str, port: u16) -> Vec<u8> {
    frame().eth().ipv4(source, HOST).tcp(4000, port).ack().build()
}

fn udp(source: &str, port: u16, length: usize) -> Vec<u8> {
    frame().eth().ipv4(source, HOST).udp(4000, port).payload(vec![0; length]).build()
}

/// All of them.
#[must_use]
pub fn captures() -> Vec<Capture> {
    vec![inbound(), answered(), running()]
}

/// All that a policy decides by itself.
fn inbound() -> Capture {
    let mut capture = Capture::new(
        "inbound",
        r#"[sources]
trusted = ["10.8.0.0/24"]
denied = ["192.0.2.0/24"]

[[rule]]
name = "ssh"
ports = ["tcp/22"]
[rule.per_source]
new_connections = { rate = "1/s", burst = 1 }

[[rule]]
name = "friends"
ports = ["tcp/443"]
from = ["203.0.113.10"]

[[rule]]
name = "packets"
ports = ["udp/53"]
[rule.per_network]
packets = { rate = "1/s", burst = 2 }

[[rule]]
name = "bytes"
ports = ["udp/123"]
[rule.total]
bytes = { rate = "1kB/s", burst = 65536 }

[[rule]]
name = "shadow"
ports = ["tcp/80"]
mode = "monitor"

[icmp]
echo = { rate = "1/s", burst = 1 }

[protocols]
allow = ["esp"]
"#,
    );
    let ping = frame().eth().ipv4(PEER, HOST).ping(1, 1).build();
    let esp = frame().eth().ipv4(PEER, HOST).protocol(50).payload([0; 32]).build();
    let gre = frame().eth().ipv4(PEER, HOST).protocol(47).payload([0; 32]).build();
    let timestamp = frame().eth().ipv4(PEER, HOST).icmp(13, 0).payload([0; 12]).build();
    let later = frame().eth().ipv4(PEER, HOST).fragment(9, 100, false).protocol(17);
    let v6 = frame().eth().ipv6("2001:db8:9::9", "2001:db8:1::1").tcp(4000, 22).syn();
    let none = |reason| [reason, "-", "-"];
    for (frame, expected) in [
        (frame().eth().ethertype(0x88cc).payload([0; 46]).build(), none("not_ip")),
        (
            frame().eth().arp_request([2, 0, 0, 0, 0, 2], "203.0.113.9", HOST).build(),
            none("essential"),
        ),
        (
            frame().eth().ipv4(PEER, HOST).total_length(4000).tcp(1, 22).syn().build(),
            none("malformed"),
        ),
        (
            frame().eth().vlan(1).vlan(2).vlan(3).ipv4(PEER, HOST).tcp(1, 22).build(),
            none("malformed"),
        ),
        (syn("10.8.0.2", 9), none("trusted")),
        (syn("192.0.2.7", 22), none("denied")),
        (syn(PEER, 22), ["rule", "ssh", "-"]),
        (syn(PEER, 22), ["connection_rate", "ssh", "per_source"]),
        (v6.build(), ["rule", "ssh", "-"]),
        (ack(PEER, 22), ["out_of_state", "ssh", "-"]),
        (syn(PEER, 9), none("port_closed")),
        (syn(PEER, 443), none("source_not_allowed")),
        (syn(OTHER, 443), ["rule", "friends", "-"]),
        (udp(PEER, 53, 20), ["rule", "packets", "-"]),
        (udp(OTHER, 53, 20), ["rule", "packets", "-"]),
        (udp(PEER, 53, 20), ["packet_rate", "packets", "per_network"]),
        (udp(PEER, 123, 60_000), ["rule", "bytes", "-"]),
        (udp(OTHER, 123, 60_000), ["byte_rate", "bytes", "total"]),
        (ack(PEER, 80), ["monitor", "shadow", "-"]),
        (ping.clone(), none("icmp")),
        (ping, none("icmp_rate")),
        (timestamp, none("icmp_closed")),
        (esp, none("protocol")),
        (gre, none("protocol_closed")),
        (later.payload([0; 16]).build(), none("fragment")),
    ] {
        capture.receive(frame, expected);
    }
    // The rates have come back.
    capture.case.steps.push(Step::Wait(Duration::from_secs(1)));
    capture.receive(syn(PEER, 22), ["rule", "ssh", "-"]);
    capture
}

/// What answers this host.
fn answered() -> Capture {
    let mut capture = Capture::new("answered", "");
    let resolver = "203.0.113.53";
    let answer = frame().eth().ipv4(resolver, HOST).udp(53, 5353).payload([0; 40]).build();
    capture.receive(answer.clone(), ["port_closed", "-", "-"]);
    capture.send(frame().eth().ipv4(HOST, resolver).udp(5353, 53).payload([0; 20]).build());
    capture.receive(answer, ["reply", "-", "-"]);
    capture.send(frame().eth().ipv4(HOST, PEER).ping(7, 1).build());
    let pong = frame().eth().ipv4(PEER, HOST).icmp(0, 0).rest([0, 7, 0, 1]);
    capture.receive(pong.build(), ["reply", "-", "-"]);
    capture
}

/// What a filter refuses for what it knows besides its policy.
fn running() -> Capture {
    let mut capture = Capture::new(
        "running",
        r#"[[rule]]
name = "few"
ports = ["tcp/22"]
[rule.per_source]
connections = 1
"#,
    );
    let net = "198.18.0.0/24".parse().unwrap_or_default();
    capture.case.steps.extend([
        Step::Ban(net, None),
        Step::Held(Held {
            rule: "few".to_owned(),
            scope: filter_common::Scope::PerSource,
            prefix: std::net::Ipv4Addr::new(203, 0, 113, 9).into(),
            connections: 1,
        }),
    ]);
    capture.receive(syn("198.18.0.7", 22), ["banned", "-", "-"]);
    capture.receive(syn(PEER, 22), ["connection_limit", "few", "per_source"]);
    capture.receive(syn(OTHER, 22), ["rule", "few", "-"]);
    capture
}
