//! What this host sends, and what may come in for it.

use std::{net::IpAddr, time::Duration};

use filter_common::{
    FlowTable, Reason, Scope, Stage,
    flow::{ECHO_TIMEOUT, HALF_OPEN_TIMEOUT, TCP_SHORT_TIMEOUT, TCP_TIMEOUT, UDP_TIMEOUT},
    read::protocol,
};
use filter_user::dataplane::Hook;
use nodewall_tests::verdict::{Container, Expected, Kernel, flow_key, with_kernel};
use sandbox::{Veth, VethOptions, packet::frame};

use crate::{
    common::{HOST, HOST6, PEER, PEER6},
    slots::hold,
};

/// An address of this host, one of a peer, and another of each.
const FAMILIES: [[&str; 4]; 2] = [
    [HOST, PEER, "198.51.100.2", "203.0.113.10"],
    [HOST6, PEER6, "2001:db8:1::2", "2001:db8:9::10"],
];

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no address"))
}

fn udp(from: (&str, u16), to: (&str, u16)) -> Vec<u8> {
    frame().eth().ip(address(from.0), address(to.0)).udp(from.1, to.1).payload(*b"data").build()
}

fn tcp(from: (&str, u16), to: (&str, u16), flags: u8) -> Vec<u8> {
    frame().eth().ip(address(from.0), address(to.0)).tcp(from.1, to.1).flags(flags).build()
}

/// An ICMP message of either family.
fn icmp(from: &str, to: &str, kind: u8, rest: [u8; 4], quote: &[u8]) -> Vec<u8> {
    let ip = frame().eth().ip(address(from), address(to));
    if address(from).is_ipv4() {
        ip.icmp(kind, 0).rest(rest).payload(quote).build()
    } else {
        ip.icmpv6(kind, 0).rest(rest).payload(quote).build()
    }
}

fn is_v6(address: &str) -> bool {
    address.contains(':')
}

/// "Time exceeded" from a router on the way, about a frame that this host sent.
fn exceeded(sent: &[u8]) -> Vec<u8> {
    let v6 = sent[12] == 0x86;
    let (router, host, kind) =
        if v6 { ("2001:db8:77::1", HOST6, 3) } else { ("192.0.2.77", HOST, 11) };
    // The IP header and the first 8 bytes.
    let length = if v6 { 40 + 8 } else { 20 + 8 };
    icmp(router, host, kind, [0; 4], &sent[14..14 + length])
}

#[test]
fn udp_that_this_host_asked_for() {
    with_kernel(|kernel| {
        kernel.policy("");
        for [host, peer, other_host, other_peer] in FAMILIES {
            let answer = udp((peer, 53), (host, 40_000));
            kernel.expect(format!("{peer}, unasked"), &answer, Reason::PortClosed);
            let question = udp((host, 40_000), (peer, 53));
            kernel.expect(
                format!("{peer}, an error, unasked"),
                &exceeded(&question),
                Reason::IcmpClosed,
            );
            kernel.send(&question);
            for n in 0..3 {
                kernel.expect(format!("{peer}, answer {n}"), &answer, Reason::Reply);
            }
            for (what, from, to) in [
                ("another port there", (peer, 54), (host, 40_000)),
                ("another port here", (peer, 53), (host, 40_001)),
                ("another address there", (other_peer, 53), (host, 40_000)),
                ("another address here", (peer, 53), (other_host, 40_000)),
                ("the way that it went", (host, 40_000), (peer, 53)),
            ] {
                kernel.expect(format!("{peer}, {what}"), &udp(from, to), Reason::PortClosed);
            }
            for flags in [SYN, ACK, SYN | ACK, RST] {
                let segment = tcp((peer, 53), (host, 40_000), flags);
                kernel.expect(format!("{peer}, TCP {flags:#x}"), &segment, Reason::PortClosed);
            }
            // Traceroute: the answer of a router on the way.
            kernel.expect(format!("{peer}, an error"), &exceeded(&question), Reason::Icmp);
            for (what, about) in [
                ("another port", udp((host, 40_000), (peer, 54))),
                ("another port here", udp((host, 40_001), (peer, 53))),
                ("TCP", tcp((host, 40_000), (peer, 53), SYN)),
            ] {
                let error = exceeded(&about);
                kernel.expect(format!("{peer}, an error about {what}"), &error, Reason::IcmpClosed);
            }
            kernel.ban(peer, None);
            kernel.expect(format!("{peer}, banned"), &answer, Reason::Banned);
            kernel.unban(peer);
        }
    });
}

