//! Clients and servers with real sockets.

use std::{
    io::{Read, Write},
    net::{IpAddr, Shutdown},
};

use crate::{NEVER, SOON, eventually, ready};
use sandbox::{
    Error, HOST_IPV4, HOST_IPV6, Outcome, PEER_IPV4, Sandbox, UdpOutcome, scan, tcp_connect,
    tcp_listen, udp_ask, udp_echo, udp_send,
};

#[test]
fn a_server_counts_and_echoes() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let server = tcp_listen(&world.host, world.host_ipv6(0)).expect("a server");
    let connect = || match tcp_connect(&world.peer, None, server.address(), SOON).expect("tried") {
        Outcome::Connected(stream) => stream,
        outcome => panic!("{outcome:?}"),
    };
    let mut streams: Vec<_> = (0..40).map(|_| connect()).collect();
    eventually("all are accepted", || server.accepted() == 40);
    assert_eq!(server.open(), 40);
    // More than the buffers of both sides hold.
    let sent: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    let stream = streams.pop().expect("one");
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&sent).expect("written");
            stream.shutdown(Shutdown::Write).expect("shut down");
        });
        (&stream).read_to_end(&mut back).expect("read");
    });
    assert!(back == sent, "{} bytes came back of {}", back.len(), sent.len());
    assert_eq!(server.bytes(), sent.len() as u64);
    drop(stream);
    streams.truncate(10);
    eventually("30 are closed", || server.open() == 10);
    assert_eq!(server.accepted(), 40);
    let address = server.address();
    drop(server);
    assert!(tcp_connect(&world.peer, None, address, SOON).expect("tried").is_refused());
}

#[test]
fn outcomes_are_told_apart() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let try_it =
        |to: (IpAddr, u16)| tcp_connect(&world.peer, None, to.into(), NEVER).expect("tried");
    assert!(try_it((HOST_IPV4.into(), 1)).is_refused());
    assert!(try_it((HOST_IPV6.into(), 1)).is_refused());
    // Nobody has this address, and nobody says so before the time is over.
    assert!(try_it((IpAddr::from([198, 51, 100, 77]), 1)).is_timed_out());
    assert!(matches!(try_it((IpAddr::from([192, 0, 2, 1]), 1)), Outcome::Unreachable), "no route");
    // A path that leads nowhere answers nothing.
    world.veth.a.down().expect("down");
    world.veth.b.add_neighbour(HOST_IPV4.into(), world.veth.a.mac()).expect("added");
    assert!(!try_it((HOST_IPV4.into(), 1)).is_connected());
    let error = tcp_connect(&world.peer, Some(HOST_IPV6.into()), (PEER_IPV4, 1).into(), NEVER);
    assert!(matches!(error, Err(Error::FamilyMismatch { .. })));
}

#[test]
fn a_scan_tells_each_port() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let servers: Vec<_> = [22, 80, 1500]
        .map(|port| tcp_listen(&world.host, world.host_ipv4(port)).expect("a server"))
        .into();
    let outcomes = scan(&world.peer, Some(PEER_IPV4.into()), HOST_IPV4.into(), 1..=2000, SOON)
        .expect("scanned");
    assert_eq!(
        outcomes.iter().map(|(port, _)| *port).collect::<Vec<_>>(),
        (1..=2000).collect::<Vec<_>>()
    );
    let open: Vec<u16> = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.is_connected())
        .map(|(port, _)| *port)
        .collect();
    assert_eq!(open, [22, 80, 1500]);
    assert_eq!(outcomes.iter().filter(|(_, outcome)| outcome.is_refused()).count(), 1997);
    drop(outcomes);
    for server in &servers {
        eventually("each was accepted once", || server.accepted() == 1);
    }
    // Where nobody answers, all of a window wait at the same time.
    world.veth.b.add_neighbour(HOST_IPV4.into(), [2, 0, 0, 0, 0, 9]).expect("added");
    let begun = std::time::Instant::now();
    let outcomes = scan(&world.peer, None, HOST_IPV4.into(), 1..=500, NEVER).expect("scanned");
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_timed_out()));
    let took = begun.elapsed();
    assert!(took >= 2 * NEVER && took < SOON, "two windows: {took:?}");
}

#[test]
fn datagrams_are_answered_refused_or_lost() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let server = udp_echo(&world.host, world.host_ipv4(0)).expect("a server");
    let from = Some(IpAddr::from(PEER_IPV4));
    let answer = udp_ask(&world.peer, from, server.address(), b"echo", SOON).expect("asked");
    assert_eq!(answer, UdpOutcome::Answered(b"echo".to_vec()));
    for _ in 0..10 {
        udp_send(&world.peer, None, server.address(), b"12345").expect("sent");
    }
    eventually("all arrived", || server.accepted() == 11);
    assert_eq!(server.bytes(), 4 + 50);
    let ask =
        |to: (IpAddr, u16)| udp_ask(&world.peer, None, to.into(), b"?", NEVER).expect("asked");
    assert_eq!(ask((HOST_IPV4.into(), 9)), UdpOutcome::Refused);
    assert_eq!(ask((HOST_IPV6.into(), 9)), UdpOutcome::Refused);
    assert_eq!(ask((IpAddr::from([198, 51, 100, 77]), 9)), UdpOutcome::TimedOut);
    assert_eq!(ask((IpAddr::from([192, 0, 2, 1]), 9)), UdpOutcome::Unreachable);
}

#[test]
fn an_address_that_is_not_there_is_an_error() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let error = tcp_listen(&world.peer, world.host_ipv4(22)).expect_err("not the peer's");
    assert!(
        error.to_string().contains("listen on 198.51.100.1:22 in the network namespace `peer`"),
        "{error}"
    );
    let _server = tcp_listen(&world.host, world.host_ipv4(22)).expect("a server");
    assert!(tcp_listen(&world.host, world.host_ipv4(22)).is_err(), "taken");
}
