//! Slots: a new daemon, a new limit, handshakes out of the ordinary.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use nodewall_tests::e2e::{
    Attacker, Guarded, Stack, at_most, closed, echoes, eventually, held, holds, open, ready,
    silence, soon, within,
};
use sandbox::{HOST_IPV4, HOST_LINK, PEER_IPV4, PEER_LINK, Policy, RawSocket, Sandbox, tcp_listen};
use socket2::{Domain, Socket, Type};

const PORT: u16 = 8080;

#[test]
fn a_daemon_that_starts_anew_counts_what_is_there() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&at_most(8));
    let at = guarded.world.host_ipv4(PORT);
    let _server = tcp_listen(&guarded.world.host, at).expect("a server");
    let mut streams: Vec<TcpStream> = (0..6).map(|_| open(&guarded.world.peer, None, at)).collect();
    holds(&guarded, 6);
    let Guarded { mut daemon, world } = guarded;
    for killed in [true, false] {
        let instance = daemon.instance().clone();
        if killed {
            daemon.kill();
        } else {
            daemon.stop().expect("it ends");
        }
        // Unguarded meanwhile, one ends and one more comes.
        streams.pop();
        streams.push(open(&world.peer, None, at));
        let file = instance.path("nodewall.toml");
        daemon = instance.start(Policy::File(&file), &[]).expect("it starts");
        let guarded = Guarded { daemon, world: world.clone() };
        assert_eq!(held(&guarded), 6, "killed: {killed}: at once");
        streams.push(open(&world.peer, None, at));
        holds(&guarded, 7);
        streams.push(open(&world.peer, None, at));
        closed(&world.peer, None, at);
        streams.iter().for_each(|stream| echoes(stream, 1000));
        // One that is older than this daemon, one that it saw begin, and so on.
        for left in [7, 6] {
            drop(streams.remove(if left == 7 { 0 } else { streams.len() - 1 }));
            within(soon() * 2, "a sweep finds that it is gone", || held(&guarded) == left);
        }
        daemon = guarded.daemon;
    }
    let guarded = Guarded { daemon, world };
    drop(streams);
    within(soon() * 2, "a sweep finds that all are gone", || held(&guarded) == 0);
}

#[test]
fn a_lower_limit_closes_nothing() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&at_most(5));
    let world = &guarded.world;
    let at = world.host_ipv4(PORT);
    let _server = tcp_listen(&world.host, at).expect("a server");
    let mut streams: Vec<TcpStream> = (0..5).map(|_| open(&world.peer, None, at)).collect();
    holds(&guarded, 5);
    guarded.apply(&at_most(2));
    // The daemon looks every second, and sweeps every five.
    thread::sleep(Duration::from_secs(7));
    assert_eq!(held(&guarded), 5);
    assert_eq!(guarded.status().0["connections"]["destroyed"], 0);
    streams.iter().for_each(|stream| echoes(stream, 1000));
    for left in [4, 3, 2] {
        closed(&world.peer, None, at);
        streams.pop();
        holds(&guarded, left);
    }
    closed(&world.peer, None, at);
    streams.pop();
    holds(&guarded, 1);
    echoes(&open(&world.peer, None, at), 1000);
}

/// A connection whose SYN carries data, once a first one has fetched the cookie.
fn open_fast(world: &Sandbox, at: SocketAddr) -> TcpStream {
    let stream = world.peer.enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::TcpFastOpenConnect, &true)
            .expect("set");
        socket.connect(&at.into()).expect("connected");
        TcpStream::from(socket)
    });
    let stream = stream.expect("entered");
    echoes(&stream, 100);
    stream
}

#[test]
fn fast_open_holds_a_slot_for_each_socket() {
    const HELD: u32 = 6;
    /// Replayed SYNs; each has its socket at once, and a reset ends it.
    const REPLAYED: u16 = 50;
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&at_most(HELD));
    let world = &guarded.world;
    // 0x400: for all listeners, without the socket option.
    world.host.set_parameter("net/ipv4/tcp_fastopen", "1027").expect("set");
    world.peer.set_parameter("net/ipv4/tcp_fastopen", "3").expect("set");
    let at = world.host_ipv4(PORT);
    let server = tcp_listen(&world.host, at).expect("a server");
    drop(open_fast(world, at));
    holds(&guarded, 0);
    let stack = Stack::of(&world.host);
    let fast = |stack: &Stack| stack.grown(&world.host, "TcpExt.TCPFastOpenPassive");
    let inside = RawSocket::open(&world.host, HOST_LINK).expect("a socket");
    let mut streams: Vec<TcpStream> = (0..HELD).map(|_| open_fast(world, at)).collect();
    let seen = fast(&stack);
    assert_eq!(seen, u64::from(HELD), "all of them with data in the SYN");
    holds(&guarded, u64::from(HELD));
    closed(&world.peer, None, at);
    assert_eq!(server.open(), u64::from(HELD));
    streams.truncate(2);
    holds(&guarded, 2);

    // The same in the peer's name, which resets what it did not ask for: each
    // dies before its handshake is complete.
    let is_fast = |frame: &[u8]| {
        frame.get(36..38) == Some(&PORT.to_be_bytes())
            && frame.get(47) == Some(&2)
            && frame.len() > 14 + 20 + data_offset(frame)
    };
    let syn = inside.receive(silence(), is_fast).expect("received").expect("a fast SYN");
    let (options, data) = syn[54..].split_at(data_offset(&syn) - 20);
    let (stack, accepted) = (Stack::of(&world.host), server.accepted());
    let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    for number in 0..REPLAYED {
        let frame = world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).tcp(20_000 + number, PORT);
        raw.send(&frame.syn().options(options).payload(data).build()).expect("sent");
    }
    let replayed = fast(&stack);
    println!("{replayed} of {REPLAYED} replayed SYNs made a socket");
    assert!(replayed > 0, "a replayed SYN makes a socket");
    eventually("the server has them all", || {
        server.accepted() - accepted == replayed && server.open() == 2
    });
    holds(&guarded, 2);
    streams.iter().for_each(|stream| echoes(stream, 1000));
    drop(streams);
    holds(&guarded, 0);
    assert_eq!(guarded.status().0["connections"]["drift"], 0);
}

