//! Containers behind the host: no socket of the host tells of their traffic.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use nodewall_tests::e2e::{
    Contained, Guarded, closed, echoes, open, ready, rule_for, silence, soon,
};
use sandbox::{
    HOST_IPV4, Namespace, PEER_IPV4, PEER_IPV6, PEER_LINK, RawSocket, Sandbox, UdpOutcome,
    tcp_listen, udp_ask, udp_echo,
};

const EMPTY: &str = "interfaces = [\"nw0\"]\n";
const PUBLISHED: u16 = 8080;
const OWN: u16 = 80;

fn published(world: &Sandbox) -> [SocketAddr; 2] {
    [world.host_ipv4(PUBLISHED), world.host_ipv6(PUBLISHED)]
}

fn peers(port: u16) -> [SocketAddr; 2] {
    [(PEER_IPV4, port).into(), (PEER_IPV6, port).into()]
}

/// Expects an answer.
#[track_caller]
fn answers(namespace: &Namespace, to: SocketAddr) {
    let outcome = udp_ask(namespace, None, to, b"question", soon()).expect("an attempt");
    assert!(matches!(outcome, UdpOutcome::Answered(_)), "{to}: {outcome:?}");
}

/// Expects none.
#[track_caller]
fn silent(namespace: &Namespace, to: SocketAddr) {
    let outcome = udp_ask(namespace, None, to, b"question", silence()).expect("an attempt");
    assert!(matches!(outcome, UdpOutcome::TimedOut), "{to}: {outcome:?}");
}

#[test]
fn a_published_port_answers() {
    if !ready() {
        return;
    }
    let Some(Contained { world, container }) = Contained::new(PUBLISHED, OWN) else { return };
    let servers = Contained::own(OWN)
        .map(|at| (tcp_listen(&container, at).expect("a server"), udp_echo(&container, at)));
    let policy = rule_for("web", &format!("tcp/{PUBLISHED} udp/{PUBLISHED}"), "");
    let guarded = Guarded::over(world, &format!("{EMPTY}{policy}"));
    for at in published(&guarded.world) {
        let stream = open(guarded.peer(), None, at);
        echoes(&stream, 1 << 20);
        answers(guarded.peer(), at);
        // What is open and was admitted stays when the port closes.
        guarded.apply(EMPTY);
        closed(guarded.peer(), None, at);
        silent(guarded.peer(), at);
        echoes(&stream, 1 << 20);
        guarded.apply(&format!("{EMPTY}{policy}"));
    }
    let status = guarded.status();
    assert!(status.packets("rule") > 0 && status.packets("reply") > 0, "{status:?}");
    drop(servers);
}

#[test]
fn a_container_reaches_others_while_everything_is_closed() {
    if !ready() {
        return;
    }
    let Some(Contained { world, container }) = Contained::new(PUBLISHED, OWN) else { return };
    let guarded = Guarded::over(world, EMPTY);
    for to in peers(9000) {
        let _tcp = tcp_listen(guarded.peer(), to).expect("a server");
        let _udp = udp_echo(guarded.peer(), to).expect("a server");
        let stream = open(&container, None, to);
        echoes(&stream, 1 << 20);
        answers(&container, to);
        closed(guarded.peer(), None, published(&guarded.world)[0]);
    }
}

/// Both ends of a connection, one of them a container's.
fn connected(
    server: &Namespace,
    at: SocketAddr,
    client: &Namespace,
    to: SocketAddr,
) -> (TcpStream, TcpStream) {
    let listener = server.enter(|| TcpListener::bind(at)).expect("entered").expect("a listener");
    let near = client.enter(|| TcpStream::connect(to)).expect("entered").expect("connected");
    let (far, _) = listener.accept().expect("accepted");
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(soon())).expect("a time limit");
    }
    (near, far)
}

/// Something said by one end reaches the other.
fn reaches(mut from: &TcpStream, mut to: &TcpStream, what: &str) {
    from.write_all(what.as_bytes()).expect("sent");
    let mut heard = vec![0; what.len()];
    to.read_exact(&mut heard).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(heard, what.as_bytes());
}

