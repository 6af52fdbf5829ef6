//! The limits of each source: exactly the burst passes, what is refused pays
//! nothing, and who shares a bucket.

use std::time::Duration;

use filter_common::{Reason, Socket};
use nodewall_tests::verdict::{Connection, Expected, Kernel, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

fn udp(source: &str, port: u16, length: usize) -> Vec<u8> {
    let frame = if source.contains(':') {
        frame().eth().ipv6(source, HOST6).udp(4000, port).payload(vec![0; length - 62]).build()
    } else {
        frame().eth().ipv4(source, HOST).udp(4000, port).payload(vec![0; length - 42]).build()
    };
    assert_eq!(frame.len(), length);
    frame
}

fn syn(source: &str, port: u16) -> Vec<u8> {
    if source.contains(':') {
        frame().eth().ipv6(source, HOST6).tcp(4000, port).syn().build()
    } else {
        frame().eth().ipv4(source, HOST).tcp(4000, port).syn().build()
    }
}

/// `burst` of them pass, the next do not.
fn drain(
    kernel: &mut Kernel,
    what: &str,
    frame: &[u8],
    burst: u32,
    rule: &'static str,
    refusal: Reason,
) {
    for n in 1..=burst {
        kernel.expect(format!("{what}, {n} of {burst}"), frame, Expected::rule(rule));
    }
    for n in 1..=3 {
        kernel.expect(
            format!("{what}, {n} beyond {burst}"),
            frame,
            Expected::refused(rule, refusal),
        );
    }
}

#[test]
fn exactly_the_burst() {
    with_kernel(|kernel| {
        // The burst is that of the rate alone where none is told: one second's worth.
        for (rate, burst) in [
            ("{ rate = \"1/h\", burst = 1 }", 1),
            ("{ rate = \"1/h\", burst = 7 }", 7),
            ("{ rate = \"3/m\" }", 1),
            ("{ rate = \"1/m\", burst = 40 }", 40),
        ] {
            let rules = ["connections", "packets"].map(|kind| {
                let key = if kind == "connections" { "new_connections" } else { "packets" };
                let port = if kind == "connections" { "tcp/22" } else { "udp/22" };
                format!("[[rule]]\nname = \"{kind}-{burst}-{}\"\nports = [\"{port}\"]\n[rule.per_source]\n{key} = {rate}\n", rate.len())
            });
            kernel.policy(&rules.concat());
            let name =
                |kind: &str| -> &'static str { format!("{kind}-{burst}-{}", rate.len()).leak() };
            for source in [PEER, PEER6] {
                drain(
                    kernel,
                    &format!("SYN, {rate}, {source}"),
                    &syn(source, 22),
                    burst,
                    name("connections"),
                    Reason::ConnectionRate,
                );
                drain(
                    kernel,
                    &format!("UDP, {rate}, {source}"),
                    &udp(source, 22, 100),
                    burst,
                    name("packets"),
                    Reason::PacketRate,
                );
            }
            drain(
                kernel,
                "another source",
                &udp("203.0.113.10", 22, 100),
                burst,
                name("packets"),
                Reason::PacketRate,
            );
        }
    });
}

#[test]
fn bytes_are_frame_bytes() {
    with_kernel(|kernel| {
        kernel.policy("[[rule]]\nname = \"bytes\"\nports = [\"udp/22\"]\n[rule.per_source]\nbytes = { rate = \"1B/h\", burst = \"1kB\" }\n");
        let refused = Expected::refused("bytes", Reason::ByteRate);
        let open = Expected::rule("bytes");
        for source in [PEER, PEER6] {
            // What is refused pays nothing: a smaller one still fits.
            for (length, expected) in [
                (600, open),
                (600, refused),
                (401, refused),
                (300, open),
                (101, refused),
                (100, open),
                (62, refused),
            ] {
                kernel.expect(
                    format!("{length} bytes from {source}"),
                    &udp(source, 22, length),
                    expected,
                );
            }
        }
        kernel.expect("more than the bucket holds", &udp("203.0.113.10", 22, 1001), refused);
        kernel.expect("as much as the bucket holds", &udp("203.0.113.10", 22, 1000), open);
        // Bytes beyond the IP packet are bytes of the frame.
        let padded = frame().eth().ipv4("203.0.113.11", HOST).udp(4000, 22).pad_to(1001).build();
        kernel.expect("padding", &padded, refused);
        // Frames in several buffers, whole.
        kernel.policy("[[rule]]\nname = \"jumbo\"\nports = [\"udp/22\"]\n[rule.per_source]\nbytes = { rate = \"3B/h\", burst = \"18kB\" }\n");
        for (length, expected) in [
            (9000, Expected::rule("jumbo")),
            (9001, Expected::refused("jumbo", Reason::ByteRate)),
            (9000, Expected::rule("jumbo")),
            (62, Expected::refused("jumbo", Reason::ByteRate)),
        ] {
            kernel.expect(format!("{length} bytes"), &udp(PEER, 22, length), expected);
        }
    });
}

/// A packet pays both or none.
#[test]
fn packets_and_bytes() {
    with_kernel(|kernel| {
        kernel.policy("[[rule]]\nname = \"both\"\nports = [\"udp/22\"]\n[rule.per_source]\npackets = { rate = \"1/h\", burst = 4 }\nbytes = { rate = \"1B/h\", burst = 1000 }\n");
        let open = Expected::rule("both");
        let refused = |reason| Expected::refused("both", reason);
        kernel.expect("600 of 1000", &udp(PEER, 22, 600), open);
        for _ in 0..8 {
            kernel.expect("too many bytes", &udp(PEER, 22, 600), refused(Reason::ByteRate));
        }
        for n in 2..=4 {
            kernel.expect(format!("packet {n} of 4"), &udp(PEER, 22, 100), open);
        }
        for _ in 0..8 {
            kernel.expect("too many packets", &udp(PEER, 22, 62), refused(Reason::PacketRate));
            kernel.expect(
                "too many of both: packets come first",
                &udp(PEER, 22, 600),
                refused(Reason::PacketRate),
            );
        }
    });
}

/// A bare SYN pays connections alone, everything else packets and bytes alone.
#[test]
fn who_pays_what() {
    with_kernel(|kernel| {
        let Ok(connection) = Connection::open([127, 0, 0, 1].into()) else {
            panic!("no connection over loopback")
        };
        let (Ok(client), Ok(server)) =
            (connection.client.local_addr(), connection.client.peer_addr())
        else {
            panic!("no addresses")
        };
        let port = server.port();
        kernel.tell_of_socket(client, server, Socket::Live);
        kernel.policy(&format!("[[rule]]\nname = \"all\"\nports = [\"tcp/{port}\", \"udp/22\", \"tcp/22\"]\n[rule.per_source]\nnew_connections = {{ rate = \"1/h\", burst = 2 }}\npackets = {{ rate = \"1/h\", burst = 3 }}\nbytes = {{ rate = \"1B/h\", burst = 1000 }}\n"));
        let segment = |flags| {
            frame().eth().ip(client.ip(), server.ip()).tcp(client.port(), port).flags(flags).build()
        };
        let open = Expected::rule("all");
        let refused = |reason| Expected::refused("all", reason);
        kernel.expect("the first SYN", &segment(2), open);
        kernel.expect("an ACK", &segment(16), open);
        kernel.expect("the second SYN, to another port of the rule", &syn("127.0.0.1", 22), open);
        kernel.expect("the third SYN", &segment(2), refused(Reason::ConnectionRate));
        kernel.expect("a RST pays as a packet", &segment(4), open);
        kernel.expect("the third packet, by UDP", &udp("127.0.0.1", 22, 100), open);
        kernel.expect("the fourth packet", &segment(16), refused(Reason::PacketRate));
        kernel.expect(
            "the fourth packet, by UDP",
            &udp("127.0.0.1", 22, 100),
            refused(Reason::PacketRate),
        );
        // What is out of state pays nothing.
        let stray = frame().eth().ipv4(PEER, HOST).tcp(4000, 22).ack().build();
        for _ in 0..5 {
            kernel.expect("out of state", &stray, Expected::by("all", Reason::OutOfState));
        }
        drain(kernel, "its source", &udp(PEER, 22, 100), 3, "all", Reason::PacketRate);
        drain(kernel, "its source's SYNs", &syn(PEER, 22), 2, "all", Reason::ConnectionRate);
    });
}

#[test]
fn who_shares_a_bucket() {
    with_kernel(|kernel| {
        let rule = |name: &str, port: &str| {
            format!(
                "[[rule]]\nname = \"{name}\"\nports = [\"{port}\"]\n[rule.per_source]\npackets = {{ rate = \"1/h\", burst = 2 }}\n"
            )
        };
        let try_pairs =
            |kernel: &mut Kernel, name: &'static str, port: u16, cases: &[(&str, &str, bool)]| {
                for (first, second, shared) in cases {
                    for n in 0..2 {
                        kernel.expect(
                            format!("{name}: {first}, {n}"),
                            &udp(first, port, 100),
                            Expected::rule(name),
                        );
                    }
                    kernel.expect(
                        format!("{name}: {first}, beyond"),
                        &udp(first, port, 100),
                        Expected::refused(name, Reason::PacketRate),
                    );
                    let expected = if *shared {
                        Expected::refused(name, Reason::PacketRate)
                    } else {
                        Expected::rule(name)
                    };
                    kernel.expect(
                        format!("{name}: {second} after {first}"),
                        &udp(second, port, 100),
                        expected,
                    );
                }
            };
        kernel.policy(&(rule("default", "udp/22") + &rule("other", "udp/23")));
        try_pairs(
            kernel,
            "default",
            22,
            &[
                ("192.0.2.4", "192.0.2.5", false),
                ("192.0.2.6", "193.0.2.6", false),
                ("2001:db8:1:1::1", "2001:db8:1:1:ffff:ffff:ffff:ffff", true),
                ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
                ("2001:db8:1:4::1", "2001:db9:1:4::1", false),
            ],
        );
        kernel.expect(
            "another rule has buckets of its own",
            &udp("192.0.2.4", 23, 100),
            Expected::rule("other"),
        );
        kernel
            .policy(&(rule("wide", "udp/22") + "[prefixes]\nsource_ipv4 = 25\nsource_ipv6 = 57\n"));
        try_pairs(
            kernel,
            "wide",
            22,
            &[
                ("192.0.2.4", "192.0.2.127", true),
                ("192.0.2.128", "192.0.2.255", true),
                ("192.0.3.0", "192.0.3.128", false),
                ("2001:db8:1:1::1", "2001:db8:1:7f::1", true),
                ("2001:db8:1:80::1", "2001:db8:1:ff::1", true),
                ("2001:db8:2:0::1", "2001:db8:2:80::1", false),
            ],
        );
        kernel.policy(&(rule("narrow", "udp/22") + "[prefixes]\nsource_ipv6 = 128\n"));
        try_pairs(kernel, "narrow", 22, &[("2001:db8:1:1::1", "2001:db8:1:1::2", false)]);
        // The bucket stays with the rule's name, whatever policies come.
        kernel.policy(&(rule("narrow", "udp/24") + &rule("new", "udp/22")));
        kernel.expect(
            "the same name, another port",
            &udp("2001:db8:1:1::1", 24, 100),
            Expected::rule("narrow"),
        );
        kernel.policy(&(rule("narrow", "udp/24") + "[prefixes]\nsource_ipv6 = 128\n"));
        kernel.expect(
            "the same name and prefix",
            &udp("2001:db8:1:1::1", 24, 100),
            Expected::refused("narrow", Reason::PacketRate),
        );
    });
}

/// Tokens come back with time, and no faster than the rate.
#[test]
fn refill() {
    with_kernel(|kernel| {
        kernel.policy("[[rule]]\nname = \"slow\"\nports = [\"udp/22\"]\n[rule.per_source]\npackets = { rate = \"2/s\", burst = 2 }\n");
        let frame = udp(PEER, 22, 100);
        kernel.run(&frame, 1000);
        let passed = kernel.added_for(Reason::Rule);
        kernel.check(passed == 2, format!("{passed} of a burst of 2"));
        std::thread::sleep(Duration::from_millis(600));
        kernel.run(&frame, 1000);
        let passed = kernel.added_for(Reason::Rule);
        kernel.check((1..=2).contains(&passed), format!("{passed} after 0.6 s at 2/s"));
        std::thread::sleep(Duration::from_millis(3000));
        kernel.run(&frame, 1000);
        let passed = kernel.added_for(Reason::Rule);
        kernel.check(passed == 2, format!("{passed} after 3 s at 2/s with a burst of 2"));
    });
}
