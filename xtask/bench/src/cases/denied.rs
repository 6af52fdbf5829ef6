//! Sources that are denied: bans of addresses, and lists of prefixes.

use std::{
    fmt::{Display, Write as _},
    net::Ipv4Addr,
};

use bench::flood::Sources;
use filter_common::Reason;
use ipnet::Ipv4Net;

use super::{CLOSED, Case, Random, Segment, listed};
use crate::peers::{self, Peer, XdpFilter};

const SECTION: &str = "Denied sources";
/// As many addresses as xdp-filter has room for.
const ROOM_OF_XDP_FILTER: usize = 10_000;
/// Power of two, as the generator wants them.
const DRAWN: usize = 1 << 20;

pub fn cases(random: &mut Random) -> Vec<Case> {
    let bans = random.addresses(1_000_000);
    let mut cases = Vec::new();
    for (count, text) in [(100, "100"), (10_000, "10,000"), (1_000_000, "1,000,000")] {
        // Spread over all of them, as they are in order.
        let banned: Vec<_> = bans.iter().copied().step_by(bans.len() / count).collect();
        cases.push(Case {
            sources: Sources::Listed(vec![banned[count / 2]]),
            ..addresses(format!("banned, one source among {text} bans"), banned.clone())
        });
        cases.push(Case {
            sources: Sources::Listed(banned.iter().copied().cycle().take(DRAWN).collect()),
            goal: (count == 1_000_000).then_some(0.4),
            ..addresses(format!("banned, sources drawn from {text} bans"), banned)
        });
    }
    for (name, networks) in [
        ("denied, sources drawn from 100 prefixes of /16 to /24", random.prefixes(100, 16..=24)),
        (
            "denied, sources drawn from 100,000 prefixes of /16 to /24",
            random.prefixes(100_000, 16..=24),
        ),
        (
            "denied, sources drawn from 100,000 prefixes of /25 to /32",
            random.prefixes(100_000, 25..=32),
        ),
    ] {
        cases.push(prefixes(name, &networks, random));
    }
    cases
}

fn addresses(name: String, banned: Vec<Ipv4Addr>) -> Case {
    let rules = |kind: &str| peers::Rules {
        sets: format!(
            "set denied {{ type ipv4_addr; {kind} elements = {{ {} }}; }}",
            listed(&banned, "")
        ),
        rules: "ip saddr @denied drop".to_owned(),
    };
    let mut peers = vec![
        Peer::nft("nftables, netdev ingress, a set", peers::INGRESS, &rules("")),
        Peer::nft("nftables, raw prerouting, a set", peers::RAW, &rules("")),
        Peer::iptables("iptables + ipset, raw prerouting", &ipset("hash:ip", &banned), IPTABLES),
    ];
    if banned.len() <= ROOM_OF_XDP_FILTER {
        peers.insert(0, Peer::xdp_filter(XdpFilter::Denied(banned.clone())));
    }
    Case { bans: banned, peers, ..Case::new(SECTION, &name, Segment::Syn(CLOSED), Reason::Banned) }
}

fn prefixes(name: &str, networks: &[Ipv4Net], random: &mut Random) -> Case {
    let rules = peers::Rules {
        sets: format!(
            "set denied {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {} }}; }}",
            listed(networks, "")
        ),
        rules: "ip saddr @denied drop".to_owned(),
    };
    Case {
        sources: Sources::Listed(random.members(networks)),
        policy: format!("[sources]\ndenied = [{}]\n", listed(networks, "\"")),
        goal: (networks.len() > 100).then_some(0.5),
        peers: vec![
            Peer::nft("nftables, netdev ingress, an interval set", peers::INGRESS, &rules),
            Peer::iptables(
                "iptables + ipset, raw prerouting",
                &ipset("hash:net", networks),
                IPTABLES,
            ),
        ],
        ..Case::new(SECTION, name, Segment::Syn(CLOSED), Reason::Denied)
    }
}

fn ipset<T: Display>(kind: &str, members: &[T]) -> String {
    let mut text = format!("create denied {kind} hashsize 524288 maxelem 2000000\n");
    for member in members {
        let _ = writeln!(text, "add -exist denied {member}");
    }
    text
}

const IPTABLES: &str = "*raw
-A PREROUTING -m set --match-set denied src -j DROP
COMMIT
";
