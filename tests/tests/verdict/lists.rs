//! Trusted and denied sources, at every nesting of prefix lengths.

use std::{collections::BTreeSet, net::IpAddr};

use filter_common::Reason;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nodewall_tests::verdict::{Kernel, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6};

fn syn(source: IpAddr) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => frame().eth().ipv4(source, HOST).tcp(4000, 22).syn().build(),
        IpAddr::V6(source) => frame().eth().ipv6(source, HOST6).tcp(4000, 22).syn().build(),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The first and the last address of a prefix, and their neighbours outside.
pub fn edges(net: &IpNet) -> [Option<IpAddr>; 4] {
    let (first, last) = (number(net.network()), number(net.broadcast()));
    [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)].map(|value| match net {
        IpNet::V4(_) => {
            value.and_then(|value| u32::try_from(value).ok()).map(|value| IpAddr::V4(value.into()))
        }
        IpNet::V6(_) => value.map(|value| IpAddr::V6(value.into())),
    })
}

/// Puts both lists in force and judges every address at the edge of a prefix.
fn try_lists(kernel: &mut Kernel, trusted: &[IpNet], denied: &[IpNet]) {
    let text =
        |nets: &[IpNet]| nets.iter().map(|net| format!("\"{net}\"")).collect::<Vec<_>>().join(", ");
    kernel.policy(&format!(
        "[sources]\ntrusted = [{}]\ndenied = [{}]\n",
        text(trusted),
        text(denied)
    ));
    let addresses: BTreeSet<IpAddr> =
        trusted.iter().chain(denied).flat_map(edges).flatten().collect();
    for source in addresses {
        let inside = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&source));
        let mapped = matches!(source, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let expected = match (mapped, inside(trusted), inside(denied)) {
            (true, ..) => Reason::Malformed,
            (_, true, _) => Reason::Trusted,
            (_, _, true) => Reason::Denied,
            _ => Reason::PortClosed,
        };
        kernel.expect(format!("a SYN from {source}"), &syn(source), expected);
    }
}

/// Every pair of lengths in a block of its own, once trusted outside, once denied outside.
fn nestings(lengths: &[u8], prefix: impl Fn(u32, u8) -> IpNet) -> (Vec<IpNet>, Vec<IpNet>) {
    let (mut trusted, mut denied) = (Vec::new(), Vec::new());
    let mut block = 0;
    for (index, outer) in lengths.iter().enumerate() {
        for inner in &lengths[index..] {
            for (a, b) in [(outer, inner), (inner, outer)] {
                trusted.push(prefix(block, *a));
                denied.push(prefix(block, *b));
                block += 1;
            }
        }
    }
    (trusted, denied)
}

#[test]
fn nested_ipv4() {
    with_kernel(|kernel| {
        let prefix = |block: u32, length| {
            let address = (block + 20) << 24 | 0x5a_a5_5a;
            IpNet::V4(Ipv4Net::new_assert(address.into(), length).trunc())
        };
        let (trusted, denied) = nestings(&[8, 15, 23, 24, 25, 31, 32], prefix);
        try_lists(kernel, &trusted, &denied);
    });
}

#[test]
fn nested_ipv6() {
    with_kernel(|kernel| {
        let prefix = |block: u32, length| {
            let address = u128::from(0x2000 + block) << 112 | 0x5aa5_5aa5_5aa5_5aa5_5aa5_5aa5_5aa5;
            IpNet::V6(Ipv6Net::new_assert(address.into(), length).trunc())
        };
        let (trusted, denied) = nestings(&[16, 31, 32, 33, 48, 64, 127, 128], prefix);
        try_lists(kernel, &trusted, &denied);
    });
}

pub fn nets(list: &[&str]) -> Vec<IpNet> {
    list.iter()
        .map(|text| text.parse().unwrap_or_else(|error| panic!("`{text}` is no prefix: {error}")))
        .collect()
}

#[test]
fn short_prefixes_and_neighbours() {
    with_kernel(|kernel| {
        // Below a /12 an IPv6 prefix is beyond the filter in front of the table.
        try_lists(kernel, &nets(&["2a00::/14"]), &nets(&["2a04::/14", "2a02:1::/32", "4000::/3"]));
        // One /24, its addresses apart: two bits each, at every place of a word.
        let every_third: Vec<String> =
            (0..=255).step_by(3).map(|last| format!("192.0.2.{last}/32")).collect();
        let trusted: Vec<&str> = every_third.iter().map(String::as_str).collect();
        try_lists(kernel, &nets(&trusted), &nets(&["192.0.2.16/28", "192.0.2.128/25"]));
        // Everything, but for a little.
        try_lists(
            kernel,
            &nets(&["192.0.2.7/32", "2001:db8::7/128"]),
            &nets(&["0.0.0.0/0", "::/0"]),
        );
        // One family alone, and nothing again.
        try_lists(kernel, &[], &nets(&["2001:db8::/32"]));
        try_lists(kernel, &[], &nets(&["255.255.255.255/32", "0.0.0.0/32"]));
        try_lists(kernel, &[], &[]);
        kernel.expect("what was listed before", &syn([192, 0, 2, 7].into()), Reason::PortClosed);
    });
}

/// Lists hold for every protocol, and for what has no ports; what cannot be
/// read comes before them.
#[test]
fn every_protocol() {
    with_kernel(|kernel| {
        kernel.policy(
            "[sources]\ntrusted = [\"192.0.2.0/25\"]\ndenied = [\"192.0.2.128/25\"]\n[[rule]]\nname = \"all\"\nports = [\"tcp/1-65535\", \"udp/1-65535\"]\n[icmp]\necho = { rate = \"1k/s\" }\n[protocols]\nallow = [\"esp\"]\n",
        );
        for (source, expected) in [("192.0.2.1", Reason::Trusted), ("192.0.2.129", Reason::Denied)]
        {
            let ip = || frame().eth().ipv4(source, HOST);
            kernel.expect(format!("SYN from {source}"), &ip().tcp(1, 22).syn().build(), expected);
            kernel.expect(format!("ACK from {source}"), &ip().tcp(1, 22).ack().build(), expected);
            kernel.expect(format!("UDP from {source}"), &ip().udp(1, 22).build(), expected);
            kernel.expect(format!("echo from {source}"), &ip().ping(1, 1).build(), expected);
            kernel.expect(format!("ESP from {source}"), &ip().protocol(50).build(), expected);
            kernel.expect(format!("SCTP from {source}"), &ip().protocol(132).build(), expected);
            let later = ip().fragment(1, 9, false).protocol(17).payload([0; 8]).build();
            kernel.expect(format!("a later fragment from {source}"), &later, expected);
            let broken = ip().header_words(4).tcp(1, 22).syn().build();
            kernel.expect(format!("a broken packet from {source}"), &broken, Reason::Malformed);
        }
    });
}
