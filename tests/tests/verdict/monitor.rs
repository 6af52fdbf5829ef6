//! Monitor mode: of the whole policy, and of one rule.

use filter_common::Reason;
use nodewall_tests::verdict::{Expected, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

fn tcp(source: &str, port: u16) -> Vec<u8> {
    frame()
        .eth()
        .ip(source, if source.contains(':') { HOST6 } else { HOST })
        .tcp(4000, port)
        .syn()
        .build()
}

fn monitored(reason: Reason) -> Expected {
    Expected::from(reason).monitored()
}

#[test]
fn the_whole_policy() {
    with_kernel(|kernel| {
        kernel.policy(
            r#"
mode = "monitor"
[sources]
trusted = ["192.0.2.0/25"]
denied = ["192.0.2.128/25"]
[[rule]]
name = "ssh"
ports = ["tcp/22"]
from = ["203.0.113.0/24"]
[[rule]]
name = "limits"
ports = ["tcp/80", "udp/80"]
[rule.per_source]
new_connections = { rate = "1/h", burst = 2 }
packets = { rate = "1/h", burst = 2 }
bytes = { rate = "1B/h", burst = 1000 }
[icmp]
echo = { rate = "1/h", burst = 1 }
"#,
        );
        kernel.ban("198.18.0.0/24", None);
        // What passes anyway is counted as ever.
        kernel.expect("a rule", &tcp(PEER, 22), Expected::rule("ssh"));
        kernel.expect("trusted", &tcp("192.0.2.1", 23), Reason::Trusted);
        kernel.expect(
            "not IP",
            &frame().eth().ethertype(0x88cc).payload([0; 46]).build(),
            Reason::NotIp,
        );
        kernel.expect(
            "essential",
            &frame().eth().arp_request([2, 0, 0, 0, 0, 2], PEER, HOST).build(),
            Reason::Essential,
        );
        kernel.expect("denied", &tcp("192.0.2.129", 22), monitored(Reason::Denied));
        kernel.expect("banned", &tcp("198.18.0.1", 22), monitored(Reason::Banned));
        kernel.expect("port closed", &tcp(PEER, 23), monitored(Reason::PortClosed));
        kernel.expect("source not allowed", &tcp(PEER6, 22), monitored(Reason::SourceNotAllowed));
        kernel.expect(
            "malformed",
            &frame().eth().ipv4(PEER, HOST).version(5).tcp(1, 22).build(),
            monitored(Reason::Malformed),
        );
        kernel.expect(
            "three tags",
            &frame().eth().vlan(1).vlan(1).vlan(1).ipv4(PEER, HOST).tcp(1, 22).syn().build(),
            monitored(Reason::Malformed),
        );
        let ack = frame().eth().ipv4(PEER, HOST).tcp(4000, 22).ack().build();
        kernel.expect("out of state", &ack, Expected::by("ssh", Reason::OutOfState).monitored());
        let later = frame()
            .eth()
            .ipv4(PEER, HOST)
            .fragment(1, 9, false)
            .protocol(17)
            .payload([0; 8])
            .build();
        kernel.expect("a later fragment", &later, monitored(Reason::Fragment));
        kernel.expect(
            "a protocol",
            &frame().eth().ipv4(PEER, HOST).protocol(132).build(),
            monitored(Reason::ProtocolClosed),
        );
        let ping = frame().eth().ipv4(PEER, HOST).ping(1, 1).build();
        kernel.expect("echo", &ping, Reason::Icmp);
        kernel.expect("echo beyond its rate", &ping, monitored(Reason::IcmpRate));
        kernel.expect(
            "another ICMP",
            &frame().eth().ipv4(PEER, HOST).icmp(13, 0).build(),
            monitored(Reason::IcmpClosed),
        );
        let refused = |reason| Expected::refused("limits", reason).monitored();
        let udp =
            |length: usize| frame().eth().ipv4(PEER, HOST).udp(4000, 80).pad_to(length).build();
        for n in 0..2 {
            kernel.expect(format!("SYN {n}"), &tcp(PEER, 80), Expected::rule("limits"));
        }
        // What is refused takes no token, so it stays refused for its own reason.
        for n in 0..4 {
            kernel.expect(
                format!("SYN {n} beyond"),
                &tcp(PEER, 80),
                refused(Reason::ConnectionRate),
            );
        }
        kernel.expect("bytes", &udp(900), Expected::rule("limits"));
        for n in 0..4 {
            kernel.expect(format!("bytes, {n} beyond"), &udp(900), refused(Reason::ByteRate));
        }
        kernel.expect("the last token", &udp(100), Expected::rule("limits"));
        kernel.expect("packets", &udp(60), refused(Reason::PacketRate));
    });
}

#[test]
fn one_rule() {
    with_kernel(|kernel| {
        kernel.policy(
            r#"
[sources]
denied = ["192.0.2.128/25"]
[[rule]]
name = "shadow"
mode = "monitor"
ports = ["tcp/22", "udp/22"]
from = ["203.0.113.0/24"]
[rule.per_source]
new_connections = { rate = "1/h", burst = 1 }
packets = { rate = "1/h", burst = 1 }
[[rule]]
name = "mixed-shadow"
mode = "monitor"
ports = ["tcp/80"]
from = ["203.0.113.0/24"]
[rule.per_source]
new_connections = { rate = "1/h", burst = 1 }
[[rule]]
name = "mixed-real"
ports = ["tcp/80"]
from = ["2001:db8:9::/48"]
[rule.per_source]
new_connections = { rate = "1/h", burst = 1 }
[[rule]]
name = "both-a"
mode = "monitor"
ports = ["tcp/443"]
from = ["203.0.113.0/24"]
[[rule]]
name = "both-b"
mode = "monitor"
ports = ["tcp/443"]
from = ["2001:db8:9::/48"]
"#,
        );
        kernel.expect("a SYN", &tcp(PEER, 22), Expected::rule("shadow"));
        for _ in 0..3 {
            kernel.expect(
                "a SYN beyond",
                &tcp(PEER, 22),
                Expected::refused("shadow", Reason::ConnectionRate).monitored(),
            );
        }
        let udp = frame().eth().ipv4(PEER, HOST).udp(4000, 22).build();
        kernel.expect("UDP", &udp, Expected::rule("shadow"));
        kernel.expect(
            "UDP beyond",
            &udp,
            Expected::refused("shadow", Reason::PacketRate).monitored(),
        );
        let ack = frame().eth().ipv4(PEER, HOST).tcp(4000, 22).ack().build();
        kernel.expect("out of state", &ack, Expected::by("shadow", Reason::OutOfState).monitored());
        // Every rule of the port is in monitor mode, or it drops.
        for source in ["192.0.2.1", "2001:db8:8::1"] {
            kernel.expect(
                format!("22 from {source}"),
                &tcp(source, 22),
                monitored(Reason::SourceNotAllowed),
            );
            kernel.expect(
                format!("443 from {source}"),
                &tcp(source, 443),
                monitored(Reason::SourceNotAllowed),
            );
            kernel.expect(format!("80 from {source}"), &tcp(source, 80), Reason::SourceNotAllowed);
        }
        kernel.expect("443, IPv4", &tcp(PEER, 443), Expected::rule("both-a"));
        kernel.expect("443, IPv6", &tcp(PEER6, 443), Expected::rule("both-b"));
        for (source, rule, shadows) in [(PEER, "mixed-shadow", true), (PEER6, "mixed-real", false)]
        {
            kernel.expect(format!("80 from {source}"), &tcp(source, 80), Expected::rule(rule));
            let refused = Expected::refused(rule, Reason::ConnectionRate);
            let expected = if shadows { refused.monitored() } else { refused };
            kernel.expect(format!("80 from {source}, beyond"), &tcp(source, 80), expected);
        }
        // The rest of the policy is in force.
        kernel.expect("denied", &tcp("192.0.2.129", 22), Reason::Denied);
        kernel.expect("closed", &tcp(PEER, 23), Reason::PortClosed);
        kernel.expect(
            "malformed",
            &frame().eth().ipv4(PEER, HOST).version(5).tcp(1, 22).build(),
            Reason::Malformed,
        );
    });
}