/// Whoever speaks first once the filter is there, the container or the others.
#[test]
fn what_a_container_had_open_goes_on() {
    if !ready() {
        return;
    }
    let Some(Contained { world, container }) = Contained::new(PUBLISHED, OWN) else { return };
    let mut open = Vec::new();
    for n in 0..2 {
        for (to, own) in peers(9000 + n).into_iter().zip(Contained::own(OWN)) {
            let (near, far) = connected(&world.peer, to, &container, to);
            open.push((format!("out to {to}"), near, far));
            // A container's port that is published, and is not in the policy.
            let at = if own.is_ipv4() { published(&world)[0] } else { published(&world)[1] };
            let (far, near) = connected(&container, own, &world.peer, at);
            open.push((format!("in to {at}"), near, far));
        }
    }
    let guarded = Guarded::over(world, EMPTY);
    for (n, (what, container, other)) in open.iter().enumerate() {
        if n < open.len() / 2 {
            reaches(other, container, &format!("{what}: the other side speaks first"));
            reaches(container, other, &format!("{what}: the container answers"));
        } else {
            reaches(container, other, &format!("{what}: the container speaks first"));
            reaches(other, container, &format!("{what}: the other side answers"));
        }
    }
    closed(guarded.peer(), None, published(&guarded.world)[0]);
}

/// SYNs of strangers that are not there, to a port that a container has open.
#[test]
fn a_flood_to_a_published_port_takes_no_place_of_what_was_begun_here() {
    if !ready() {
        return;
    }
    let Some(Contained { world, container }) = Contained::new(PUBLISHED, OWN) else { return };
    world.fix_neighbours().expect("neighbours");
    // They swallow what the container answers.
    let strangers: ipnet::Ipv4Net = "10.200.0.0/16".parse().expect("a prefix");
    world.veth.a.add_route(strangers.into(), Some(PEER_IPV4.into())).expect("a route");
    let [own, _] = Contained::own(OWN);
    let _web = tcp_listen(&container, own).expect("a server");
    let [server, _] = peers(9000);
    let _peer = tcp_listen(&world.peer, server).expect("a server");
    let dns = udp_echo(&world.peer, (PEER_IPV4, 53).into()).expect("a server");
    let policy = format!(
        "{EMPTY}[tables]\nflows = 1024\nhalf_open = 1024\n{}",
        rule_for("web", &format!("tcp/{PUBLISHED}"), "")
    );
    let guarded = Guarded::over(world, &policy);
    let (host, peer) = (guarded.host(), guarded.peer());
    let published = open(peer, None, guarded.world.host_ipv4(PUBLISHED));
    let begun = open(&container, None, server);
    let raw = RawSocket::open(peer, PEER_LINK).expect("a socket");
    let flood = strangers.hosts().take(40_000);
    let syns = flood.zip((1024_u16..=u16::MAX).cycle()).map(|(stranger, port)| {
        let frame = guarded.world.frame_to_host().ipv4(stranger, HOST_IPV4);
        frame.tcp(port, PUBLISHED).syn().build()
    });
    for (n, syn) in syns.enumerate() {
        raw.send(&syn).expect("sent");
        if n % 8000 == 0 {
            answers(host, dns.address());
            echoes(&begun, 10_000);
            echoes(&published, 10_000);
        }
    }
    let status = guarded.status();
    let entries = |name: &str| {
        let tables = status.0["tables"].as_array().expect("a list");
        let table = tables.iter().find(|table| table["name"] == name).expect("a table");
        table["entries"].as_u64().expect("a number")
    };
    // A full one has some places in hand for its next entries.
    assert!(entries("half_open") > 500, "{status:?}");
    assert!((1..100).contains(&entries("flows")), "{status:?}");
    assert_eq!(entries("answered"), 1, "{status:?}");
    echoes(&published, 10_000);
    answers(host, dns.address());
}