/// Rules first, and what a rule admits is held to its limits whoever spoke:
/// an answer that is provoked lifts nobody out of them.
#[test]
fn answers_of_an_open_port_lift_no_limit() {
    let limited = "[[rule]]\nname = \"p2p\"\nports = [\"udp/14626\"]\n[rule.per_source]\npackets = { rate = \"1/h\", burst = 2 }\n";
    with_kernel(|kernel| {
        for [host, peer, ..] in FAMILIES {
            let key = flow_key((address(peer), 4000), (address(host), 14_626), protocol::UDP);
            let (ping, pong) =
                (udp((peer, 4000), (host, 14_626)), udp((host, 14_626), (peer, 4000)));
            kernel.policy(limited);
            for n in 0..2 {
                kernel.expect(format!("{peer}, ping {n}"), &ping, Expected::rule("p2p"));
                kernel.send(&pong);
            }
            let refused = Expected::refused("p2p", Reason::PacketRate);
            kernel.expect(format!("{peer}, beyond"), &ping, refused);
            assert_eq!(kernel.tables_of(&key), [], "{peer}: an answer begins nothing");
            kernel.policy("");
            kernel.expect(format!("{peer}, closed"), &ping, Reason::PortClosed);
            kernel.send(&pong);
            assert_eq!(kernel.tables_of(&key), [FlowTable::Flows], "{peer}: nothing admits it now");
            kernel.expect(format!("{peer}, closed, begun here"), &ping, Reason::Reply);
            kernel.policy(limited);
            kernel.expect(format!("{peer}, limited again"), &ping, refused);
            // The rule lets others in: this source is a reply or nothing.
            kernel.policy("[[rule]]\nname = \"p2p\"\nports = [\"udp/14626\"]\nfrom = [\"192.0.2.0/24\", \"2001:db8:77::/48\"]\n");
            kernel.expect(format!("{peer}, not let in"), &ping, Reason::Reply);
            let other = udp((peer, 4001), (host, 14_626));
            kernel.expect(format!("{peer}, another port"), &other, Reason::SourceNotAllowed);
        }
    });
}

/// Trusted sources pass without it, and are spoofed as any others are.
#[test]
fn answers_to_trusted_sources_are_not_recorded() {
    with_kernel(|kernel| {
        kernel.policy(&format!("[sources]\ntrusted = [\"{PEER}\", \"{PEER6}\"]\n"));
        for [host, peer, _, stranger] in FAMILIES {
            for (to, tables) in [(peer, &[][..]), (stranger, &[FlowTable::Flows])] {
                kernel.send(&udp((host, 5000), (to, 4000)));
                let key = flow_key((address(to), 4000), (address(host), 5000), protocol::UDP);
                assert_eq!(kernel.tables_of(&key), tables, "{to}");
            }
        }
    });
}

