//! Every packet is counted once, with its bytes.

use nodewall_tests::e2e::{Guarded, eventually, ready, rule_for};
use sandbox::{
    HOST_IPV4, HOST_IPV6, Namespace, PEER_IPV4, PEER_IPV6, RawSocket, Sandbox, Tag, Veth,
    VethOptions, packet::Ethernet, packet::Frame,
};

/// Frames of every kind, none of which makes the host say something that the
/// peer would answer.
fn frames(eth: impl Fn() -> Frame<Ethernet>) -> Vec<Vec<u8>> {
    let ipv4 = || eth().ipv4(PEER_IPV4, HOST_IPV4);
    let ipv6 = || eth().ipv6(PEER_IPV6, HOST_IPV6);
    vec![
        // Of no interest to the filter.
        eth().ethertype(0x88b5).payload([1; 46]).build(),
        eth().ethertype(0x88cc).payload([1; 800]).build(),
        // Essential.
        eth().arp_request([2, 0, 0, 0, 0, 9], [192, 0, 2, 9], [192, 0, 2, 10]).pad_to(60).build(),
        eth().ipv4("0.0.0.0", "255.255.255.255").udp(67, 68).payload([0; 300]).build(),
        // Rules, closed ports, out of state, by every form of header.
        ipv4().tcp(4000, 80).syn().build(),
        ipv4().tcp(4000, 81).syn().build(),
        ipv4().tcp(4000, 80).ack().payload([5; 900]).build(),
        ipv4().tcp(4000, 80).syn().ack().build(),
        ipv4().udp(4000, 53).payload([5; 1000]).build(),
        ipv4().udp(4000, 54).build(),
        ipv4().options([1; 40]).udp(4000, 53).build(),
        eth().vlan(5).ipv4(PEER_IPV4, HOST_IPV4).udp(4000, 54).build(),
        eth().vlan_tag(Tag::Service, 5).vlan(6).ipv6(PEER_IPV6, HOST_IPV6).udp(1, 54).build(),
        eth().pppoe(9).ipv4(PEER_IPV4, HOST_IPV4).udp(4000, 54).payload([3; 70]).build(),
        ipv6().hop_by_hop([]).destination_options([]).tcp(4000, 81).syn().build(),
        // Other sources, other protocols.
        eth().ipv4("203.0.113.1", HOST_IPV4).tcp(1, 80).syn().build(),
        eth().ipv4("203.0.113.3", HOST_IPV4).tcp(1, 80).syn().build(),
        eth().ipv4("203.0.113.2", HOST_IPV4).udp(1, 53).build(),
        eth().ipv4("192.0.2.77", HOST_IPV4).udp(1, 53).build(),
        ipv4().protocol(50).payload([0; 64]).build(),
        ipv4().protocol(132).payload([0; 64]).build(),
        ipv4().ping(1, 1).payload([0; 1400]).build(),
        ipv6().icmpv6(1, 0).payload([0; 48]).build(),
        // Fragments.
        ipv4().fragment(7, 1480, true).protocol(17).payload([0; 256]).build(),
        ipv6().fragment_header(8, 185, false).payload([0; 99]).build(),
        // Not to be read.
        ipv4().tcp(1, 80).data_offset(2).build(),
        ipv4().header_words(3).build(),
        ipv4().total_length(9).build(),
        ipv6().payload_length(4000).build(),
        eth().vlan(1).vlan(2).vlan(3).ipv4(PEER_IPV4, HOST_IPV4).udp(1, 2).build(),
        ipv4().udp(4000, 53).length(3).build(),
        // Longer than its packet says.
        ipv4().udp(4000, 54).trailer([0; 400]).build(),
        ipv4().udp(4000, 53).payload([9; 1458]).build(),
    ]
}

#[test]
fn the_sum_over_all_reasons_is_what_was_sent() {
    if !ready() {
        return;
    }
    for attach in ["native", "generic"] {
        let world = Sandbox::silent_pair().expect("a pair");
        let other = Namespace::new("other").expect("a namespace");
        let second =
            Veth::new((&world.host, "nw1"), (&other, "other0"), VethOptions::default().ipv6(false))
                .expect("a pair");
        let policy = [
            &format!("interfaces = [\"nw0\", \"nw1\"]\nattach = \"{attach}\"\n"),
            "[sources]\ntrusted = [\"192.0.2.64/26\"]\ndenied = [\"203.0.113.1\"]\n",
            "[icmp]\necho = { rate = \"1/h\", burst = 3 }\n[protocols]\nallow = [\"esp\"]\n",
            &rule_for(
                "limited",
                "udp/53",
                "[rule.per_source]\npackets = { rate = \"1/h\", burst = 7 }",
            ),
            &rule_for("open", "tcp/80", "from = [\"198.51.100.0/24\"]"),
        ]
        .concat();
        let guarded = Guarded::over(world, &policy);
        let world = &guarded.world;
        guarded.ok(&["ban", "203.0.113.2"]);
        let links = [("nw0", &world.peer, "peer0", 9), ("nw1", &other, "other0", 4)];
        let mut expected = Vec::new();
        for (guarded_link, namespace, link, times) in links {
            let raw = RawSocket::open(namespace, link).expect("a socket");
            let veth = if guarded_link == "nw0" { &world.veth } else { &second };
            let frames = frames(|| {
                sandbox::packet::frame().eth().from_mac(veth.b.mac()).to_mac(veth.a.mac())
            });
            let (mut packets, mut bytes) = (0, 0);
            for _ in 0..times {
                for frame in &frames {
                    raw.send(frame).expect("sent");
                    packets += 1;
                    bytes += frame.len() as u64;
                }
            }
            expected.push((guarded_link, (packets, bytes)));
        }
        for (link, sent) in &expected {
            eventually(&format!("{attach}: all that was sent on {link} is counted"), || {
                guarded.status().total_on(link).0 >= sent.0
            });
        }
        let status = guarded.status();
        for (link, sent) in expected {
            assert_eq!(status.total_on(link), sent, "{attach}, {link}: {status:?}");
        }
        for reason in [
            "not_ip",
            "essential",
            "trusted",
            "rule",
            "icmp",
            "protocol",
            "malformed",
            "denied",
            "banned",
            "port_closed",
            "source_not_allowed",
            "out_of_state",
            "fragment",
            "packet_rate",
            "icmp_rate",
            "icmp_closed",
            "protocol_closed",
        ] {
            assert!(status.packets(reason) > 0, "{attach}: no {reason}: {status:?}");
        }
        // Each rule's counters are part of the whole.
        let rules = guarded.rules();
        let by_rules: u64 =
            ["limited", "open"].map(|name| rules.packets(name, "rule")).iter().sum();
        assert_eq!(status.packets("rule"), by_rules, "{rules:?}");
    }
}
