//! The outcomes are the verdict's own, of the model.

use std::path::Path;

use super::*;
use crate::{
    capture::Link,
    compile::{Numbers, compile},
    model::Model,
    policy,
};

const POLICY: &str = r#"
interfaces = ["eth0", "wg0"]
[sources]
trusted = ["10.8.0.0/24"]
denied = ["192.0.2.0/24"]
[[rule]]
name = "ssh"
ports = ["tcp/22"]
from = ["203.0.113.7", "2001:db8:1::/48"]
[[rule]]
name = "ssh-net"
ports = ["tcp/22"]
from = ["203.0.113.0/24"]
[[rule]]
name = "p2p"
ports = ["tcp/15600", "udp/14626"]
per_source = { new_connections = { rate = "1/s", burst = 2 }, packets = { rate = "1/s" }, bytes = { rate = "50MB/s" } }
[[rule]]
name = "vpn"
ports = ["tcp/9000"]
interfaces = ["wg0"]
[[rule]]
name = "watched"
ports = ["tcp/7000"]
from = ["203.0.113.7"]
mode = "monitor"
[icmp]
echo = { rate = "1/s", burst = 1 }
"#;

struct Asked {
    policy: Policy,
    model: Model,
    interfaces: Numbers,
    rules: Numbers,
}

impl Asked {
    fn new(policy: &str) -> Self {
        let loaded = match policy::parse(policy, Path::new("/p.toml")) {
            Ok(loaded) => loaded,
            Err(errors) => panic!("{errors}"),
        };
        let (mut rules, mut interfaces) = (Numbers::of_rules(), Numbers::of_interfaces());
        let tables = match compile(&loaded.policy, &mut rules, &mut interfaces) {
            Ok(tables) => tables,
            Err(error) => panic!("{error}"),
        };
        Self { policy: loaded.policy, model: Model::new(tables), interfaces, rules }
    }

    fn ask(&mut self, text: &str) -> Explained {
        let packet: Packet = match text.parse() {
            Ok(packet) => packet,
            Err(error) => panic!("{text}: {error}"),
        };
        let frame = packet.frame(Link::Ethernet).unwrap_or_default();
        let interface = packet.interface.as_deref().and_then(|name| self.interfaces.get(name));
        self.model.interface = interface.unwrap_or(0);
        let outcome = self.model.judge(&frame);
        let name = |number| self.rules.iter().find(|(_, n)| *n == number).map(|(name, _)| name);
        let rule = outcome.rule.and_then(|rule| name(rule.get())).map(str::to_owned);
        let world = World { policy: &self.policy, bans: Vec::new(), is_private: true };
        explain(&world, &packet, frame.len(), &outcome, rule)
    }

    #[track_caller]
    fn says(&mut self, text: &str, reason: &str, why: &str) {
        let explained = self.ask(text);
        assert_eq!(explained.outcome.reason, reason, "{text}: {explained:?}");
        assert_eq!(explained.why.join(" "), why, "{text}");
    }
}