/// Monitor mode lets strangers in, and the host answers them: when the policy
/// enforces again they must be strangers still.
#[test]
fn monitor_mode_makes_no_replies() {
    let shadowed = "[[rule]]\nname = \"others\"\nports = [\"udp/5000\"]\nfrom = [\"192.0.2.0/24\", \"2001:db8:77::/48\"]\nmode = \"monitor\"\n";
    with_kernel(|kernel| {
        for (policy, refused) in
            [("mode = \"monitor\"\n", Reason::PortClosed), (shadowed, Reason::SourceNotAllowed)]
        {
            for (n, [host, peer, ..]) in FAMILIES.into_iter().enumerate() {
                let port = if refused == Reason::PortClosed { 4000 } else { 4100 };
                let ask = udp((peer, port), (host, 5000));
                let key = flow_key((address(peer), port), (address(host), 5000), protocol::UDP);
                kernel.policy(policy);
                for _ in 0..2 {
                    kernel.expect(
                        format!("{peer}, let through"),
                        &ask,
                        Expected::from(refused).monitored(),
                    );
                    kernel.send(&udp((host, 5000), (peer, port)));
                }
                assert_eq!(kernel.tables_of(&key), [FlowTable::Asked], "{peer}");
                // What this host itself begins is known at once.
                let own = 6000 + u16::try_from(n).unwrap_or_default();
                kernel.send(&udp((host, own), (peer, 53)));
                kernel.expect(
                    format!("{peer}, asked for"),
                    &udp((peer, 53), (host, own)),
                    Reason::Reply,
                );
                kernel.policy("");
                kernel.expect(format!("{peer}, enforced"), &ask, Reason::PortClosed);
            }
        }
    });
}

#[test]
fn echoes() {
    with_kernel(|kernel| {
        kernel.policy("");
        for [host, peer, other_host, other_peer] in FAMILIES {
            let (request, reply) = if is_v6(host) { (128, 129) } else { (8, 0) };
            let (id, other) = ([0x12, 0x34, 0, 1], [0x12, 0x35, 0, 1]);
            let answer = icmp(peer, host, reply, id, b"x");
            kernel.expect(format!("{peer}, unasked"), &answer, Reason::IcmpClosed);
            // An echo reply that goes out begins nothing.
            kernel.send(&icmp(host, peer, reply, id, b"x"));
            kernel.expect(format!("{peer}, still unasked"), &answer, Reason::IcmpClosed);
            let ping = icmp(host, peer, request, id, b"x");
            kernel.send(&ping);
            kernel.expect(format!("{peer}, asked"), &answer, Reason::Reply);
            let later = icmp(peer, host, reply, [0x12, 0x34, 9, 9], b"x");
            kernel.expect(format!("{peer}, another sequence number"), &later, Reason::Reply);
            for (what, stranger) in [
                ("another identifier", icmp(peer, host, reply, other, b"x")),
                ("another address there", icmp(other_peer, host, reply, id, b"x")),
                ("another address here", icmp(peer, other_host, reply, id, b"x")),
                ("a request", icmp(peer, host, request, id, b"x")),
            ] {
                kernel.expect(format!("{peer}, {what}"), &stranger, Reason::IcmpClosed);
            }
            kernel.expect(format!("{peer}, an error"), &exceeded(&ping), Reason::Icmp);
            for (what, about) in [
                ("another identifier", icmp(host, peer, request, other, b"x")),
                ("a reply", icmp(host, peer, reply, id, b"x")),
            ] {
                let error = exceeded(&about);
                kernel.expect(format!("{peer}, an error about {what}"), &error, Reason::IcmpClosed);
            }
            let udp = udp((peer, 0), (host, 0x1234));
            kernel.expect(format!("{peer}, UDP"), &udp, Reason::PortClosed);
        }
    });
}