/// Bytes of a frame's TCP header (Ethernet, IPv4 without options).
fn data_offset(frame: &[u8]) -> usize {
    usize::from(frame.get(46).copied().unwrap_or(0) >> 4) * 4
}

/// Segments that end many handshakes in one batch: the count that each is judged
/// by does not know of the others yet.
#[test]
fn what_slips_past_the_limit_is_closed_and_counted() {
    const LIMIT: u64 = 5;
    const HANDSHAKES: u16 = 48;
    const TRIES: u8 = 40;
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&at_most(LIMIT as u32));
    let world = &guarded.world;
    world.fix_neighbours().expect("fixed");
    // What is answered to these names goes to the peer's end, which drops it.
    let names = "203.0.113.0/24".parse().expect("a prefix");
    world.veth.a.add_route(names, Some(PEER_IPV4.into())).expect("a route");
    // A thread of its own receives, so that frames wait for it side by side, as
    // in the ring of a network card.
    let threaded =
        format!("/proc/{}/root/sys/class/net/{HOST_LINK}/threaded", guarded.daemon.pid());
    fs::write(threaded, "1").expect("the interface takes it");
    let server = tcp_listen(&world.host, world.host_ipv4(PORT)).expect("a server");
    let connections =
        |what: &str| guarded.status().0["connections"][what].as_u64().expect("a number");
    let (mut surplus, mut most) = (0, 0);
    for number in 0..TRIES {
        let name = Ipv4Addr::new(203, 0, 113, 50 + number);
        let finals = shake_hands(world, name, HANDSHAKES);
        let raw = Attacker::new(world);
        let accepted = server.accepted();
        for frame in &finals {
            raw.send(frame);
        }
        eventually("as many as the limit allows", || server.accepted() - accepted >= LIMIT);
        thread::sleep(silence());
        most = most.max(server.accepted() - accepted);
        surplus = connections("surplus");
        if surplus > 0 {
            let took = within(soon(), "the surplus is closed", || {
                connections("destroyed") == surplus
                    && held(&guarded) <= LIMIT * (u64::from(number) + 1)
            });
            println!(
                "try {number}: of {} handshakes in one batch {most} came through with a limit of {LIMIT}; \
                 {surplus} were closed, at the latest {took:?} after the look",
                finals.len()
            );
            break;
        }
    }
    assert!(surplus > 0, "nothing slipped past the limit in {TRIES} tries: {most} at most");
    assert!(most > LIMIT);
    eventually("the sockets are those within the limit", || server.open() == held(&guarded));
    assert_eq!(held(&guarded) % LIMIT, 0, "each name holds its limit, and no more");
    assert!(guarded.rules().packets("p2p", "connection_limit") > 0);
}

/// Begins handshakes and returns the segments that would complete them.
fn shake_hands(world: &Sandbox, name: Ipv4Addr, count: u16) -> Vec<Vec<u8>> {
    const FIRST: u16 = 20_000;
    const BASE: u32 = 1000;
    let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    let frame = |port: u16| world.frame_to_host().ipv4(name, HOST_IPV4).tcp(port, PORT);
    for number in 0..count {
        raw.send(&frame(FIRST + number).sequence(BASE).syn().build()).expect("sent");
    }
    let answers = raw
        .collect(silence(), |frame| {
            frame.get(30..34) == Some(&name.octets()) && frame.get(47) == Some(&0x12)
        })
        .expect("received");
    let mut finals = std::collections::BTreeMap::new();
    for answer in answers {
        let port = u16::from_be_bytes([answer[36], answer[37]]);
        let sequence = u32::from_be_bytes([answer[38], answer[39], answer[40], answer[41]]);
        let last = frame(port).sequence(BASE + 1).acknowledgement(sequence.wrapping_add(1)).ack();
        finals.insert(port, last.build());
    }
    assert_eq!(finals.len(), usize::from(count), "each SYN is answered");
    finals.into_values().collect()
}
