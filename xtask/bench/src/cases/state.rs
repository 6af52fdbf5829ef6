//! What belongs to nothing: segments of no connection, fragments of no datagram.

use std::net::Ipv4Addr;

use bench::flood::Sources;
use filter_common::Reason;

use super::{CLOSED, Case, OPEN, Segment};
use crate::peers::{self, Peer, Rules};

const SECTION: &str = "State";

const POLICY: &str = r#"
[[rule]]
name = "p2p"
ports = ["tcp/15600", "udp/14626"]
"#;

pub fn cases(many: &[Ipv4Addr]) -> Vec<Case> {
    let case = |name, segment, reason| Case {
        sources: Sources::Listed(many.to_vec()),
        policy: POLICY.to_owned(),
        ..Case::new(SECTION, name, segment, reason)
    };
    vec![
        Case {
            peers: with_conntrack(),
            ..case(
                "ACK out of state to an open port, 64k sources",
                Segment::Ack(OPEN),
                Reason::OutOfState,
            )
        },
        Case {
            goal: Some(0.8),
            peers: with_conntrack(),
            ..case(
                "ACK to a closed port that no connection is from, 64k sources",
                Segment::Ack(CLOSED),
                Reason::PortClosed,
            )
        },
        Case {
            goal: Some(0.65),
            peers: with_conntrack(),
            ..case(
                "ACK to a closed port that a connection of this host is from, 64k sources",
                Segment::AckToOwnPort,
                Reason::PortClosed,
            )
        },
        Case {
            peers: with_conntrack(),
            ..case(
                "fragments whose first was never seen, 64k sources",
                Segment::Later,
                Reason::Fragment,
            )
        },
    ]
}

/// Connection tracking that takes no segment for a connection's middle
/// (`nf_conntrack_tcp_loose`), and puts fragments together.
fn with_conntrack() -> Vec<Peer> {
    let rules = Rules {
        sets: String::new(),
        rules: "ct state established,related accept
                ct state invalid drop
                tcp dport { 22, 15600 } accept
                udp dport 14626 accept
                drop"
            .to_owned(),
    };
    let strict = "net/netfilter/nf_conntrack_tcp_loose";
    vec![
        Peer::nft("nftables, prerouting with conntrack", peers::MANGLE, &rules)
            .with_parameter(strict, "0"),
        Peer::iptables("iptables, input with conntrack", "", IPTABLES).with_parameter(strict, "0"),
    ]
}

const IPTABLES: &str = "*filter
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -p tcp --dport 15600 -j ACCEPT
-A INPUT -j DROP
COMMIT
";
