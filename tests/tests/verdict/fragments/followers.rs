//! Later fragments follow the verdict of their first, and pay as it did.

use std::time::Duration;

use filter_common::Reason;
use nodewall_tests::verdict::{Expected, with_kernel};
use sandbox::packet::frame;

use super::datagram::{Datagram, OPEN};
use crate::common::{HOST, PEER};

#[test]
fn later_ones_follow_their_first() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        let mut id = 0;
        for (port, expected) in [
            (22, Expected::rule("open")),
            (23, Reason::PortClosed.into()),
            (24, Reason::SourceNotAllowed.into()),
        ] {
            id += 1;
            for datagram in Datagram::both(id) {
                let name = format!("{} to port {port}", datagram.name());
                kernel.expect(
                    format!("{name}: unknown"),
                    &datagram.next(3, true),
                    Reason::Fragment,
                );
                kernel.expect(format!("{name}: the first"), &datagram.udp(port), expected);
                kernel.expect(format!("{name}: the second"), &datagram.next(3, true), expected);
                // The next header of later fragments means nothing in IPv6.
                let protocol = if datagram.ipv6 { 60 } else { 17 };
                let third = datagram.later(protocol, 5, true, 8);
                kernel.expect(format!("{name}: the third"), &third, expected);
                let last = datagram.later(17, 6, false, 5);
                kernel.expect(format!("{name}: the last"), &last, expected);
                // Complete: there is nothing more to follow.
                kernel.expect(
                    format!("{name}: behind it"),
                    &datagram.next(9, true),
                    Reason::Fragment,
                );
                kernel.expect(format!("{name}: the last, again"), &last, Reason::Fragment);
                // The identification is free again.
                kernel.expect(
                    format!("{name}: another first"),
                    &datagram.udp(22),
                    Expected::rule("open"),
                );
                kernel.expect(
                    format!("{name}: and its second"),
                    &datagram.next(3, true),
                    Expected::rule("open"),
                );
            }
        }
        for datagram in Datagram::both(100) {
            let name = datagram.name();
            kernel.expect(format!("{name}: a SYN"), &datagram.syn(22), Expected::rule("open"));
            let later = datagram.later(6, 3, false, 9);
            kernel.expect(format!("{name}: behind a SYN"), &later, Expected::rule("open"));
        }
        // Another datagram's: source, identification, and in IPv4 the protocol.
        let [v4, v6] = Datagram::both(200);
        kernel.expect("the first", &v4.udp(22), Expected::rule("open"));
        kernel.expect("the first, IPv6", &v6.udp(22), Expected::rule("open"));
        for (what, other) in [
            ("another identification", Datagram { id: 201, ..v4 }),
            ("another identification, IPv6", Datagram { id: 201, ..v6 }),
            ("another source", Datagram { source: "203.0.113.10", ..v4 }),
            ("another source, IPv6", Datagram { source: "2001:db8:9::a", ..v6 }),
        ] {
            kernel.expect(what, &other.next(3, true), Reason::Fragment);
        }
        kernel.expect("another protocol", &v4.later(6, 3, true, 16), Reason::Fragment);
        kernel.expect("its own", &v4.next(3, true), Expected::rule("open"));
    });
}

#[test]
fn overlapping_and_out_of_order_ones_drop() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        for datagram in Datagram::both(7) {
            let name = datagram.name();
            kernel.expect(format!("{name}: the first"), &datagram.udp(22), Expected::rule("open"));
            for (what, offset, more, length, follows) in [
                ("over the ports' checksum", 1, true, 8, false),
                ("over the payload", 2, false, 8, false),
                ("empty", 3, true, 0, false),
                ("behind a gap", 5, true, 16, true),
                ("in the gap, late", 3, true, 16, false),
                ("the same again", 5, true, 16, false),
                ("half over it", 6, true, 16, false),
                ("behind it", 7, true, 8, true),
                ("the last", 10, false, 3, true),
                ("behind the last", 11, true, 8, false),
                ("far behind the last", 0x1ff0, false, 8, false),
            ] {
                let expected =
                    if follows { Expected::rule("open") } else { Reason::Fragment.into() };
                let piece = datagram.later(17, offset, more, length);
                kernel.expect(format!("{name}: {what}"), &piece, expected);
            }
        }
        for datagram in Datagram::both(8) {
            // A SYN of 20 bytes: the third block is its own, odd as it is.
            let name = datagram.name();
            kernel.expect(format!("{name}: a SYN"), &datagram.syn(22), Expected::rule("open"));
            for offset in [1, 2] {
                let over = datagram.later(6, offset, false, 16);
                kernel.expect(format!("{name}: over a SYN, at {offset}"), &over, Reason::Fragment);
            }
        }
    });
}

