//! Many rules: each of a port and a prefix of its own.

use std::fmt::Write as _;

use bench::flood::Sources;
use filter_common::Reason;
use ipnet::Ipv4Net;

use super::{Case, Random, Segment, listed};
use crate::peers::{self, Peer};

const SECTION: &str = "Rules";
/// Rules that share a port.
const PER_PORT: u32 = 10;
const FIRST_PORT: u32 = 1_000;

pub fn cases(random: &mut Random) -> Vec<Case> {
    let elsewhere = [Ipv4Net::new_assert([203, 0, 0, 0].into(), 8)];
    let elsewhere = Sources::Listed(random.members(&elsewhere));
    let mut cases = Vec::new();
    for (count, text) in [(10, "10"), (1_000, "1,000"), (10_000, "10,000")] {
        let rules: Vec<(u32, Ipv4Net)> = (0..count).map(rule).collect();
        let networks: Vec<Ipv4Net> = rules.iter().map(|(_, network)| *network).collect();
        let others = Sources::Listed(random.members(&networks));
        let case = |name: String, sources, peers| Case {
            sources,
            policy: policy(&rules),
            peers,
            ..Case::new(SECTION, &name, Segment::Syn(FIRST_PORT as u16), Reason::SourceNotAllowed)
        };
        cases.push(case(
            format!("SYN from 64k sources that none of {text} rules names"),
            elsewhere.clone(),
            peers(&rules),
        ));
        if count > PER_PORT {
            cases.push(case(
                format!("SYN from 64k sources that {text} rules name, most for another port"),
                others,
                Vec::new(),
            ));
        }
    }
    cases
}

fn rule(number: u32) -> (u32, Ipv4Net) {
    let [.., a, b] = number.to_be_bytes();
    (FIRST_PORT + number / PER_PORT, Ipv4Net::new_assert([172, a, b, 0].into(), 24))
}

fn policy(rules: &[(u32, Ipv4Net)]) -> String {
    let mut text = String::new();
    for (number, (port, network)) in rules.iter().enumerate() {
        let _ = writeln!(
            text,
            "[[rule]]\nname = \"rule-{number}\"\nports = [\"tcp/{port}\"]\nfrom = [\"{network}\"]",
        );
    }
    text
}

fn peers(rules: &[(u32, Ipv4Net)]) -> Vec<Peer> {
    let pairs: Vec<String> =
        rules.iter().map(|(port, network)| format!("{port} . {network}")).collect();
    let nft = peers::Rules {
        sets: format!(
            "set open {{ type inet_service . ipv4_addr; flags interval; elements = {{ {} }}; }}",
            listed(&pairs, "")
        ),
        rules: "tcp dport . ip saddr != @open drop".to_owned(),
    };
    let mut iptables = String::from("*raw\n");
    for (port, network) in rules {
        let _ = writeln!(iptables, "-A PREROUTING -p tcp --dport {port} -s {network} -j ACCEPT");
    }
    iptables.push_str("-A PREROUTING -p tcp -j DROP\nCOMMIT\n");
    vec![
        Peer::nft("nftables, netdev ingress, a set of port and prefix", peers::INGRESS, &nft),
        Peer::iptables("iptables, raw prerouting, rule by rule", "", &iptables),
    ]
}
