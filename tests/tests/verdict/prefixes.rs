//! Prefixes of rules and their neighbours, of every length, behind two ports.

use std::{collections::BTreeSet, net::IpAddr};

use filter_common::Reason;
use ipnet::IpNet;
use nodewall_tests::verdict::{Expected, Kernel, with_kernel};
use sandbox::packet::frame;

use crate::{
    common::{HOST, HOST6},
    lists::{edges, nets},
};

fn syn(source: IpAddr, port: u16) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => frame().eth().ipv4(source, HOST).tcp(4000, port).syn().build(),
        IpAddr::V6(source) => frame().eth().ipv6(source, HOST6).tcp(4000, port).syn().build(),
    }
}

fn rule(name: &str, port: u16, from: &[IpNet]) -> String {
    let from: Vec<String> = from.iter().map(|net| format!("\"{net}\"")).collect();
    let from = from.join(", ");
    format!("[[rule]]\nname = \"{name}\"\nports = [\"tcp/{port}\"]\nfrom = [{from}]\n")
}

/// Puts a rule for each of two ports in force, and asks at both for every address at
/// the edge of a prefix of either.
fn try_ports(kernel: &mut Kernel, one: &[IpNet], other: &[IpNet]) {
    kernel.policy(&(rule("one", 22, one) + &rule("other", 80, other)));
    let sources: BTreeSet<IpAddr> = one.iter().chain(other).flat_map(edges).flatten().collect();
    for source in sources {
        for (name, port, from) in [("one", 22, one), ("other", 80, other)] {
            let expected = if from.iter().any(|net| net.contains(&source)) {
                Expected::rule(name)
            } else {
                Reason::SourceNotAllowed.into()
            };
            let what = format!("{source} to tcp/{port}, for {from:?}");
            kernel.expect(what, &syn(source, port), expected);
        }
    }
}

/// Of both families, by length, apart from one another.
const BY_LENGTH: [&str; 17] = [
    "0.0.0.0/0",
    "128.0.0.0/1",
    "10.2.0.0/15",
    "10.5.0.0/16",
    "10.7.128.0/17",
    "10.9.1.0/24",
    "10.11.1.6/31",
    "10.13.1.7/32",
    "::/0",
    "8000::/1",
    "2a00:2::/31",
    "2a00:5::/32",
    "2a00:7:8000::/33",
    "2a00:9:1:2::/63",
    "2a00:b:1:3::/64",
    "2a00:d:1:3:8000::/65",
    "2a00:f::1/128",
];

#[test]
fn of_one_length_alone() {
    with_kernel(|kernel| {
        for text in BY_LENGTH {
            // The other port's is a neighbour of the same length, or of all.
            let net = nets(&[text]);
            let beside = edges(&net[0])[2].unwrap_or_else(|| net[0].broadcast());
            let beside = IpNet::new(beside, net[0].prefix_len()).map(|net| net.trunc());
            try_ports(kernel, &net, &[beside.unwrap_or(net[0])]);
        }
    });
}

#[test]
fn of_many_lengths_together() {
    with_kernel(|kernel| {
        let all: Vec<IpNet> = nets(&BY_LENGTH);
        let all: Vec<IpNet> = all.into_iter().filter(|net| net.prefix_len() > 1).collect();
        let (ipv4, ipv6): (Vec<IpNet>, Vec<IpNet>) =
            all.iter().partition(|net| net.addr().is_ipv4());
        try_ports(kernel, &ipv4, &ipv6);
        try_ports(kernel, &all, &ipv4);
        for (from, to) in [(0, 3), (1, 5), (3, 8), (6, 12), (9, 13)] {
            try_ports(kernel, &all[from..to.min(all.len())], &all[..from.max(1)]);
        }
        // With a rule for everyone else behind one of them.
        try_ports(kernel, &nets(&["0.0.0.0/0", "::/0"]), &all);
    });
}

/// So many that the filter has many words; the next policy has few again.
#[test]
fn of_many_rules() {
    with_kernel(|kernel| {
        let odd: Vec<IpNet> = (1..600_u32)
            .step_by(2)
            .flat_map(|n| {
                let [.., a, b] = n.to_be_bytes();
                nets(&[&format!("172.{a}.{b}.0/24"), &format!("2a00:{n:x}::/32")])
            })
            .collect();
        try_ports(kernel, &odd, &nets(&["172.0.0.0/17", "2a00::/16"]));
        try_ports(kernel, &odd[..2], &odd[2..4]);
    });
}
