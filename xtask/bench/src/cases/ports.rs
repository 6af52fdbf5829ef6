//! Ports that are closed, and one that is open.

use std::net::Ipv4Addr;

use bench::flood::Sources;
use filter_common::Reason;

use super::{CLOSED, Case, Fate, OPEN_UDP, Random, Segment, listed, one};
use crate::peers::{self, Peer, XdpFilter};

const SECTION: &str = "Ports";

const POLICY: &str = r#"
[[rule]]
name = "p2p"
ports = ["tcp/15600", "udp/14626"]
"#;

/// What each peer says to "these ports are open, all others closed".
fn all_peers() -> Vec<Peer> {
    vec![
        Peer::xdp_filter(XdpFilter::OpenPorts),
        Peer::nft("nftables, netdev ingress", peers::INGRESS, &open_ports()),
        Peer::nft("nftables, raw prerouting", peers::RAW, &open_ports()),
        Peer::nft("nftables, input with conntrack", peers::INPUT, &stateful()),
        Peer::iptables("iptables + ipset, raw prerouting", IPSET, RAW),
        Peer::iptables("iptables + ipset, input with conntrack", IPSET, INPUT),
    ]
}

fn fastest_peers() -> Vec<Peer> {
    all_peers().into_iter().take(2).collect()
}

fn open_ports() -> peers::Rules {
    peers::Rules {
        sets: "set tcp_open { type inet_service; elements = { 22, 15600 }; }
               set udp_open { type inet_service; elements = { 14626 }; }"
            .to_owned(),
        rules: "tcp dport != @tcp_open drop\nudp dport != @udp_open drop".to_owned(),
    }
}

fn stateful() -> peers::Rules {
    let peers::Rules { sets, .. } = open_ports();
    let rules = "ct state established,related accept
                 ct state invalid drop
                 tcp dport @tcp_open accept
                 udp dport @udp_open accept
                 drop";
    peers::Rules { sets, rules: rules.to_owned() }
}

const IPSET: &str = "create tcp_open bitmap:port range 0-65535
create udp_open bitmap:port range 0-65535
add tcp_open 22
add tcp_open 15600
add udp_open 14626
";

const RAW: &str = "*raw
-A PREROUTING -p tcp -m set ! --match-set tcp_open dst -j DROP
-A PREROUTING -p udp -m set ! --match-set udp_open dst -j DROP
COMMIT
";

const INPUT: &str = "*filter
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -p tcp -m set --match-set tcp_open dst -j ACCEPT
-A INPUT -p udp -m set --match-set udp_open dst -j ACCEPT
-A INPUT -j DROP
COMMIT
";

pub fn cases(random: &mut Random, many: &[Ipv4Addr]) -> Vec<Case> {
    let many = Sources::Listed(many.to_vec());
    let case = |name, segment| Case {
        sources: many.clone(),
        policy: POLICY.to_owned(),
        ..Case::new(SECTION, name, segment, Reason::PortClosed)
    };
    let denied = random.prefixes(1_000, 16..=32);
    vec![
        Case {
            goal: Some(0.85),
            peers: all_peers(),
            ..case("SYN to a closed port, 64k sources", Segment::Syn(CLOSED))
        },
        Case {
            policy: format!(
                "[sources]\ntrusted = [\"10.8.0.0/24\"]\ndenied = [{}]\n{POLICY}",
                listed(&denied, "\"")
            ),
            bans: random.addresses(1_000),
            goal: Some(0.6),
            ..case(
                "the same, with 1,000 denied prefixes, 1,000 bans, a trusted prefix",
                Segment::Syn(CLOSED),
            )
        },
        Case {
            goal: Some(0.8),
            peers: fastest_peers(),
            ..case("UDP to a closed port, 64k sources", Segment::Udp(53))
        },
        Case {
            peers: fastest_peers(),
            ..case("SYN to a closed port behind a VLAN tag, 64k sources", Segment::VlanSyn(CLOSED))
        },
        Case {
            peers: fastest_peers(),
            ..case(
                "SYN to a closed port behind two IPv6 extension headers, 64k sources",
                Segment::Ipv6Syn(CLOSED),
            )
        },
        Case {
            sources: one(),
            fate: Fate::Passes,
            reason: Reason::Rule,
            peers: all_peers(),
            ..case("UDP to an open port, 32k flows, to a socket", Segment::Udp(OPEN_UDP))
        },
    ]
}
