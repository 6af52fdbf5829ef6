//! The filter on links of every kind.

use std::time::Duration;

use nodewall_tests::e2e::{
    Guarded, closed, eventually, expect_code, fails_to_start, in_vm, instance, open, ready,
    refused, rule_for, silence, soon, within,
};
use sandbox::{HOST_IPV4, Namespace, Policy, Sandbox, Tun, Veth, VethOptions, packet, tcp_listen};

#[test]
fn native_and_generic_judge_alike() {
    if !ready() {
        return;
    }
    for attach in ["native", "generic", "auto"] {
        let guarded = Guarded::new(&format!(
            "interfaces = [\"nw0\"]\nattach = \"{attach}\"\n{}",
            rule_for("open", "tcp/8080", "")
        ));
        let world = &guarded.world;
        let mode = if attach == "generic" { "generic" } else { "native" };
        let (runs, _why) = guarded.status().attach("nw0");
        assert_eq!(runs.as_deref(), Some(mode), "{attach}");
        for at in [world.host_ipv4(8080), world.host_ipv6(8080)] {
            let _server = tcp_listen(&world.host, at).expect("a server");
            let stream = open(&world.peer, None, at);
            nodewall_tests::e2e::echoes(&stream, 500_000);
            closed(&world.peer, None, (at.ip(), 8081).into());
        }
        assert_eq!(guarded.status().packets("port_closed"), 2, "{attach}");
    }
}

#[test]
fn links_without_native_xdp_run_generic_and_say_why() {
    if !ready() {
        return;
    }
    let host = Namespace::new("host").expect("a namespace");
    let mut links = vec!["lo"];
    match host.add_dummy("dummy7") {
        Ok(_) => links.push("dummy7"),
        Err(error @ sandbox::Error::NoDriver { .. }) => println!("without a dummy link: {error}"),
        Err(error) => panic!("{error}"),
    }
    let installed = instance(&host);
    let policy =
        format!("interfaces = {links:?}\nattach = \"auto\"\n{}", rule_for("open", "tcp/8080", ""));
    let daemon = installed.start(Policy::Text(&policy), &[]).expect("it starts");
    let output = daemon.ctl(&["status", "--json"]).expect("asked");
    expect_code(&["status"], &output, 0);
    let status =
        nodewall_tests::e2e::Status(serde_json::from_str(&output.stdout).expect("it is JSON"));
    for link in links {
        let (mode, why) = status.attach(link);
        assert_eq!(mode.as_deref(), Some("generic"), "{link}");
        let why = why.unwrap_or_default();
        assert!(why.contains("native"), "{link}: {why}");
    }
    // On `lo` it judges what the host says to itself.
    let at = ([127, 0, 0, 1], 8080).into();
    let _server = tcp_listen(&host, at).expect("a server");
    open(&host, None, at);
    closed(&host, None, ([127, 0, 0, 1], 8081).into());
}

#[test]
fn a_link_that_must_be_native_and_cannot_ends_the_start() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    // Not even the interface before it is left guarded.
    let policy = "interfaces = [\"nw0\", \"lo\"]\nattach = \"native\"\n";
    let (code, said) = fails_to_start(&installed, Policy::Text(policy), &[], |_| {});
    assert_eq!(code, Some(1), "{said}");
    for word in ["lo", "native", "generic"] {
        assert!(said.contains(word), "it names {word}: {said}");
    }
    refused(&world.peer, None, world.host_ipv4(22));
    assert!(!installed.outside("control.sock").exists());
}

#[test]
fn two_links_are_counted_apart() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let other = Namespace::new("other").expect("a namespace");
    let veth = Veth::new((&world.host, "nw1"), (&other, "other0"), VethOptions::default())
        .expect("a pair");
    veth.a.add_address("192.0.2.1/24".parse().expect("a prefix")).expect("added");
    veth.b.add_address("192.0.2.2/24".parse().expect("a prefix")).expect("added");
    let guarded = Guarded::over(world, "interfaces = [\"nw0\", \"nw1\"]\n");
    let world = &guarded.world;
    closed(&world.peer, None, world.host_ipv4(22));
    for port in 1..=3 {
        closed(&other, None, ([192, 0, 2, 1], port).into());
    }
    let status = guarded.status();
    assert_eq!(status.packets_on("nw0", "port_closed"), 1, "{status:?}");
    assert_eq!(status.packets_on("nw1", "port_closed"), 3, "{status:?}");
    // A policy that lets one of them go.
    guarded.apply("interfaces = [\"nw1\"]\n");
    refused(&world.peer, None, world.host_ipv4(22));
    closed(&other, None, ([192, 0, 2, 1], 1).into());
    // And one that takes it back.
    guarded.apply("interfaces = [\"nw0\", \"nw1\"]\n");
    closed(&world.peer, None, world.host_ipv4(22));
}