/// The host's own TCP is told by its sockets, errors and resets begin nothing.
#[test]
fn what_is_not_recorded() {
    with_kernel(|kernel| {
        kernel.policy("");
        for [host, peer, ..] in FAMILIES {
            for flags in [SYN, ACK, SYN | ACK, FIN | ACK, RST] {
                kernel.send(&tcp((host, 40_000), (peer, 80), flags));
            }
            let error = if is_v6(host) { 1 } else { 3 };
            kernel.send(&icmp(host, peer, error, [0; 4], &udp((peer, 53), (host, 40_000))[14..]));
            kernel.send(&icmp(host, peer, if is_v6(host) { 133 } else { 13 }, [0; 4], &[]));
        }
        for flow in kernel.plane.flows() {
            assert_eq!(flow.entries, 0, "{flow:?}");
        }
        // Nor does anything that is received write a table.
        for [host, peer, ..] in FAMILIES {
            for port in 1..200 {
                kernel.run(&udp((peer, 53), (host, port)), 1);
                kernel.run(&tcp((peer, 53), (host, port), SYN), 1);
                kernel.run(&tcp((peer, 53), (host, port), ACK), 1);
            }
        }
        let _counted = kernel.added();
        for flow in kernel.plane.flows() {
            assert_eq!(flow.entries, 0, "{flow:?}");
        }
    });
}

/// A segment of the container's, without a link header.
fn segment(
    from: (&str, u16),
    to: (&str, u16),
    flags: u8,
    data: &[u8],
    numbers: (u32, u32),
) -> Vec<u8> {
    let tcp = frame().ip(address(from.0), address(to.0)).tcp(from.1, to.1).flags(flags);
    tcp.sequence(numbers.0).acknowledgement(numbers.1).payload(data).build()
}

fn container(kernel: &mut Kernel) -> Container {
    let pairs = [(address(HOST), address(PEER)), (address(HOST6), address(PEER6))];
    Container::new(kernel, Hook::of_kernel(), &pairs)
}

#[test]
fn forwarded_connections_that_a_container_begins() {
    with_kernel(|kernel| {
        kernel.policy("");
        let container = container(kernel);
        for [host, peer, other_host, other_peer] in FAMILIES {
            let (near, far) = ((host, 40_000), (peer, 443));
            let key = flow_key((address(peer), 443), (address(host), 40_000), protocol::TCP);
            let answer = tcp(far, near, SYN | ACK);
            kernel.expect(format!("{peer}, unasked"), &answer, Reason::PortClosed);
            container.send(kernel, &segment(near, far, SYN, &[], (100, 0)));
            assert_eq!(kernel.tables_of(&key), [FlowTable::Flows]);
            kernel.expect(format!("{peer}, SYN+ACK"), &answer, Reason::Reply);
            container.send(kernel, &segment(near, far, ACK, &[], (101, 201)));
            assert_eq!(kernel.tables_of(&key), [FlowTable::Flows]);
            for flags in [ACK, ACK | FIN, RST, RST | ACK] {
                kernel.expect(format!("{peer}, {flags:#x}"), &tcp(far, near, flags), Reason::Reply);
            }
            kernel.expect(format!("{peer}, a bare SYN"), &tcp(far, near, SYN), Reason::PortClosed);
            for (what, from, to) in [
                ("another port there", (peer, 444), near),
                ("another port here", far, (host, 40_001)),
                ("another address there", (other_peer, 443), near),
                ("another address here", far, (other_host, 40_000)),
            ] {
                let stranger = tcp(from, to, ACK);
                kernel.expect(format!("{peer}, {what}"), &stranger, Reason::PortClosed);
            }
            kernel.expect(format!("{peer}, UDP"), &udp(far, near), Reason::PortClosed);
            // Too large for a router on the way.
            let sent = tcp(near, far, ACK);
            kernel.expect(format!("{peer}, an error"), &exceeded(&sent), Reason::Icmp);
            // Its end does not cut the answer to it.
            container.send(kernel, &segment(near, far, FIN | ACK, &[], (101, 201)));
            kernel.expect(format!("{peer}, after the end"), &tcp(far, near, ACK), Reason::Reply);
            assert_eq!(kernel.tables_of(&key), [FlowTable::Flows]);
        }
    });
}