#[test]
fn a_second_first_drops() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        for datagram in Datagram::both(7) {
            let name = datagram.name();
            kernel.expect(format!("{name}: the first"), &datagram.udp(22), Expected::rule("open"));
            for port in [22, 23] {
                kernel.expect(
                    format!("{name}: again, to {port}"),
                    &datagram.udp(port),
                    Reason::Fragment,
                );
            }
            kernel.expect(
                format!("{name}: its later one"),
                &datagram.next(3, true),
                Expected::rule("open"),
            );
            kernel.expect(format!("{name}: and again"), &datagram.udp(22), Reason::Fragment);
        }
        for datagram in Datagram::both(8) {
            let name = datagram.name();
            kernel.expect(format!("{name}: dropped"), &datagram.udp(23), Reason::PortClosed);
            kernel.expect(
                format!("{name}: then to an open port"),
                &datagram.udp(22),
                Reason::Fragment,
            );
            kernel.expect(
                format!("{name}: its later one"),
                &datagram.next(3, false),
                Reason::PortClosed,
            );
        }
    });
}

#[test]
fn it_is_forgotten_after_thirty_seconds() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        let datagrams = Datagram::both(7);
        for datagram in datagrams {
            kernel.expect("the first", &datagram.udp(22), Expected::rule("open"));
            kernel.expect("the second", &datagram.next(3, true), Expected::rule("open"));
        }
        kernel.wait(Duration::from_millis(30_100));
        for datagram in datagrams {
            kernel.expect("too late", &datagram.next(5, true), Reason::Fragment);
            kernel.expect("another first", &datagram.udp(23), Reason::PortClosed);
            kernel.expect("and its second", &datagram.next(3, true), Reason::PortClosed);
        }
    });
}

#[test]
fn lists_and_bans_come_first() {
    with_kernel(|kernel| {
        let listed = "[sources]\ntrusted = [\"192.0.2.1\"]\ndenied = [\"192.0.2.129\"]\n";
        kernel.policy(&format!("{listed}{OPEN}"));
        for (source, expected) in [("192.0.2.1", Reason::Trusted), ("192.0.2.129", Reason::Denied)]
        {
            let datagram = Datagram { ipv6: false, source, id: 7 };
            // It needs no entry: each says the same, in any order.
            for _ in 0..2 {
                kernel.expect(format!("first, {source}"), &datagram.udp(23), expected);
                kernel.expect(format!("later, {source}"), &datagram.next(1, true), expected);
            }
        }
        for datagram in Datagram::both(7) {
            kernel.expect("the first", &datagram.udp(22), Expected::rule("open"));
            kernel.ban(datagram.source, None);
            kernel.expect("banned meanwhile", &datagram.next(3, true), Reason::Banned);
            kernel.unban(datagram.source);
            kernel.expect("no longer", &datagram.next(3, true), Expected::rule("open"));
        }
    });
}

