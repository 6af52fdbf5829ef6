//! Which rule admits a packet: ports, sources, interfaces.

use filter_common::Reason;
use nodewall_tests::verdict::{Expected, Kernel, with_kernel};
use sandbox::{Veth, VethOptions, packet::frame};

use crate::common::{HOST, HOST6, PEER, PEER6};

fn tcp(source: &str, port: u16) -> Vec<u8> {
    if source.contains(':') {
        frame().eth().ipv6(source, HOST6).tcp(4000, port).syn().build()
    } else {
        frame().eth().ipv4(source, HOST).tcp(4000, port).syn().build()
    }
}

fn udp(source: &str, port: u16) -> Vec<u8> {
    if source.contains(':') {
        frame().eth().ipv6(source, HOST6).udp(4000, port).build()
    } else {
        frame().eth().ipv4(source, HOST).udp(4000, port).build()
    }
}

/// A rule, its TCP ports, others near them, its UDP ports, others near them.
type Ports = (Expected, &'static [u16], &'static [u16], &'static [u16], &'static [u16]);

#[test]
fn ports() {
    with_kernel(|kernel| {
        kernel.policy(
            "[[rule]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n[[rule]]\nname = \"p2p\"\nports = [\"tcp/15600\", \"tcp/30300-30309\", \"udp/14626\"]\n[[rule]]\nname = \"edge\"\nports = [\"tcp/1\", \"tcp/65535\", \"udp/65532-65535\"]\n",
        );
        let (ssh, p2p, edge) =
            (Expected::rule("ssh"), Expected::rule("p2p"), Expected::rule("edge"));
        for source in [PEER, PEER6] {
            let cases: [Ports; 3] = [
                (ssh, &[22], &[21, 23, 20, 0], &[], &[21, 22, 23]),
                (
                    p2p,
                    &[15600, 30300, 30305, 30309],
                    &[15599, 15601, 30299, 30310, 14626],
                    &[14626],
                    &[14625, 14627, 15600, 30300],
                ),
                (
                    edge,
                    &[1, 65535],
                    &[0, 2, 65534, 65532],
                    &[65532, 65533, 65534, 65535],
                    &[0, 1, 65531],
                ),
            ];
            for (rule, open, closed, udp_open, udp_closed) in cases {
                for port in open {
                    kernel.expect(format!("{source} tcp/{port}"), &tcp(source, *port), rule);
                }
                for port in closed {
                    kernel.expect(
                        format!("{source} tcp/{port}"),
                        &tcp(source, *port),
                        Reason::PortClosed,
                    );
                }
                for port in udp_open {
                    kernel.expect(format!("{source} udp/{port}"), &udp(source, *port), rule);
                }
                for port in udp_closed {
                    kernel.expect(
                        format!("{source} udp/{port}"),
                        &udp(source, *port),
                        Reason::PortClosed,
                    );
                }
            }
            let from = frame()
                .eth()
                .ip(source, if source == PEER { HOST } else { HOST6 })
                .tcp(22, 4000)
                .syn()
                .build();
            kernel.expect("a source port opens nothing", &from, Reason::PortClosed);
        }
        kernel.policy("[[rule]]\nname = \"all\"\nports = [\"tcp/1-65535\"]\n");
        for port in [1, 2, 3, 4, 5, 1023, 1024, 32_767, 32_768, 65_534, 65_535] {
            kernel.expect(format!("all, tcp/{port}"), &tcp(PEER, port), Expected::rule("all"));
            kernel.expect(format!("all, udp/{port}"), &udp(PEER, port), Reason::PortClosed);
        }
        kernel.expect("all, tcp/0", &tcp(PEER, 0), Reason::PortClosed);
    });
}

