//! Connections held at the same time, with real sockets.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use nodewall_tests::e2e::{
    Contained, Guarded, at_most, closed, echoes, eventually, held, holds, in_vm, open, ready,
    rule_for, scaled, silence, soon, source, within,
};
use sandbox::{Namespace, Outcome, Sandbox, tcp_connect, tcp_listen};
use serde_json::json;

const NW0: &str = "interfaces = [\"nw0\"]\n";

/// A listener that accepts nothing: what connects stays as its peer leaves it.
fn passive_listener(namespace: &Namespace, at: SocketAddr) -> TcpListener {
    namespace.enter(|| TcpListener::bind(at)).expect("entered").expect("bound")
}

fn connect(namespace: &Namespace, to: SocketAddr) -> TcpStream {
    match tcp_connect(namespace, None, to, soon()).expect("an attempt") {
        Outcome::Connected(stream) => stream,
        other => panic!("{to} is to be open, and the attempt ended as {other:?}"),
    }
}

#[test]
fn so_many_and_no_more_until_one_is_closed() {
    if !ready() {
        return;
    }
    let rule = rule_for("p2p", "tcp/8080-8081", "[rule.per_source]\nconnections = 3\n");
    let guarded = Guarded::new(&format!("{NW0}{rule}"));
    let world = &guarded.world;
    world.add_sources("203.0.113.0/24".parse().expect("a prefix")).expect("added");
    // A socket of both families: its IPv4 peers have mapped addresses.
    let _servers =
        [8080, 8081].map(|port| tcp_listen(&world.host, ([0_u16; 8], port).into()).expect("bound"));
    for at in [world.host_ipv4(8080), world.host_ipv6(8080)] {
        let other = SocketAddr::new(at.ip(), 8081);
        let mut streams = vec![
            open(&world.peer, None, at),
            open(&world.peer, None, other),
            open(&world.peer, None, at),
        ];
        holds(&guarded, 3);
        closed(&world.peer, None, at);
        closed(&world.peer, None, other);
        let full = json!([{"scope": "per_source", "limit": "connections", "used": 100}]);
        assert_eq!(guarded.rules().rule("p2p")["limits"], full);
        let sources = guarded.json(&["sources", "--json"]);
        assert_eq!(sources["sources"][0]["limits"], full, "{sources}");
        assert!(guarded.status().packets("connection_limit") >= 2);
        streams.iter().for_each(|stream| echoes(stream, 1000));
        if at.is_ipv4() {
            drop(open(&world.peer, source("203.0.113.9"), at));
            holds(&guarded, 3);
        }
        streams.pop();
        holds(&guarded, 2);
        streams.push(open(&world.peer, None, at));
        closed(&world.peer, None, at);
        drop(streams);
        holds(&guarded, 0);
    }
    let rules = guarded.rules();
    let refused = rules.packets("p2p", "connection_limit");
    assert!(refused >= 6, "{refused} refused");
}

#[test]
fn a_peer_that_has_sent_its_end_holds_its_slot() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&at_most(5));
    let world = &guarded.world;
    let at = world.host_ipv4(8080);
    let listener = passive_listener(&world.host, at);
    for _ in 0..5 {
        drop(connect(&world.peer, at));
    }
    // Each is in CLOSE_WAIT now: the host has a socket for it.
    thread::sleep(silence());
    assert_eq!(held(&guarded), 5);
    closed(&world.peer, None, at);
    let (one, _) = listener.accept().expect("accepted");
    drop(one);
    holds(&guarded, 4);
    // Its end, as that of a server that is killed: the rest is reset.
    drop(listener);
    holds(&guarded, 0);
}

#[test]
fn connections_that_were_there_before_count() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let at = world.host_ipv4(8080);
    let _server = tcp_listen(&world.host, ([0_u16; 8], 8080).into()).expect("a server");
    let before = [open(&world.peer, None, at), open(&world.peer, None, world.host_ipv4(8080))];
    let guarded = Guarded::over(world, &at_most(3));
    let peer = &guarded.world.peer;
    assert_eq!(held(&guarded), 2, "at once");
    let one = open(peer, None, at);
    holds(&guarded, 3);
    closed(peer, None, at);
    drop(before);
    within(soon() * 2, "a sweep finds that they are gone", || held(&guarded) == 1);
    drop(one);
    holds(&guarded, 0);
}