/// A stranger's SYN makes the container answer: that opens nothing, and fills
/// no table that anything else depends on.
#[test]
fn forwarded_connections_that_a_stranger_asks_for() {
    let open = "[[rule]]\nname = \"web\"\nports = [\"tcp/8080\"]\n";
    with_kernel(|kernel| {
        let container = container(kernel);
        for [host, peer, _, other_peer] in FAMILIES {
            let (near, far) = ((host, 8080), (peer, 5000));
            let key = flow_key((address(peer), 5000), (address(host), 8080), protocol::TCP);
            let ack = tcp(far, near, ACK);
            kernel.policy(open);
            kernel.expect(format!("{peer}, SYN"), &tcp(far, near, SYN), Expected::rule("web"));
            let out = Expected::by("web", Reason::OutOfState);
            kernel.expect(format!("{peer}, nothing sent yet"), &ack, out);
            container.send(kernel, &segment(near, far, SYN | ACK, &[], (900, 501)));
            assert_eq!(kernel.tables_of(&key), [FlowTable::HalfOpen]);
            kernel.expect(format!("{peer}, handshake"), &ack, Expected::rule("web"));
            kernel.expect(format!("{peer}, another"), &tcp((other_peer, 5000), near, ACK), out);
            // What a second spoofed SYN provokes is no proof.
            container.send(kernel, &segment(near, far, ACK, &[], (901, 501)));
            container.send(kernel, &segment(near, far, RST | ACK, &[], (901, 501)));
            assert_eq!(kernel.tables_of(&key), [FlowTable::HalfOpen]);
            kernel.policy("");
            kernel.expect(format!("{peer}, asked and closed"), &ack, Reason::PortClosed);
            let error = exceeded(&tcp(near, far, ACK));
            kernel.expect(format!("{peer}, an error about it"), &error, Reason::Icmp);
            // An acknowledgement of the stranger's data is.
            container.send(kernel, &segment(near, far, ACK, &[], (901, 502)));
            assert_eq!(kernel.tables_of(&key), [FlowTable::Answered, FlowTable::HalfOpen]);
            kernel.expect(format!("{peer}, answered, closed since"), &ack, Reason::Reply);
            kernel.policy(open);
            kernel.expect(format!("{peer}, answered"), &ack, Expected::rule("web"));
            kernel.policy("");
            // And so is data of its own.
            let far = (peer, 5001);
            container.send(kernel, &segment(near, far, SYN | ACK, &[], (900, 501)));
            container.send(kernel, &segment(near, far, ACK, b"hello", (901, 501)));
            kernel.expect(format!("{peer}, data"), &tcp(far, near, ACK), Reason::Reply);
        }
    });
}

/// The last segment of a handshake is held to `connections`, what follows is not.
#[test]
fn forwarded_connections_one_too_many() {
    let rule = "[[rule]]\nname = \"web\"\nports = [\"tcp/8080\"]\n[rule.total]\nconnections = 1\n";
    with_kernel(|kernel| {
        let container = container(kernel);
        kernel.policy(rule);
        for [host, peer, ..] in FAMILIES {
            let (near, far) = ((host, 8080), (peer, 5000));
            let ack = tcp(far, near, ACK);
            container.send(kernel, &segment(near, far, SYN | ACK, &[], (900, 501)));
            kernel.expect(format!("{peer}, there is a slot"), &ack, Expected::rule("web"));
            hold(kernel, "web", Scope::Total, "", 1);
            let full = Expected::over("web", Reason::ConnectionLimit, Scope::Total);
            kernel.expect(format!("{peer}, there is none"), &ack, full);
            container.send(kernel, &segment(near, far, ACK, b"hello", (901, 501)));
            kernel.expect(format!("{peer}, it has one"), &ack, Expected::rule("web"));
            hold(kernel, "web", Scope::Total, "", 0);
        }
    });
}

