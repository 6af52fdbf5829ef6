//! Rates and connections, of a source and of a rule as a whole.

use std::net::Ipv4Addr;

use bench::flood::Sources;
use filter_common::Reason;

use super::{Case, OPEN, OPEN_UDP, Segment, everywhere, one};
use crate::peers::{self, Peer, Rules};

const SECTION: &str = "Limits";
/// Connections that a source may hold.
const HELD: usize = 8;

const PER_SOURCE: &str = r#"
[[rule]]
name = "p2p"
ports = ["tcp/15600", "udp/14626"]
[rule.per_source]
new_connections = { rate = "1/s", burst = 1 }
packets = { rate = "1/s", burst = 1 }
"#;

const TOTAL: &str = r#"
[[rule]]
name = "p2p"
ports = ["tcp/15600", "udp/14626"]
[rule.total]
new_connections = { rate = "1/s", burst = 1 }
packets = { rate = "1/s", burst = 1 }
"#;

/// The same, with limits of each source, which are looked at first and which
/// none of many sources exceeds.
const TOTAL_AND_SOURCES: &str = r#"
[[rule]]
name = "p2p"
ports = ["tcp/15600", "udp/14626"]
[rule.per_source]
new_connections = { rate = "5/s", burst = 20 }
packets = { rate = "2000/s", burst = 4000 }
[rule.total]
new_connections = { rate = "1/s", burst = 1 }
packets = { rate = "1/s", burst = 1 }
"#;

const CONNECTIONS: &str = r#"
[[rule]]
name = "p2p"
ports = ["tcp/15600"]
[rule.per_source]
connections = 8
"#;

pub fn cases(many: &[Ipv4Addr]) -> Vec<Case> {
    let many = Sources::Listed(many.to_vec());
    let syn = |name, policy: &str| Case {
        policy: policy.to_owned(),
        ..Case::new(SECTION, name, Segment::Syn(OPEN), Reason::ConnectionRate)
    };
    let udp = |name, policy: &str| Case {
        policy: policy.to_owned(),
        ..Case::new(SECTION, name, Segment::Udp(OPEN_UDP), Reason::PacketRate)
    };
    vec![
        Case {
            sources: one(),
            goal: Some(0.65),
            peers: of_source("tcp dport 15600 tcp flags syn / fin,syn,rst,ack", SYN),
            ..syn("SYN from one source over its limit", PER_SOURCE)
        },
        Case {
            sources: many.clone(),
            peers: of_source("tcp dport 15600 tcp flags syn / fin,syn,rst,ack", SYN),
            ..syn("SYN from 64k sources over their limits", PER_SOURCE)
        },
        Case {
            sources: everywhere(),
            goal: Some(0.5),
            peers: of_all("tcp dport 15600 tcp flags syn / fin,syn,rst,ack", SYN),
            ..syn("SYN from 16 million sources over the total of their port", TOTAL)
        },
        Case {
            sources: everywhere(),
            goal: Some(0.5),
            ..syn(
                "SYN from 16 million sources over the total, sources limited too",
                TOTAL_AND_SOURCES,
            )
        },
        Case {
            sources: one(),
            goal: Some(0.6),
            peers: of_source("udp dport 14626", UDP),
            ..udp("UDP from one source over its packet limit", PER_SOURCE)
        },
        Case {
            sources: many,
            peers: of_source("udp dport 14626", UDP),
            ..udp("UDP from 64k sources over their packet limits", PER_SOURCE)
        },
        Case {
            sources: everywhere(),
            goal: Some(0.6),
            peers: of_all("udp dport 14626", UDP),
            ..udp("UDP from 16 million sources over the total of their port", TOTAL)
        },
        Case {
            sources: everywhere(),
            goal: Some(0.6),
            ..udp(
                "UDP from 16 million sources over the total, sources limited too",
                TOTAL_AND_SOURCES,
            )
        },
        Case {
            sources: Sources::Listed(vec![sandbox::PEER_IPV4]),
            policy: CONNECTIONS.to_owned(),
            connections: HELD,
            peers: vec![
                Peer::nft("nftables, input with conntrack, ct count", peers::INPUT, &ct_count()),
                Peer::iptables("iptables, input with conntrack, connlimit", "", CONNLIMIT),
            ],
            ..Case::new(
                SECTION,
                "SYN from a source that holds its 8 connections",
                Segment::Syn(OPEN),
                Reason::ConnectionLimit,
            )
        },
    ]
}

const SYN: &str = "-p tcp --dport 15600 --syn";
const UDP: &str = "-p udp --dport 14626";

/// What is over one packet a second from its source, drops.
fn of_source(nft: &str, iptables: &str) -> Vec<Peer> {
    let rules = Rules {
        sets: "set seen { type ipv4_addr; size 1048576; flags dynamic,timeout; timeout 1m; }"
            .to_owned(),
        rules: format!(
            "{nft} add @seen {{ ip saddr limit rate over 1/second burst 1 packets }} drop"
        ),
    };
    let hashlimit = format!(
        "*raw\n-A PREROUTING {iptables} -m hashlimit --hashlimit-name seen --hashlimit-mode srcip \
         --hashlimit-above 1/sec --hashlimit-burst 1 --hashlimit-htable-size 65536 \
         --hashlimit-htable-max 1048576 -j DROP\nCOMMIT\n"
    );
    vec![
        Peer::nft("nftables, netdev ingress, limit of each source", peers::INGRESS, &rules),
        Peer::nft("nftables, raw prerouting, limit of each source", peers::RAW, &rules),
        Peer::iptables("iptables, raw prerouting, hashlimit", "", &hashlimit),
    ]
}

/// What is over one packet a second from all of them, drops.
fn of_all(nft: &str, iptables: &str) -> Vec<Peer> {
    let rules = Rules {
        sets: String::new(),
        rules: format!("{nft} limit rate over 1/second burst 1 packets drop"),
    };
    let limit = format!(
        "*raw\n-A PREROUTING {iptables} -m limit --limit 1/sec --limit-burst 1 -j ACCEPT\n\
         -A PREROUTING {iptables} -j DROP\nCOMMIT\n"
    );
    vec![
        Peer::nft("nftables, netdev ingress, limit", peers::INGRESS, &rules),
        Peer::iptables("iptables, raw prerouting, limit", "", &limit),
    ]
}

fn ct_count() -> Rules {
    Rules {
        sets: "set held { type ipv4_addr; size 65536; flags dynamic; }".to_owned(),
        rules: "ct state established,related accept
                tcp dport 15600 ct state new add @held { ip saddr ct count over 8 } drop"
            .to_owned(),
    }
}

const CONNLIMIT: &str = "*filter
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -p tcp --dport 15600 --syn -m connlimit --connlimit-above 8 -j DROP
COMMIT
";
