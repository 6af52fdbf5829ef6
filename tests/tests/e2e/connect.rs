//! Who may connect where: rules by port, source and interface.

use nodewall_tests::e2e::{Guarded, closed, open, ready, refused, rule_for, silence, soon, source};
use sandbox::{HOST_IPV4, HOST_IPV6, Namespace, UdpOutcome, Veth, tcp_listen, udp_ask, udp_echo};

const NW0: &str = "interfaces = [\"nw0\"]\n";

#[test]
fn an_open_port_connects_over_both_families() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{NW0}{}", rule_for("open", "tcp/8080 udp/9000-9001", "")));
    let world = &guarded.world;
    for address in [world.host_ipv4(8080), world.host_ipv6(8080)] {
        let _server = tcp_listen(&world.host, address).expect("a server");
        open(&world.peer, None, address);
    }
    for address in [world.host_ipv4(9001), world.host_ipv6(9001)] {
        let _server = udp_echo(&world.host, address).expect("a server");
        let answer = udp_ask(&world.peer, None, address, b"abc", soon()).expect("asked");
        assert_eq!(answer, UdpOutcome::Answered(b"abc".to_vec()), "{address}");
    }
    let status = guarded.status();
    assert!(status.packets_on("nw0", "rule") >= 8, "{status:?}");
    assert_eq!(status.packets("port_closed"), 0, "{status:?}");
}

#[test]
fn a_closed_port_does_not_answer() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{NW0}{}", rule_for("open", "tcp/8080", "")));
    let world = &guarded.world;
    for (at, listening) in [
        (world.host_ipv4(8081), true),
        (world.host_ipv6(8081), true),
        (world.host_ipv4(8082), false),
        (world.host_ipv6(8082), false),
    ] {
        let _server = listening.then(|| tcp_listen(&world.host, at).expect("a server"));
        closed(&world.peer, None, at);
        // What TCP has open, UDP has not.
        for port in [8080, 8081] {
            let at = (at.ip(), port).into();
            let _server = listening.then(|| udp_echo(&world.host, at).expect("a server"));
            let answer = udp_ask(&world.peer, None, at, b"abc", silence()).expect("asked");
            assert_eq!(answer, UdpOutcome::TimedOut, "{at}");
        }
    }
    // A host that nobody guards would have answered: the open port shows it.
    refused(&world.peer, None, world.host_ipv4(8080));
    let status = guarded.status();
    assert!(status.packets("port_closed") >= 12, "{status:?}");
    assert!(status.packets("rule") >= 1, "{status:?}");
}

#[test]
fn the_longest_prefix_that_holds_the_source_chooses_the_rule() {
    if !ready() {
        return;
    }
    let policy = [
        NW0,
        &rule_for("everybody", "tcp/7000 udp/7000", ""),
        &rule_for("wide", "tcp/7000", "from = [\"203.0.113.0/24\", \"2001:db8:77::/48\"]"),
        &rule_for("one", "tcp/7000", "from = [\"203.0.113.7\", \"2001:db8:77:1::7/128\"]"),
        &rule_for("few", "tcp/7001", "from = [\"203.0.113.0/28\"]"),
    ]
    .concat();
    let guarded = Guarded::new(&policy);
    let world = &guarded.world;
    for prefix in ["203.0.113.0/24", "2001:db8:77::/48"] {
        world.add_sources(prefix.parse().expect("a prefix")).expect("added");
    }
    let (ipv4, ipv6) = (world.host_ipv4(7000), world.host_ipv6(7000));
    let _servers = [ipv4, ipv6, world.host_ipv4(7001), world.host_ipv6(7001)]
        .map(|at| tcp_listen(&world.host, at).expect("a server"));
    for (from, to, rule) in [
        (None, ipv4, "everybody"),
        (source("203.0.113.8"), ipv4, "wide"),
        (source("203.0.113.7"), ipv4, "one"),
        (None, ipv6, "everybody"),
        (source("2001:db8:77:1::8"), ipv6, "wide"),
        (source("2001:db8:77:1::7"), ipv6, "one"),
    ] {
        let before = guarded.rules();
        open(&world.peer, from, to);
        let after = guarded.rules();
        for name in ["everybody", "wide", "one", "few"] {
            let moved = after.packets(name, "rule") > before.packets(name, "rule");
            // What the connections of before still send moves their own rule.
            if name == rule || before.packets(name, "rule") == 0 {
                assert_eq!(moved, name == rule, "{name} for {from:?}: {after:?}");
            }
        }
    }
    open(&world.peer, source("203.0.113.15"), world.host_ipv4(7001));
    closed(&world.peer, source("203.0.113.16"), world.host_ipv4(7001));
    // A family that `from` does not name is not allowed.
    closed(&world.peer, None, world.host_ipv6(7001));
    let status = guarded.status();
    assert_eq!(status.packets("source_not_allowed"), 2, "{status:?}");
}

