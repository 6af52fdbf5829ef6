//! Links, addresses, routes and neighbours.

use std::{fs, net::IpAddr, time::Duration};

use crate::{NEVER, SOON, ready};
use ipnet::IpNet;
use sandbox::{
    Error, HOST_IPV4, HOST_IPV6, HOST_LINK, Namespace, Offload, Outcome, PEER_IPV4, Sandbox, Tag,
    Tun, UdpOutcome, Veth, VethOptions, packet::frame, tcp_connect, tcp_listen, udp_ask, udp_echo,
};

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

#[test]
fn the_pair_speaks_both_families_at_once() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    for address in [world.host_ipv4(7), world.host_ipv6(7)] {
        let server = udp_echo(&world.host, address).expect("a server");
        let answer = udp_ask(&world.peer, None, server.address(), b"here?", SOON).expect("asked");
        assert_eq!(answer, UdpOutcome::Answered(b"here?".to_vec()), "{address}");
    }
    assert!(world.veth.a.is_up().expect("there"));
    assert_eq!((world.veth.a.name(), world.veth.a.mtu().expect("there")), (HOST_LINK, 1500));
}

#[test]
fn options_reach_both_ends() {
    if !ready() {
        return;
    }
    let (a, b) =
        (Namespace::new("a").expect("a namespace"), Namespace::new("b").expect("a namespace"));
    let options = VethOptions::default().queues(4).mtu(3000);
    let pair = Veth::new((&a, "left"), (&b, "right"), options).expect("a pair");
    for link in [&pair.a, &pair.b] {
        assert_eq!(link.mtu().expect("there"), 3000);
        assert_eq!(link.namespace().link(link.name()).expect("there").mac(), link.mac());
        // The process's own sysfs: enter it by a shell.
        let mut list = std::process::Command::new("/bin/sh");
        list.args(["-c", &format!("cd /sys/class/net/{}/queues && echo *", link.name())]);
        list.stdout(std::process::Stdio::piped());
        let output =
            link.namespace().spawn(list).expect("started").wait_with_output().expect("waited");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            "rx-0 rx-1 rx-2 rx-3 tx-0 tx-1 tx-2 tx-3"
        );
    }
    assert_ne!(pair.a.mac(), pair.b.mac());
    pair.a.set_mtu(1400).expect("changed");
    assert_eq!(pair.a.mtu().expect("there"), 1400);
    // A second pair between the same two, and one within one of them.
    Veth::new((&a, "left2"), (&b, "right2"), VethOptions::default()).expect("a pair");
    Veth::new((&a, "x"), (&a, "y"), VethOptions::default()).expect("a pair");
}

#[test]
fn what_the_kernel_refuses_is_told_with_its_reason() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("refused").expect("a namespace");
    let pair =
        Veth::new((&namespace, "x"), (&namespace, "y"), VethOptions::default()).expect("a pair");
    let error =
        Veth::new((&namespace, "x"), (&namespace, "z"), VethOptions::default()).expect_err("taken");
    let text = error.to_string();
    assert!(
        text.contains("make the pair of links `x` and `z`") && text.contains("exists"),
        "{text}"
    );
    let error = pair.a.set_mtu(10).expect_err("too small");
    // The second half is the kernel's own sentence.
    assert!(error.to_string().to_lowercase().contains("mtu less than device minimum"), "{error}");
    assert!(matches!(namespace.link("w"), Err(Error::NoSuchLink { .. })));
    let taken = net("192.0.2.1/24");
    pair.a.add_address(taken).expect("added");
    let error = pair.a.add_address(taken).expect_err("there already");
    assert!(error.to_string().contains("add the address 192.0.2.1/24 on the link `x`"), "{error}");
    // The connection is in step after a refusal.
    assert!(pair.a.exists().expect("asked"));
}

#[test]
fn a_deleted_pair_comes_back_as_it_was() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    world.add_sources(net("203.0.113.0/24")).expect("added");
    let far = |world: &Sandbox| {
        let from = Some(IpAddr::from([203, 0, 113, 9]));
        udp_ask(&world.peer, from, world.host_ipv4(9), b"?", SOON).expect("asked")
    };
    let before = world.veth.a.index().expect("there");
    {
        let _server = udp_echo(&world.host, world.host_ipv4(9)).expect("a server");
        assert_eq!(far(&world), UdpOutcome::Answered(b"?".to_vec()));
    }
    world.host.delete_link(HOST_LINK).expect("deleted");
    assert!(!world.veth.a.exists().expect("asked"));
    assert!(!world.veth.b.exists().expect("asked"), "the other end goes with it");
    assert!(matches!(world.veth.a.up(), Err(Error::NoSuchLink { .. })));
    world.veth.recreate().expect("made again");
    assert_ne!(world.veth.a.index().expect("there"), before);
    let _server = udp_echo(&world.host, world.host_ipv4(9)).expect("a server");
    assert_eq!(far(&world), UdpOutcome::Answered(b"?".to_vec()));
}

#[test]
fn a_link_that_is_down_carries_nothing() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let server = tcp_listen(&world.host, world.host_ipv4(22)).expect("a server");
    let outcome = |within| tcp_connect(&world.peer, None, server.address(), within).expect("tried");
    assert!(outcome(SOON).is_connected());
    world.veth.a.down().expect("down");
    assert!(!world.veth.a.is_up().expect("there"));
    assert!(!outcome(NEVER).is_connected());
    world.veth.a.up().expect("up");
    assert!(outcome(SOON).is_connected());
}