#[test]
fn the_longest_prefix_decides() {
    with_kernel(|kernel| {
        kernel.policy(
            r#"
[sets]
nobody = []
some = ["10.1.2.128/25", "2001:db8:1:2::/64"]
[[rule]]
name = "host"
ports = ["tcp/80"]
from = ["10.1.2.3", "2001:db8:1:2::3"]
[[rule]]
name = "all"
ports = ["tcp/80", "udp/80"]
[[rule]]
name = "net"
ports = ["tcp/80"]
from = ["10.0.0.0/8", "2001:db8::/32"]
[[rule]]
name = "some"
ports = ["tcp/80", "tcp/81"]
from = ["@some"]
[[rule]]
name = "four"
ports = ["tcp/82"]
from = ["10.0.0.0/8"]
[[rule]]
name = "six"
ports = ["tcp/83"]
from = ["2001:db8::/32"]
[[rule]]
name = "all-four"
ports = ["tcp/84"]
from = ["0.0.0.0/0"]
[[rule]]
name = "all-six"
ports = ["tcp/85"]
from = ["::/0"]
[[rule]]
name = "nobody"
ports = ["tcp/86"]
from = ["@nobody"]
[[rule]]
name = "edge"
ports = ["tcp/87"]
from = ["192.0.2.64/26", "192.0.2.255", "2001:db8:8::/45"]
"#,
        );
        let not_allowed = Expected::from(Reason::SourceNotAllowed);
        let cases: [(u16, Expected, &[&str]); 22] = [
            (80, Expected::rule("host"), &["10.1.2.3", "2001:db8:1:2::3"]),
            (
                80,
                Expected::rule("some"),
                &["10.1.2.128", "10.1.2.255", "2001:db8:1:2::2", "2001:db8:1:2:ffff::"],
            ),
            (
                80,
                Expected::rule("net"),
                &[
                    "10.1.2.4",
                    "10.1.2.2",
                    "10.1.2.127",
                    "10.1.3.0",
                    "10.0.0.0",
                    "10.255.255.255",
                    "2001:db8:1:3::",
                    "2001:db8::",
                    "2001:db8:1:1:ffff::",
                ],
            ),
            (
                80,
                Expected::rule("all"),
                &["9.255.255.255", "11.0.0.0", "2001:db7:ffff::", "2001:db9::", PEER],
            ),
            (81, Expected::rule("some"), &["10.1.2.128", "2001:db8:1:2::3"]),
            (
                81,
                not_allowed,
                &["10.1.2.127", "10.1.3.0", "2001:db8:1:1:ffff::", "2001:db8:1:3::", PEER, PEER6],
            ),
            (82, Expected::rule("four"), &["10.0.0.0", "10.255.255.255"]),
            (82, not_allowed, &["9.255.255.255", "11.0.0.0", PEER6, "2001:db8::1"]),
            (83, Expected::rule("six"), &["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"]),
            (83, not_allowed, &["2001:db7:ffff::", "2001:db9::", "10.1.2.3", PEER]),
            (84, Expected::rule("all-four"), &["0.0.0.0", "255.255.255.255", "10.1.2.3"]),
            (84, not_allowed, &["::", PEER6, "2001:db8:1:2::3"]),
            (85, Expected::rule("all-six"), &["::", "ffff:ffff::", "::1", "2001:db8:1:2::3"]),
            (85, not_allowed, &["0.0.0.0", PEER, "10.1.2.3"]),
            (86, not_allowed, &[PEER, PEER6, "10.1.2.3", "0.0.0.0", "::"]),
            (87, Expected::rule("edge"), &["192.0.2.64", "192.0.2.127", "192.0.2.255"]),
            (87, not_allowed, &["192.0.2.63", "192.0.2.128", "192.0.2.254", "192.0.3.0"]),
            (87, Expected::rule("edge"), &["2001:db8:8::", "2001:db8:f:ffff::"]),
            (87, not_allowed, &["2001:db8:7:ffff::", "2001:db8:10::"]),
            (88, Reason::PortClosed.into(), &["10.1.2.3", "2001:db8:1:2::3", PEER]),
            (79, Reason::PortClosed.into(), &["10.1.2.3", "2001:db8:1:2::3", PEER]),
            (80, Expected::rule("all"), &["192.0.2.1"]),
        ];
        for (port, expected, sources) in cases {
            for source in sources {
                kernel.expect(format!("{source} tcp/{port}"), &tcp(source, port), expected);
            }
        }
        kernel.expect("udp/80 from the host", &udp("10.1.2.3", 80), Expected::rule("all"));
        kernel.expect("udp/81 from the set", &udp("10.1.2.128", 81), Reason::PortClosed);
    });
}

/// What the kernel knows no socket of, on a port that a rule opens.
#[test]
fn out_of_state() {
    with_kernel(|kernel| {
        kernel.policy(
            "[[rule]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n[[rule]]\nname = \"peers\"\nports = [\"tcp/23\"]\nfrom = [\"192.0.2.0/24\", \"2001:db8:2::/48\"]\n",
        );
        // The bits CWR, ECE, URG and PSH ask for nothing.
        for flags in (0..32).flat_map(|flags| [flags, flags | 0xe0]) {
            let is_new = flags & 0b1_0111 == 0b0_0010;
            for (host, peer, other) in [(HOST, PEER, "192.0.2.1"), (HOST6, PEER6, "2001:db8:2::1")]
            {
                let segment = |source, port| {
                    frame().eth().ip(source, host).tcp(4000, port).flags(flags).build()
                };
                let admitted = |rule| {
                    if is_new {
                        Expected::rule(rule)
                    } else {
                        Expected::by(rule, Reason::OutOfState)
                    }
                };
                let what = |text| format!("{text} with flags {flags:#04x} from {peer}");
                kernel.expect(what("tcp/22"), &segment(peer, 22), admitted("ssh"));
                kernel.expect(what("tcp/23, let in"), &segment(other, 23), admitted("peers"));
                kernel.expect(what("tcp/23"), &segment(peer, 23), Reason::SourceNotAllowed);
                kernel.expect(what("tcp/24"), &segment(peer, 24), Reason::PortClosed);
            }
        }
    });
}