/// The flags of a TCP segment in a bare IPv4 packet without options.
fn tcp_flags(packet: &[u8]) -> Option<u8> {
    (packet.first() == Some(&0x45) && packet.get(9) == Some(&6)).then(|| packet.get(33).copied())?
}

#[test]
fn links_without_ethernet_are_judged_too() {
    if !ready() {
        return;
    }
    let host = Namespace::new("host").expect("a namespace");
    let tun = match Tun::new(&host, "tun7") {
        Ok(tun) => tun,
        Err(error @ sandbox::Error::NoDriver { .. }) => {
            println!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    tun.link().add_address("192.0.2.1/24".parse().expect("a prefix")).expect("added");
    let installed = instance(&host);
    let policy = format!("interfaces = [\"tun7\"]\n{}", rule_for("open", "tcp/80", ""));
    let daemon = installed.start(Policy::Text(&policy), &[]).expect("it starts");
    let _server = tcp_listen(&host, ([192, 0, 2, 1], 80).into()).expect("a server");
    let syn = |port| packet::frame().ipv4("192.0.2.2", "192.0.2.1").tcp(4000, port).syn().build();
    tun.send(&syn(80)).expect("sent");
    let answer = tun.receive(soon(), |packet| tcp_flags(packet).is_some()).expect("received");
    assert_eq!(answer.as_deref().and_then(tcp_flags), Some(0x12), "a SYN+ACK");
    tun.send(&syn(81)).expect("sent");
    let reset = |packet: &[u8]| tcp_flags(packet).is_some_and(|flags| flags & 4 != 0);
    assert_eq!(tun.receive(silence(), reset).expect("received"), None);
    let output = daemon.ctl(&["status", "--json"]).expect("asked");
    let status =
        nodewall_tests::e2e::Status(serde_json::from_str(&output.stdout).expect("it is JSON"));
    assert_eq!(status.packets("rule"), 1, "{status:?}");
    assert_eq!(status.packets("port_closed"), 1, "{status:?}");
    assert_eq!(status.packets("not_ip"), 0, "{status:?}");
}

#[test]
fn a_link_that_comes_back_is_guarded_again() {
    if !ready() {
        return;
    }
    let guarded =
        Guarded::new(&format!("interfaces = [\"nw0\"]\n{}", rule_for("open", "tcp/8080", "")));
    let world = &guarded.world;
    closed(&world.peer, None, world.host_ipv4(22));
    for round in 0..2 {
        world.veth.delete().expect("deleted");
        eventually("status tells that it is gone", || guarded.status().attach("nw0").0.is_none());
        let (_, why) = guarded.status().attach("nw0");
        assert!(why.is_some_and(|why| !why.is_empty()), "it says why");
        world.veth.recreate().expect("made again");
        let limit = Duration::from_secs(if in_vm() { 20 } else { 2 });
        let took = within(limit, "it is guarded again", || {
            guarded.status().attach("nw0").0.as_deref() == Some("native")
        });
        println!("round {round}: guarded again after {took:?}");
        closed(&world.peer, None, world.host_ipv4(22));
        let _server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("a server");
        open(&world.peer, None, world.host_ipv4(8080));
    }
    assert!(guarded.status().packets_on("nw0", "port_closed") >= 3, "its counters go on");
}

#[test]
fn a_link_that_goes_down_and_up_stays_guarded() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new("interfaces = [\"nw0\"]\n");
    let world = &guarded.world;
    world.veth.a.down().expect("set down");
    world.veth.a.up().expect("set up");
    eventually("packets come through again", || {
        let raw = sandbox::RawSocket::open(&world.peer, "peer0").expect("a socket");
        let syn = world.frame_to_host().ipv4(sandbox::PEER_IPV4, HOST_IPV4).tcp(1, 22).syn();
        raw.send(&syn.build()).expect("sent");
        guarded.status().packets("port_closed") > 0
    });
    closed(&world.peer, None, world.host_ipv4(22));
}