#[test]
fn forwarded_connections_from_their_middle() {
    with_kernel(|kernel| {
        kernel.policy("");
        let container = container(kernel);
        for [host, peer, ..] in FAMILIES {
            for (port, flags, data, tables) in [
                (5000, ACK, &b"x"[..], &[FlowTable::Answered][..]),
                (5001, FIN | ACK, b"", &[FlowTable::Answered]),
                (5002, ACK, b"", &[FlowTable::HalfOpen]),
                (5003, RST, b"", &[]),
                (5004, RST | ACK, b"x", &[]),
            ] {
                let (near, far) = ((host, 8080), (peer, port));
                container.send(kernel, &segment(near, far, flags, data, (1, 77)));
                let key = flow_key((address(peer), port), (address(host), 8080), protocol::TCP);
                assert_eq!(kernel.tables_of(&key), tables, "{peer}, {port}");
                let passes = tables.contains(&FlowTable::Answered);
                let expected = if passes { Reason::Reply } else { Reason::PortClosed };
                kernel.expect(format!("{peer}, {port}"), &tcp(far, near, ACK), expected);
            }
            // A receiver that acknowledges more and more.
            let (near, far) = ((host, 8080), (peer, 5002));
            container.send(kernel, &segment(near, far, ACK, b"", (1, 1500)));
            kernel.expect(format!("{peer}, a receiver"), &tcp(far, near, ACK), Reason::Reply);
        }
    });
}

/// The hook that kernels before 6.6 have, with whatever is on it already.
#[test]
fn the_classifier_as_a_filter_of_clsact() {
    with_kernel(|kernel| {
        kernel.policy("");
        let pairs = [(address(HOST), address(PEER))];
        let mut container = Container::new(kernel, Hook::Clsact, &pairs);
        for (port, attached) in [(1, true), (2, false), (3, true)] {
            match attached {
                true if port > 1 => container.attach(kernel, Hook::Clsact),
                true => {}
                false => container.detach(),
            }
            let syn = segment((HOST, port), (PEER, 443), SYN, &[], (100, 0));
            let key = flow_key((address(PEER), 443), (address(HOST), port), protocol::TCP);
            match attached {
                true => container.send(kernel, &syn),
                false => container.pass(&syn),
            }
            let tables: &[_] = if attached { &[FlowTable::Flows] } else { &[] };
            assert_eq!(kernel.tables_of(&key), tables, "port {port}");
        }
    });
}

