//! Frames that are sent as bytes, and what the kernel makes of them.

use std::time::Duration;

use crate::{NEVER, SOON, ready};
use sandbox::{
    HOST_IPV4, HOST_IPV6, HOST_LINK, Offload, PEER_IPV4, PEER_IPV6, PEER_LINK, RawSocket, Sandbox,
    Tag, tcp_connect, tcp_listen,
};

/// The flags byte of a TCP segment over IPv4 without options, if it is one.
fn tcp_flags(frame: &[u8]) -> Option<u8> {
    (frame.get(12..15) == Some(&[8, 0, 0x45]) && frame.get(23) == Some(&6))
        .then(|| frame.get(47).copied())?
}

#[test]
fn the_kernel_answers_what_was_built() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    let _server = tcp_listen(&world.host, world.host_ipv4(22)).expect("a server");
    let syn = |port| world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).tcp(4000, port).syn().build();
    for (port, flags) in [(22, 0x12), (23, 0x14)] {
        raw.send(&syn(port)).expect("sent");
        let answer = raw.receive(SOON, |frame| tcp_flags(frame).is_some()).expect("received");
        let answer = answer.expect("an answer");
        assert_eq!(tcp_flags(&answer), Some(flags), "port {port}");
        assert_eq!(answer[..6], world.veth.b.mac());
    }
    // Echo over both families, with the checksums that the kernel checks.
    let ping = world
        .frame_to_host()
        .ipv6(PEER_IPV6, HOST_IPV6)
        .hop_by_hop([])
        .pingv6(1, 2)
        .payload(*b"abc");
    raw.send(&ping.build()).expect("sent");
    let pong = raw
        .receive(SOON, |frame| frame.get(54) == Some(&129))
        .expect("received")
        .expect("an answer");
    assert_eq!(pong[58..], [0, 1, 0, 2, b'a', b'b', b'c']);
    let ping =
        world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).options([1, 1, 1, 0]).ping(1, 2).build();
    raw.send(&ping).expect("sent");
    let pong =
        raw.receive(SOON, |frame| frame.get(23) == Some(&1)).expect("received").expect("an answer");
    assert_eq!(pong[14] & 0xf0, 0x40);
    // A wrong checksum gets none.
    let bad = world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).ping(1, 3).checksum(1).build();
    raw.send(&bad).expect("sent");
    assert_eq!(raw.receive(NEVER, |frame| frame.get(23) == Some(&1)).expect("received"), None);
}

#[test]
fn a_frame_arrives_as_it_was_sent_tags_and_all() {
    if !ready() {
        return;
    }
    let world = Sandbox::silent_pair().expect("a pair");
    let (here, there) = (
        RawSocket::open(&world.peer, PEER_LINK).expect("a socket"),
        RawSocket::open(&world.host, HOST_LINK).expect("a socket"),
    );
    let eth = || world.frame_to_host();
    let frames = [
        eth().ethertype(0x88b5).payload([1; 46]).build(),
        eth().vlan(5).ipv4(PEER_IPV4, HOST_IPV4).udp(1, 2).payload(*b"one tag").build(),
        eth().vlan_tag(Tag::Service, 0xe007).vlan(5).ipv4(PEER_IPV4, HOST_IPV4).udp(1, 2).build(),
        eth().vlan(0).vlan(0).vlan(0).ipv4(PEER_IPV4, HOST_IPV4).udp(1, 2).build(),
        eth().pppoe(9).ipv4(PEER_IPV4, HOST_IPV4).total_length(9).udp(1, 2).length(3).build(),
        eth().build(),
        eth().payload([7; 1500]).build(),
    ];
    for frame in &frames {
        here.send(frame).expect("sent");
    }
    for frame in &frames {
        let arrived = there.receive(SOON, |_| true).expect("received").expect("a frame");
        assert_eq!(arrived, *frame);
    }
    assert!(here.send(&[0; 13]).is_err(), "no whole header");
    assert!(here.send(&eth().payload([7; 1600]).build()).is_err(), "longer than the MTU");
}

#[test]
fn a_silent_pair_is_silent() {
    if !ready() {
        return;
    }
    let world = Sandbox::silent_pair().expect("a pair");
    let ends = [
        RawSocket::open(&world.peer, PEER_LINK).expect("a socket"),
        RawSocket::open(&world.host, HOST_LINK).expect("a socket"),
    ];
    let server = tcp_listen(&world.host, world.host_ipv4(22)).expect("a server");
    let outcome = tcp_connect(&world.peer, None, server.address(), SOON).expect("tried");
    assert!(outcome.is_connected());
    // All that crosses is the connection itself: no ARP, no listener reports.
    drop(outcome);
    for end in &ends {
        let frames = end.collect(Duration::from_secs(1), |_| true).expect("received");
        assert!(!frames.is_empty());
        assert!(frames.iter().all(|frame| tcp_flags(frame).is_some()), "{frames:x?}");
    }
}

#[test]
fn frames_of_the_kernel_have_checksums_without_the_offload() {
    if !ready() {
        return;
    }
    let world = Sandbox::silent_pair().expect("a pair");
    world.veth.b.set_offload(Offload::SendChecksum, false).expect("off");
    let raw = RawSocket::open(&world.host, HOST_LINK).expect("a socket");
    let to = world.host_ipv4(1);
    assert!(tcp_connect(&world.peer, None, to, SOON).expect("tried").is_refused());
    let syn =
        raw.receive(SOON, |frame| tcp_flags(frame) == Some(2)).expect("received").expect("a frame");
    let segment = &syn[34..];
    let mut covered = syn[26..34].to_vec();
    covered.extend([0, 6, 0, u8::try_from(segment.len()).expect("short")]);
    covered.extend(segment);
    assert_eq!(sandbox::packet::checksum(&covered), 0, "a sum with its checksum is zero");
}

#[test]
fn a_flood_does_not_keep_a_reader_for_ever() {
    if !ready() {
        return;
    }
    let world = Sandbox::silent_pair().expect("a pair");
    let raw = RawSocket::open(&world.host, HOST_LINK).expect("a socket");
    let sender = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    let frame = world.frame_to_host().payload([0; 46]).build();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                sender.send(&frame).expect("sent");
            }
        });
        let begun = std::time::Instant::now();
        assert_eq!(raw.receive(NEVER, |_| false).expect("received"), None);
        let took = begun.elapsed();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(took < SOON, "{took:?}");
    });
}