fn index(link: &sandbox::Link) -> u32 {
    match link.index() {
        Ok(index) => index,
        Err(error) => panic!("{error}"),
    }
}

fn on_each(kernel: &mut Kernel, links: &[(&str, u32)], port: u16, expected: [Expected; 4]) {
    let [a, b, loopback, unknown] = expected;
    for ((name, index), expected) in links.iter().zip([a, b]) {
        kernel.come_in(name, *index, false);
        kernel.expect(format!("tcp/{port} on {name}"), &tcp(PEER, port), expected);
        kernel.expect(format!("tcp/{port} on {name}, IPv6"), &tcp(PEER6, port), expected);
    }
    kernel.loopback(false);
    kernel.expect(format!("tcp/{port} on lo"), &tcp(PEER, port), loopback);
    kernel.come_in_unknown(links[2].1);
    kernel.expect(format!("tcp/{port} on one that is not guarded"), &tcp(PEER, port), unknown);
}

#[test]
fn interfaces() {
    with_kernel(|kernel| {
        let pair = |a, b| match Veth::new(
            (&kernel.namespace, a),
            (&kernel.namespace, b),
            VethOptions::default(),
        ) {
            Ok(pair) => pair,
            Err(error) => panic!("{error}"),
        };
        let (first, second) = (pair("nwa", "nwb"), pair("nwc", "nwd"));
        let links =
            [("nwa", index(&first.a)), ("nwc", index(&second.a)), ("nwd", index(&second.b))];
        kernel.policy(
            r#"
[[rule]]
name = "only-a"
ports = ["tcp/22"]
interfaces = ["nwa"]
[[rule]]
name = "both"
ports = ["tcp/80"]
interfaces = ["nwa", "nwc"]
[[rule]]
name = "all"
ports = ["tcp/443"]
[[rule]]
name = "shared-a"
ports = ["tcp/8080"]
interfaces = ["nwa"]
[[rule]]
name = "shared-c"
ports = ["tcp/8080"]
interfaces = ["nwc"]
[[rule]]
name = "not-yet"
ports = ["tcp/9000"]
interfaces = ["absent"]
"#,
        );
        let closed = Expected::from(Reason::PortClosed);
        let only = Expected::rule("only-a");
        on_each(kernel, &links, 22, [only, closed, closed, closed]);
        let both = Expected::rule("both");
        on_each(kernel, &links, 80, [both, both, closed, closed]);
        let all = Expected::rule("all");
        on_each(kernel, &links, 443, [all, all, all, all]);
        on_each(
            kernel,
            &links,
            8080,
            [Expected::rule("shared-a"), Expected::rule("shared-c"), closed, closed],
        );
        on_each(kernel, &links, 9000, [closed, closed, closed, closed]);
        // The next generation may put the same interface into another group.
        kernel
            .policy("[[rule]]\nname = \"only-c\"\nports = [\"tcp/22\"]\ninterfaces = [\"nwc\"]\n");
        on_each(kernel, &links, 22, [closed, Expected::rule("only-c"), closed, closed]);
        on_each(kernel, &links, 443, [closed, closed, closed, closed]);
        kernel.come_in("absent", links[0].1, false);
        kernel.policy(
            "[[rule]]\nname = \"not-yet\"\nports = [\"tcp/9000\"]\ninterfaces = [\"absent\"]\n",
        );
        kernel.expect("a name that came later", &tcp(PEER, 9000), Expected::rule("not-yet"));
    });
}

/// IPv4 sources stand in the tables as mapped IPv6 addresses, which a short IPv6
/// prefix holds: it does not let them in.
#[test]
fn a_family_that_is_not_named_stays_out() {
    with_kernel(|kernel| {
        kernel.policy(
            "[[rule]]\nname = \"six\"\nports = [\"tcp/1000\"]\nfrom = [\"::/1\", \"192.0.2.0/24\"]\n\
             [[rule]]\nname = \"all\"\nports = [\"tcp/2000\"]\n\
             [[rule]]\nname = \"some\"\nports = [\"tcp/2000\"]\nfrom = [\"::/16\", \"192.0.2.0/24\"]\n",
        );
        let v4 = |source, port| frame().eth().ipv4(source, HOST).tcp(4000, port).syn().build();
        let v6 = |source, port| frame().eth().ipv6(source, HOST6).tcp(4000, port).syn().build();
        for (what, packet, expected) in [
            ("named", v4("192.0.2.1", 1000), Expected::rule("six")),
            ("not named", v4("198.51.100.1", 1000), Reason::SourceNotAllowed.into()),
            ("named", v6("2001:db8::1", 1000), Expected::rule("six")),
            ("for all", v4("198.51.100.1", 2000), Expected::rule("all")),
            ("longer", v4("192.0.2.1", 2000), Expected::rule("some")),
            ("for all", v6("2001:db8::1", 2000), Expected::rule("all")),
        ] {
            kernel.expect(what, &packet, expected);
        }
    });
}