/// Each entry ends so long after this host sent last.
#[test]
fn timeouts() {
    let second = Duration::from_secs(1);
    let unit = Duration::from_nanos(1 << 30);
    let cases = [
        (FlowTable::Flows, protocol::UDP, Stage::Open, UDP_TIMEOUT),
        (FlowTable::Flows, protocol::TCP, Stage::Begun, TCP_SHORT_TIMEOUT),
        (FlowTable::Flows, protocol::TCP, Stage::Open, TCP_TIMEOUT),
        (FlowTable::Flows, protocol::TCP, Stage::Closing, TCP_SHORT_TIMEOUT),
        (FlowTable::Answered, protocol::TCP, Stage::Open, TCP_TIMEOUT),
        (FlowTable::Answered, protocol::TCP, Stage::Closing, TCP_SHORT_TIMEOUT),
    ];
    with_kernel(|kernel| {
        kernel.policy("");
        for [host, peer, ..] in FAMILIES {
            for (table, protocol, stage, timeout) in cases {
                let timeout = Duration::from_nanos(timeout);
                let key = flow_key((address(peer), 5000), (address(host), 40_000), protocol);
                let packet = match protocol {
                    protocol::UDP => udp((peer, 5000), (host, 40_000)),
                    _ => tcp((peer, 5000), (host, 40_000), ACK),
                };
                let what = format!("{peer}, {table:?}, {protocol}, {stage:?}");
                kernel.remember(table, &key, stage, timeout - 20 * second);
                kernel.expect(format!("{what}, fresh"), &packet, Reason::Reply);
                kernel.remember(table, &key, stage, timeout + second);
                kernel.expect(format!("{what}, run out"), &packet, Reason::PortClosed);
            }
            let (reply, id) = (if is_v6(host) { 129 } else { 0 }, [0, 99, 0, 0]);
            let number = if is_v6(host) { protocol::ICMPV6 } else { protocol::ICMP };
            let key = flow_key((address(peer), 0), (address(host), 99), number);
            let packet = icmp(peer, host, reply, id, &[]);
            let timeout = Duration::from_nanos(ECHO_TIMEOUT);
            kernel.remember(FlowTable::Flows, &key, Stage::Open, timeout - 20 * second);
            kernel.expect(format!("{peer}, echo, fresh"), &packet, Reason::Reply);
            kernel.remember(FlowTable::Flows, &key, Stage::Open, timeout + second);
            kernel.expect(format!("{peer}, echo, run out"), &packet, Reason::IcmpClosed);
        }
        kernel.policy("[[rule]]\nname = \"web\"\nports = [\"tcp/8080\"]\n");
        let key = flow_key((address(PEER), 5000), (address(HOST), 8080), protocol::TCP);
        let ack = tcp((PEER, 5000), (HOST, 8080), ACK);
        let timeout = Duration::from_nanos(HALF_OPEN_TIMEOUT);
        kernel.remember(FlowTable::HalfOpen, &key, Stage::Open, timeout - 20 * second);
        kernel.expect("half-open, fresh", &ack, Expected::rule("web"));
        kernel.remember(FlowTable::HalfOpen, &key, Stage::Open, timeout + 2 * unit);
        let out = Expected::by("web", Reason::OutOfState);
        kernel.expect("half-open, run out", &ack, out);
    });
}

/// A port by itself opens nothing, and an entry is nothing without its port.
#[test]
fn the_ports_spoken_from_are_each_protocols_own() {
    with_kernel(|kernel| {
        kernel.policy("");
        for [host, peer, ..] in FAMILIES {
            kernel.send(&udp((host, 7000), (peer, 53)));
            for (n, packet) in [
                tcp((peer, 53), (host, 7000), ACK),
                icmp(peer, host, if is_v6(host) { 129 } else { 0 }, [0x1b, 0x58, 0, 0], &[]),
                udp((peer, 54), (host, 7000)),
            ]
            .iter()
            .enumerate()
            {
                let closed = if n == 1 { Reason::IcmpClosed } else { Reason::PortClosed };
                kernel.expect(format!("{peer}, {n}"), packet, closed);
            }
        }
    });
}

/// What is sent is read as what is received is, and the way back is any.
#[test]
fn interfaces_and_framing_of_what_is_sent() {
    with_kernel(|kernel| {
        kernel.policy("");
        for [host, peer, ..] in FAMILIES {
            for tags in 0..=2 {
                let port = 30_000 + tags;
                let eth = frame().eth();
                let (from, to) = (address(host), address(peer));
                let sent = match tags {
                    0 => eth.ip(from, to).udp(port, 53).build(),
                    1 => eth.vlan(7).ip(from, to).udp(port, 53).build(),
                    _ => eth.vlan(7).vlan(8).ip(from, to).udp(port, 53).build(),
                };
                kernel.send(&sent);
                let answer = udp((peer, 53), (host, port));
                kernel.expect(format!("{peer}, {tags} tags"), &answer, Reason::Reply);
            }
        }
        // It may come back by another way than it went.
        kernel.send(&udp((HOST, 31_000), (PEER, 53)));
        let ends = ((&kernel.namespace, "other0"), (&kernel.namespace, "other1"));
        let index = Veth::new(ends.0, ends.1, VethOptions::default()).and_then(|v| v.a.index());
        kernel.come_in("other0", index.unwrap_or_else(|error| panic!("{error}")), false);
        kernel.expect("another interface", &udp((PEER, 53), (HOST, 31_000)), Reason::Reply);
    });
}