/// A second link of the host, to a namespace of its own.
fn second_link(host: &Namespace) -> (Namespace, Veth) {
    let other = Namespace::new("other").expect("a namespace");
    let veth = Veth::new((host, "nw1"), (&other, "other0"), sandbox::VethOptions::default())
        .expect("a pair");
    veth.a.add_address("192.0.2.1/24".parse().expect("a prefix")).expect("added");
    veth.b.add_address("192.0.2.2/24".parse().expect("a prefix")).expect("added");
    (other, veth)
}

#[test]
fn a_rule_holds_on_its_interface_alone() {
    if !ready() {
        return;
    }
    let world = sandbox::Sandbox::pair().expect("a pair");
    let (other, _veth) = second_link(&world.host);
    let policy = [
        "interfaces = [\"nw0\", \"nw1\"]\n",
        &rule_for("inside", "tcp/22", "interfaces = [\"nw1\"]"),
        &rule_for("both", "tcp/80", ""),
        &rule_for("outside", "tcp/443", "interfaces = [\"nw0\"]"),
        &rule_for("inside-too", "tcp/443", "interfaces = [\"nw1\"]\nfrom = [\"192.0.2.9\"]"),
    ]
    .concat();
    let guarded = Guarded::over(world, &policy);
    let world = &guarded.world;
    let _servers = [22, 80, 443]
        .map(|port| tcp_listen(&world.host, ([0, 0, 0, 0], port).into()).expect("a server"));
    let inside = |port| ([192, 0, 2, 1], port).into();
    open(&other, None, inside(22));
    closed(&world.peer, None, world.host_ipv4(22));
    open(&other, None, inside(80));
    open(&world.peer, None, world.host_ipv4(80));
    open(&world.peer, None, world.host_ipv4(443));
    closed(&other, None, inside(443));
    let status = guarded.status();
    assert_eq!(status.packets_on("nw0", "port_closed"), 1, "{status:?}");
    assert_eq!(status.packets_on("nw1", "source_not_allowed"), 1, "{status:?}");
    assert_eq!(status.packets_on("nw1", "port_closed"), 0, "{status:?}");
}

#[test]
fn an_interface_that_is_not_guarded_is_left_alone() {
    if !ready() {
        return;
    }
    let world = sandbox::Sandbox::pair().expect("a pair");
    let (other, _veth) = second_link(&world.host);
    let guarded = Guarded::over(world, NW0);
    let world = &guarded.world;
    let _server = tcp_listen(&world.host, ([0, 0, 0, 0], 22).into()).expect("a server");
    closed(&world.peer, None, world.host_ipv4(22));
    closed(&world.peer, None, (HOST_IPV4, 23).into());
    closed(&world.peer, None, (HOST_IPV6, 23).into());
    open(&other, None, ([192, 0, 2, 1], 22).into());
    refused(&other, None, ([192, 0, 2, 1], 23).into());
    // The host to itself, too.
    open(&world.host, None, ([127, 0, 0, 1], 22).into());
}