#[test]
fn later_ones_pay_as_their_first_did() {
    with_kernel(|kernel| {
        kernel.policy("[[rule]]\nname = \"packets\"\nports = [\"udp/22\", \"tcp/22\"]\n[rule.per_source]\npackets = { rate = \"1/h\", burst = 3 }\n[[rule]]\nname = \"bytes\"\nports = [\"udp/23\"]\n[rule.per_source]\nbytes = { rate = \"1/h\", burst = 200 }\n[icmp]\necho = { rate = \"1/h\", burst = 2 }\n");
        let (packets, bytes) = (Expected::rule("packets"), Expected::rule("bytes"));
        for datagram in Datagram::both(7) {
            let name = datagram.name();
            let refused = Expected::refused("packets", Reason::PacketRate);
            kernel.expect(format!("{name}: 1"), &datagram.udp(22), packets);
            kernel.expect(format!("{name}: 2"), &datagram.next(3, true), packets);
            kernel.expect(format!("{name}: 3"), &datagram.next(5, true), packets);
            kernel.expect(format!("{name}: 4"), &datagram.next(7, true), refused);
            // Where the first is refused, so are the others, and nothing is charged.
            let datagram = Datagram { id: 8, ..datagram };
            kernel.expect(format!("{name}: refused"), &datagram.udp(22), refused);
            kernel.expect(format!("{name}: after it"), &datagram.next(3, false), refused);
            // A bare SYN pays otherwise; what follows it pays as packets do.
            let datagram = Datagram { id: 9, ..datagram };
            kernel.expect(format!("{name}: a SYN"), &datagram.syn(22), packets);
            kernel.expect(format!("{name}: behind it"), &datagram.later(6, 3, false, 8), refused);
        }
        let [datagram, _] = Datagram::both(10);
        // 14 + 20 + 24, then 14 + 20 + 16 each: 58 + 50 + 50 of 200.
        kernel.expect("bytes: 1", &datagram.udp(23), bytes);
        kernel.expect("bytes: 2", &datagram.next(3, true), bytes);
        kernel.expect("bytes: 3", &datagram.next(5, true), bytes);
        kernel.expect(
            "bytes: 4",
            &datagram.next(7, true),
            Expected::refused("bytes", Reason::ByteRate),
        );

        let ping = frame().eth().ipv4(PEER, HOST).fragment(11, 0, true).ping(1, 1).build();
        let datagram = Datagram { id: 11, ..datagram };
        kernel.expect("a long ping", &ping, Reason::Icmp);
        kernel.expect("its second", &datagram.later(1, 3, true, 16), Reason::Icmp);
        kernel.expect("its third", &datagram.later(1, 5, true, 16), Reason::IcmpRate);
    });
}

#[test]
fn monitor_mode_lets_them_follow() {
    with_kernel(|kernel| {
        let limited = "[[rule]]\nname = \"limited\"\nmode = \"monitor\"\nports = [\"udp/22\"]\n[rule.per_source]\npackets = { rate = \"1/h\", burst = 1 }\n";
        kernel.policy(limited);
        let refused = Expected::refused("limited", Reason::PacketRate).monitored();
        for datagram in Datagram::both(7) {
            kernel.expect("within", &datagram.udp(22), Expected::rule("limited"));
            kernel.expect("its second is too much", &datagram.next(3, true), refused);
            let datagram = Datagram { id: 8, ..datagram };
            kernel.expect("too much", &datagram.udp(22), refused);
            kernel.expect("its second", &datagram.next(3, true), refused);
        }
        kernel.policy("mode = \"monitor\"\n");
        let closed = Expected::from(Reason::PortClosed).monitored();
        for datagram in Datagram::both(9) {
            kernel.expect("closed", &datagram.udp(22), closed);
            kernel.expect("its second", &datagram.next(3, true), closed);
            let unknown = Expected::from(Reason::Fragment).monitored();
            kernel.expect("overlapping", &datagram.next(3, true), unknown);
            kernel.expect("a second first", &datagram.udp(22), unknown);
        }
    });
}

#[test]
fn a_change_of_policy_does_not_tear_a_datagram() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        let datagrams = Datagram::both(7);
        for datagram in datagrams {
            kernel.expect("the first", &datagram.udp(22), Expected::rule("open"));
        }
        // The rule is another's number now, and then its own again.
        for policy in ["[[rule]]\nname = \"new\"\nports = [\"udp/1\"]\n", OPEN] {
            kernel.policy(policy);
            let offset = if policy == OPEN { 5 } else { 3 };
            for datagram in datagrams {
                kernel.expect("later", &datagram.next(offset, true), Expected::rule("open"));
            }
        }
    });
}

#[test]
fn nothing_is_longer_than_a_datagram_can_be() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        for datagram in Datagram::both(7) {
            kernel.expect("the first", &datagram.udp(22), Expected::rule("open"));
            let name = datagram.name();
            for (offset, length, fits) in
                [(0x1fff, 8, false), (0x1fff, 7, true), (0x1ff0, 127, true), (0x1ff0, 128, false)]
            {
                let expected = if fits { Reason::Fragment } else { Reason::Malformed };
                let piece = Datagram { id: 8, ..datagram }.later(17, offset, false, length);
                kernel.expect(format!("{name}: {length} at {offset}"), &piece, expected);
            }
        }
    });
}