#[test]
fn each_reason_is_told_in_the_words_of_the_policy() {
    let mut asked = Asked::new(POLICY);
    for (text, reason, why) in [
        (
            "eth0: tcp 10.8.0.7:1 > 203.0.113.5:1",
            "trusted",
            "`[sources] trusted` has 10.8.0.0/24, which holds 10.8.0.7: what is trusted passes before any rule or limit.",
        ),
        (
            "eth0: tcp 192.0.2.9:1 > 203.0.113.5:22",
            "denied",
            "`[sources] denied` has 192.0.2.0/24, which holds 192.0.2.9: what is denied is dropped before any rule. To let it in, take that out, or trust the source.",
        ),
        (
            "eth0: tcp 203.0.113.7:1 > 203.0.113.5:22",
            "rule",
            "Rule `ssh` admits tcp/22 from 203.0.113.7, the longest prefix of the port's rules. No limit of the rule counts it.",
        ),
        (
            "eth0: tcp 203.0.113.8:1 > 203.0.113.5:22",
            "rule",
            "Rule `ssh-net` admits tcp/22 from 203.0.113.0/24, which holds 203.0.113.8, the longest prefix of the port's rules. No limit of the rule counts it.",
        ),
        (
            "eth0: tcp 198.51.100.9:1 > 203.0.113.5:22",
            "source_not_allowed",
            "tcp/22 is open to others, and none of them is 198.51.100.9: rule `ssh` from 203.0.113.7/32, 2001:db8:1::/48; rule `ssh-net` from 203.0.113.0/24. To let it in, add 198.51.100.9 to the `from` of one of them.",
        ),
        (
            "eth0: tcp 198.51.100.9:1 > 203.0.113.5:23",
            "port_closed",
            "No rule names tcp/23. To open it, add a `[[rule]]` with `ports = [\"tcp/23\"]`, and `from` with those who may use it.",
        ),
        (
            "eth0: tcp 198.51.100.9:1 > 203.0.113.5:9000 ack",
            "port_closed",
            "No rule names tcp/9000 on eth0, and it belongs to no connection of this host. Rule `vpn` names it, for wg0 alone. To open it, add a `[[rule]]` with `ports = [\"tcp/9000\"]`, and `from` with those who may use it.",
        ),
        (
            "wg0: tcp 198.51.100.9:1 > 203.0.113.5:9000",
            "rule",
            "Rule `vpn` admits tcp/9000 from everywhere. No limit of the rule counts it.",
        ),
        (
            "eth0: tcp 198.51.100.9:1 > 203.0.113.5:15600 ack",
            "out_of_state",
            "Rule `p2p` admits port and source, but only a bare SYN begins a connection, and this segment belongs to none that this host has: with `--config` there are none.",
        ),
        (
            "eth0: tcp 198.51.100.9:1 > 203.0.113.5:15600",
            "rule",
            "Rule `p2p` admits tcp/15600 from everywhere. It is within per_source new_connections 1/s burst 2.",
        ),
        (
            "eth0: udp 198.51.100.9:1 > 203.0.113.5:14626",
            "rule",
            "Rule `p2p` admits udp/14626 from everywhere. It is within per_source packets 1/s burst 1, per_source bytes 50MB/s burst 50MB.",
        ),
        (
            "eth0: udp 198.51.100.9:1 > 203.0.113.5:14626",
            "packet_rate",
            "198.51.100.9 has used up the per_source packets of rule `p2p`: 1/s burst 1.",
        ),
        (
            "eth0: udp [2001:db8:5::9]:1 > [2001:db8::1]:14626 frag 7,0,mf",
            "rule",
            "Rule `p2p` admits udp/14626 from everywhere. It is within per_source packets 1/s burst 1, per_source bytes 50MB/s burst 50MB.",
        ),
        (
            "eth0: udp 2001:db8:5::a > [2001:db8::1]:14626",
            "packet_rate",
            "2001:db8:5::/64 has used up the per_source packets of rule `p2p`: 1/s burst 1.",
        ),
        (
            "eth0: udp 198.51.100.9 > 203.0.113.5 frag 9,1480",
            "fragment",
            "A later fragment shares the verdict of its datagram's first, and no such first fragment has come lately.",
        ),
        (
            "eth0: icmp 198.51.100.9 > 203.0.113.5",
            "icmp",
            "`[icmp] echo` admits it, within 1/s burst 1 for each source.",
        ),
        (
            "eth0: icmp 198.51.100.9 > 203.0.113.5",
            "icmp_rate",
            "198.51.100.9 has used up `[icmp] echo`: 1/s burst 1.",
        ),
        (
            "eth0: icmp 198.51.100.9 > 203.0.113.5 type 13",
            "icmp_closed",
            "Of ICMP only echo requests, errors, and answers to this host's own echo requests come in; type 13 is none of these.",
        ),
        (
            "eth0: icmp 198.51.100.9 > 203.0.113.5 unreachable",
            "icmp_closed",
            "It quotes nothing that this host sent, and the policy has no `[icmp] errors`: add one, such as `errors = { rate = \"1000/s\" }`.",
        ),
        (
            "eth0: icmp6 fe80::1 > ff02::1 type 134",
            "essential",
            "It is neighbour or router discovery, without which the network does not work, and passes before any list or rule.",
        ),
        (
            "eth0: tcp 198.51.100.9:1 > 203.0.113.5:7000",
            "monitor",
            "tcp/7000 is open to others, and none of them is 198.51.100.9: rule `watched` from 203.0.113.7/32. To let it in, add 198.51.100.9 to the `from` of rule `watched`. Every rule of the port is in monitor mode and lets it pass; enforced, it would be dropped as source_not_allowed.",
        ),
    ] {
        asked.says(text, reason, why);
    }
}

#[test]
fn monitor_mode_tells_what_it_lets_through() {
    let mut asked = Asked::new("mode = \"monitor\"\n");
    let explained = asked.ask("udp 198.51.100.9:1 > 203.0.113.5:53");
    assert_eq!(
        (explained.outcome.verdict.as_deref(), explained.outcome.monitored.as_deref()),
        (Some("pass"), Some("port_closed"))
    );
    assert_eq!(
        explained.why.first().map(String::as_str),
        Some("No rule names udp/53, and it answers nothing that this host sent.")
    );
    assert_eq!(
        explained.why.last().map(String::as_str),
        Some(
            "The policy is in monitor mode and lets it pass; enforced, it would be dropped as port_closed."
        )
    );
    assert_eq!(explained.packet, "udp 198.51.100.9:1 > 203.0.113.5:53 len 42");
}

#[test]
fn bans_are_named_with_what_takes_them_back() {
    let policy = Policy::default();
    let ban = |prefix: &str, until: Option<&str>| Ban {
        prefix: prefix.parse().unwrap_or_default(),
        until: until.map(str::to_owned),
        reason: until.map(|_| "port scan".to_owned()),
    };
    let bans =
        vec![ban("198.51.100.0/24", Some("2026-01-02T03:04:05Z")), ban("198.51.100.9/32", None)];
    let world = World { policy: &policy, bans, is_private: false };
    let Ok(packet) = "tcp 198.51.100.9:1 > 203.0.113.5:22".parse::<Packet>() else { panic!() };
    let explained = explain(&world, &packet, 54, &Outcome::of(Reason::Banned), None);
    assert_eq!(
        explained.why,
        [
            "198.51.100.0/24 is banned until 2026-01-02T03:04:05Z (port scan): `nodewall unban 198.51.100.0/24` takes it back.",
            "198.51.100.9/32 is banned until it is taken back: `nodewall unban 198.51.100.9/32` takes it back.",
        ]
    );
}