#[test]
fn idle_connections_are_closed_and_others_are_not() {
    if !ready() {
        return;
    }
    let policy = [
        NW0,
        &rule_for("p2p", "tcp/8080", "idle_timeout = \"3s\"\n"),
        &rule_for("shadow", "tcp/8081", "mode = \"monitor\"\nidle_timeout = \"1s\"\n"),
        &rule_for("calm", "tcp/8082", ""),
    ]
    .concat();
    let guarded = Guarded::new(&policy);
    let world = &guarded.world;
    let [mut quiet, busy, shadow, calm] = [8080, 8080, 8081, 8082].map(|port| {
        let at = world.host_ipv4(port);
        // The second on a port finds it bound.
        let server = tcp_listen(&world.host, at).ok();
        std::mem::forget(server);
        open(&world.peer, None, at)
    });
    quiet.set_read_timeout(Some(Duration::from_millis(100))).expect("a time limit");
    let took = within(soon() * 2, "the quiet one is reset", || {
        echoes(&busy, 10);
        matches!(quiet.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
    });
    assert!(took >= Duration::from_secs(2), "{took:?}");
    for stream in [&busy, &shadow, &calm] {
        echoes(stream, 10);
    }
    holds(&guarded, 1);
}

#[test]
fn handshakes_side_by_side_overshoot_for_no_second() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&at_most(5));
    let world = &guarded.world;
    let at = world.host_ipv4(8080);
    let _server = tcp_listen(&world.host, at).expect("a server");
    let streams = connect_side_by_side(&guarded, 40);
    assert!(streams.len() >= 5, "{} connected", streams.len());
    eventually("the surplus is closed", || held(&guarded) <= 5);
    assert!(guarded.status().packets("connection_limit") > 0);
    drop(streams);
    holds(&guarded, 0);
}

/// A container's connections count for the rule of the port that is published,
/// whatever port of its own it listens on, beside the host's own.
#[test]
fn a_containers_connections_hold_slots_of_the_published_port() {
    if !ready() {
        return;
    }
    let Some(Contained { world, container }) = Contained::new(8080, 80) else { return };
    let _servers = Contained::own(80).map(|at| tcp_listen(&container, at).expect("a server"));
    let _other = tcp_listen(&world.host, ([0_u16; 8], 8081).into()).expect("a server");
    let rule = rule_for("p2p", "tcp/8080-8081", "[rule.per_source]\nconnections = 3\n");
    let guarded = Guarded::over(world, &format!("{NW0}{rule}"));
    let world = &guarded.world;
    for at in [world.host_ipv4(8080), world.host_ipv6(8080)] {
        let of_host = open(&world.peer, None, SocketAddr::new(at.ip(), 8081));
        let mut streams = vec![open(&world.peer, None, at), open(&world.peer, None, at)];
        holds(&guarded, 3);
        closed(&world.peer, None, at);
        // Full is full for what is new alone: each of them goes on.
        for stream in streams.iter().chain([&of_host]) {
            echoes(stream, 100_000);
        }
        // Sweeps of the host's own sockets leave the container's counts.
        thread::sleep(soon());
        assert_eq!(held(&guarded), 3);
        streams.pop();
        holds(&guarded, 2);
        streams.push(open(&world.peer, None, at));
        closed(&world.peer, None, at);
        drop((streams, of_host));
        holds(&guarded, 0);
    }
    assert!(guarded.rules().packets("p2p", "connection_limit") > 0);
    let connections = &guarded.status().0["connections"];
    assert_eq!(connections["drift"], 0, "{connections}");
}

/// Handshakes with a container side by side: the last segment of each is looked
/// at again, as nobody could close what slips through.
#[test]
fn handshakes_with_a_container_side_by_side() {
    if !ready() {
        return;
    }
    let Some(Contained { world, container }) = Contained::new(8080, 80) else { return };
    let _servers = Contained::own(80).map(|at| tcp_listen(&container, at).expect("a server"));
    let guarded = Guarded::over(world, &at_most(5));
    // What arrives in one batch is judged before any of it is counted. Where a processor is slow batches
    // are as large as NAPI makes them (64): the most that may slip through, on each of two processors.
    let (attempts, most) = if in_vm() { (200, 5 + 2 * 64) } else { (40, 20) };
    let streams = connect_side_by_side(&guarded, attempts);
    assert!(streams.len() >= 5, "{} connected", streams.len());
    let held_now = held(&guarded);
    assert!((5..=most).contains(&held_now), "{held_now} are held");
    drop(streams);
    holds(&guarded, 0);
}

