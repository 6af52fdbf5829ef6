//! What passes although no rule admits it: what this host began, and what was
//! open before.

use std::net::SocketAddr;

use nodewall_tests::e2e::{Guarded, closed, echoes, in_vm, open, ready, refused, rule_for};
use sandbox::{PEER_IPV4, PEER_IPV6, Sandbox, tcp_listen};

/// Everything is closed.
const EMPTY: &str = "interfaces = [\"nw0\"]\n";

/// Bytes of a large transfer, each way.
fn large() -> usize {
    if in_vm() { 1 << 20 } else { 32 << 20 }
}

#[test]
fn the_host_reaches_others_while_everything_is_closed() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(EMPTY);
    let (host, peer) = (guarded.host(), guarded.peer());
    for to in [SocketAddr::from((PEER_IPV4, 8080)), (PEER_IPV6, 8080).into()] {
        let server = tcp_listen(peer, to).expect("a server");
        let stream = open(host, None, to);
        echoes(&stream, large());
        assert!(server.bytes() >= large() as u64);
        // A port that the peer has closed says so at once.
        refused(host, None, (to.ip(), 8081).into());
        // The way in stays shut.
        closed(peer, None, guarded.world.host_ipv4(8080));
    }
    let status = guarded.status();
    assert!(status.packets("reply") > 10, "{status:?}");
    assert_eq!(status.packets("rule"), 0, "{status:?}");
}

#[test]
fn connections_that_were_open_before_the_filter_go_on() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let inbound: Vec<_> = [world.host_ipv4(8080), world.host_ipv6(8080)]
        .map(|at| (tcp_listen(&world.host, at).expect("a server"), open(&world.peer, None, at)))
        .into();
    let to = (PEER_IPV4, 8080).into();
    let _server = tcp_listen(&world.peer, to).expect("a server");
    let outbound = open(&world.host, None, to);
    let guarded = Guarded::over(world, EMPTY);
    for (server, stream) in &inbound {
        echoes(stream, large() / 8);
        closed(guarded.peer(), None, server.address());
    }
    echoes(&outbound, large() / 8);
}

#[test]
fn connections_that_were_open_before_a_change_go_on() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{EMPTY}{}", rule_for("open", "tcp/8080", "")));
    let at = guarded.world.host_ipv4(8080);
    let server = tcp_listen(guarded.host(), at).expect("a server");
    let stream = open(guarded.peer(), None, at);
    guarded.apply(EMPTY);
    closed(guarded.peer(), None, at);
    echoes(&stream, large() / 8);
    // It ends as connections do, too.
    drop(stream);
    nodewall_tests::e2e::eventually("the server hears of the end", || server.open() == 0);
    let status = guarded.status();
    assert!(status.packets("reply") > 0, "{status:?}");
}

#[test]
fn a_host_goes_on_opening_connections_while_it_is_flooded_in_their_name() {
    if !ready() {
        return;
    }
    // SYNs that carry a live connection's addresses and ports are no reply.
    let guarded = Guarded::new(EMPTY);
    let world = &guarded.world;
    let to = (PEER_IPV4, 8080).into();
    let _server = tcp_listen(&world.peer, to).expect("a server");
    let stream = open(&world.host, None, to);
    let local = stream.local_addr().expect("an address").port();
    let raw = sandbox::RawSocket::open(&world.peer, sandbox::PEER_LINK).expect("a socket");
    let syn =
        world.frame_to_host().ipv4(PEER_IPV4, sandbox::HOST_IPV4).tcp(8080, local).syn().build();
    let before = guarded.status().packets("port_closed");
    for _ in 0..100 {
        raw.send(&syn).expect("sent");
    }
    nodewall_tests::e2e::eventually("the SYNs are dropped", || {
        guarded.status().packets("port_closed") == before + 100
    });
    echoes(&stream, 10_000);
}