#[test]
fn many_addresses_and_whole_prefixes_are_sources() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let addresses = (0..500_u16).map(|n| {
        let [high, low] = n.to_be_bytes();
        IpNet::from(IpAddr::from([10, 9, high, low]))
    });
    world.veth.b.add_addresses(addresses).expect("added");
    world.veth.a.add_route(net("10.9.0.0/16"), Some(PEER_IPV4.into())).expect("added");
    world.add_sources(net("203.0.113.0/24")).expect("added");
    world.add_sources(net("2001:db8:77::/48")).expect("added");
    let v4 = tcp_listen(&world.host, world.host_ipv4(22)).expect("a server");
    let v6 = tcp_listen(&world.host, world.host_ipv6(22)).expect("a server");
    for (from, to) in [
        ("10.9.0.0", &v4),
        ("10.9.1.243", &v4),
        ("203.0.113.0", &v4),
        ("203.0.113.255", &v4),
        ("2001:db8:77:ffff::1", &v6),
    ] {
        let from: IpAddr = from.parse().expect("an address");
        let outcome = tcp_connect(&world.peer, Some(from), to.address(), SOON).expect("tried");
        let Outcome::Connected(stream) = outcome else { panic!("{from}: {outcome:?}") };
        assert_eq!(stream.local_addr().expect("bound").ip(), from);
    }
    world.veth.b.remove_address(net("10.9.0.0/32")).expect("removed");
    let error = world.veth.b.remove_address(net("10.9.0.0/32")).expect_err("gone");
    assert!(matches!(error, Error::Netlink { .. }), "{error}");
}

#[test]
fn dummy_links_work() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("dummy").expect("a namespace");
    let dummy = match namespace.add_dummy("d0") {
        Err(error @ Error::NoDriver { .. }) => return eprintln!("not run: {error}"),
        made => made.expect("a link"),
    };
    assert!(dummy.is_up().expect("there"));
    dummy.delete().expect("deleted");
    assert!(!dummy.exists().expect("asked"));
}

#[test]
fn vlan_links_work() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    if let Err(error @ Error::NoDriver { .. }) = world.veth.a.add_vlan("probe", Tag::Customer, 1) {
        return eprintln!("not run: {error}");
    }
    for (link, address) in [(&world.veth.a, "192.0.2.1/24"), (&world.veth.b, "192.0.2.2/24")] {
        let outer = link.add_vlan("service", Tag::Service, 7).expect("a link");
        let inner = outer.add_vlan("customer", Tag::Customer, 5).expect("a link");
        assert_eq!(inner.mac(), link.mac());
        inner.add_address(net(address)).expect("added");
    }
    let server =
        udp_echo(&world.host, "192.0.2.1:7".parse().expect("an address")).expect("a server");
    let answer = udp_ask(&world.peer, None, server.address(), b"tagged", SOON).expect("asked");
    assert_eq!(answer, UdpOutcome::Answered(b"tagged".to_vec()));
}

#[test]
fn a_tun_link_carries_bare_packets() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("tun").expect("a namespace");
    let tun = Tun::new(&namespace, "tun0").expect("a link");
    tun.link().add_address(net("192.0.2.1/24")).expect("added");
    let _server =
        udp_echo(&namespace, "192.0.2.1:7".parse().expect("an address")).expect("a server");
    let question = frame().ipv4("192.0.2.9", "192.0.2.1").udp(4000, 7).payload(*b"raw").build();
    tun.send(&question).expect("sent");
    let answer = tun.receive(SOON, |packet| packet.first() == Some(&0x45)).expect("received");
    let answer = answer.expect("an answer");
    assert_eq!((&answer[12..20], &answer[28..]), (&[192, 0, 2, 1, 192, 0, 2, 9][..], &b"raw"[..]));
    assert_eq!(tun.receive(Duration::ZERO, |_| false).expect("received"), None);
    assert!(tun.send(&[0; 20]).is_err(), "neither IPv4 nor IPv6");
    drop(tun);
    assert!(matches!(namespace.link("tun0"), Err(Error::NoSuchLink { .. })));
}

#[test]
fn offloads_are_switched() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    for offload in [Offload::Gro, Offload::SendChecksum, Offload::SendSegmentation] {
        world.veth.a.set_offload(offload, true).expect("on");
        world.veth.a.set_offload(offload, false).expect("off");
    }
    world.veth.delete().expect("deleted");
    let error = world.veth.a.set_offload(Offload::Gro, true).expect_err("no such link");
    assert!(error.to_string().contains("switch Gro of the link `nw0`"), "{error}");
}

#[test]
fn neighbours_are_known_beforehand() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    world.fix_neighbours().expect("fixed");
    let table = world
        .peer
        .enter(|| fs::read_to_string("/proc/thread-self/net/arp").expect("read"))
        .expect("entered");
    let line = table.lines().find(|line| line.contains(&HOST_IPV4.to_string())).expect("an entry");
    // 0x6: complete and permanent (net/if_arp.h).
    assert!(line.contains("0x6"), "{line}");
    let _server = udp_echo(&world.host, world.host_ipv6(7)).expect("a server");
    let to = (HOST_IPV6, 7).into();
    assert_eq!(
        udp_ask(&world.peer, None, to, b"6", SOON).expect("asked"),
        UdpOutcome::Answered(b"6".to_vec())
    );
}