/// So many attempts at once at port 8080; those that connect.
fn connect_side_by_side(guarded: &Guarded, attempts: usize) -> Vec<TcpStream> {
    let (peer, at) = (&guarded.world.peer, guarded.world.host_ipv4(8080));
    thread::scope(|scope| {
        let tasks: Vec<_> = (0..attempts)
            .map(|_| {
                scope.spawn(|| match tcp_connect(peer, None, at, silence()) {
                    Ok(Outcome::Connected(stream)) => Some(stream),
                    _ => None,
                })
            })
            .collect();
        tasks.into_iter().filter_map(|task| task.join().expect("no panic")).collect()
    })
}

/// Many sources connect, send, reset, send their end alone, or are closed by
/// the server, in random order: the count is always the sockets'.
#[test]
fn whatever_ends_a_connection_frees_its_slot() {
    const CYCLES: u32 = 10_000;
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&at_most(50));
    let world = &guarded.world;
    world.add_sources("203.0.113.0/24".parse().expect("a prefix")).expect("added");
    let at = world.host_ipv4(8080);
    let listener = passive_listener(&world.host, at);
    let mut held_here: Vec<(Option<TcpStream>, TcpStream)> = Vec::new();
    let mut word = 0x9e37_79b9_u32;
    let mut random = move |below: u32| {
        word ^= word << 13;
        word ^= word >> 17;
        word ^= word << 5;
        word % below
    };
    world
        .peer
        .enter(|| {
            for _ in 0..scaled(CYCLES) {
                let kind = if held_here.len() < 20 { 0 } else { random(6) };
                let index = random(u32::try_from(held_here.len()).unwrap_or(1).max(1)) as usize;
                match kind {
                    0 | 1 if held_here.len() < 200 => {
                        let from = SocketAddr::from(([203, 0, 113, 1 + random(20) as u8], 0));
                        let socket = socket2::Socket::new(
                            socket2::Domain::IPV4,
                            socket2::Type::STREAM,
                            None,
                        )
                        .expect("a socket");
                        socket.set_reuse_address(true).expect("set");
                        socket.bind(&from.into()).expect("bound");
                        socket.connect_timeout(&at.into(), soon()).expect("connected");
                        let (server, _) = listener.accept().expect("accepted");
                        held_here.push((Some(socket.into()), server));
                    }
                    // Closed by the client, and then by the server or not yet.
                    2 => held_here[index].0 = None,
                    3 => {
                        let (client, _) = &held_here[index];
                        if let Some(client) = client {
                            let _gone = client.shutdown(std::net::Shutdown::Write);
                        }
                    }
                    4 => {
                        let (client, _) = &mut held_here[index];
                        if let Some(client) = client.take() {
                            socket2::SockRef::from(&client)
                                .set_linger(Some(Duration::ZERO))
                                .expect("set");
                        }
                    }
                    _ => drop(held_here.swap_remove(index)),
                }
            }
        })
        .expect("entered");
    // Those that were reset are gone from the host; the others it holds.
    thread::sleep(silence());
    let there = sockets_of(&world.host, at.port());
    assert_eq!(held(&guarded), there, "as the kernel lists them");
    let sources = guarded.json(&["sources", "--top", "1000", "--json"]);
    let rows = sources["sources"].as_array().expect("a list");
    let sum: u64 = rows.iter().filter_map(|row| row["connections"].as_u64()).sum();
    assert_eq!(sum, there, "{sources}");
    drop(held_here);
    drop(listener);
    holds(&guarded, 0);
    let status = guarded.status();
    let connections = &status.0["connections"];
    assert_eq!(connections["counted_by"], "kernel", "{connections}");
    assert_eq!(connections["drift"], 0, "{connections}");
    assert_eq!(connections["destroyed"], 0, "{connections}");
}

/// TCP connections of a namespace at one port, from its own list.
fn sockets_of(namespace: &Namespace, port: u16) -> u64 {
    let list = namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/tcp"));
    let list = list.expect("entered").expect("read");
    let local = format!(":{port:04X}");
    let is_held = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let (at, _, state) = (words.next(), words.next(), words.next());
        // ESTABLISHED, FIN_WAIT1 and 2, CLOSE_WAIT, LAST_ACK, CLOSING.
        at.is_some_and(|at| at.ends_with(&local))
            && matches!(state, Some("01" | "04" | "05" | "08" | "09" | "0B"))
    };
    list.lines().filter(is_held).count() as u64
}
