//! What a rate lets through: exactly its burst from idle, and in the long run
//! what it says.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use nodewall_tests::e2e::{
    Guarded, echoes, eventually, in_vm, open, ready, rule_for, silence, source,
};
use sandbox::{
    HOST_IPV4, HOST_LINK, PEER_IPV4, PEER_LINK, RawSocket, Sandbox, tcp_listen, udp_send,
};

/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 14 + 20 + 8;

fn policy(rules: &[(&str, &str, &str)]) -> String {
    let mut text = "interfaces = [\"nw0\"]\n".to_owned();
    for (name, port, limits) in rules {
        text += &rule_for(name, port, &format!("[rule.per_source]\n{limits}\n"));
    }
    text
}

/// A socket of the host whose buffer holds all that a test sends.
fn receiver(world: &Sandbox, at: SocketAddr) -> UdpSocket {
    let socket = world
        .host
        .enter(|| UdpSocket::bind(at))
        .expect("entered")
        .unwrap_or_else(|error| panic!("bind {at}: {error}"));
    // Beyond what an ordinary process may have.
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &(32 << 20))
        .expect("a large buffer");
    socket.set_read_timeout(Some(silence())).expect("a time limit");
    socket
}

/// Datagrams that are there, until none comes for a while.
fn count(socket: &UdpSocket) -> u64 {
    let mut buffer = [0; 2048];
    let mut seen = 0;
    loop {
        match socket.recv(&mut buffer) {
            Ok(_) => seen += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return seen,
            // An ICMP error of an earlier answer; there are none, but it is no datagram.
            Err(error) => panic!("{error}"),
        }
    }
}

/// Sends datagrams from `from`, one after the other.
fn send(world: &Sandbox, from: Option<IpAddr>, to: SocketAddr, length: usize, times: u32) {
    let payload = vec![7; length];
    for _ in 0..times {
        udp_send(&world.peer, from, to, &payload).expect("sent");
    }
}

#[test]
fn exactly_the_burst_passes_from_idle() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy(&[
        ("packets", "udp/5000", "packets = { rate = \"1/h\", burst = 40 }"),
        ("bytes", "udp/5001", "bytes = { rate = \"100/h\", burst = 66000 }"),
        ("connections", "tcp/5002", "new_connections = { rate = \"1/h\", burst = 30 }"),
    ]));
    let world = &guarded.world;
    for prefix in ["203.0.113.0/24", "2001:db8:77::/48"] {
        world.add_sources(prefix.parse().expect("a prefix")).expect("added");
    }
    // Packets: each source has a bucket of its own; an IPv6 /64 is one source.
    let ipv4 = receiver(world, world.host_ipv4(5000));
    let ipv6 = receiver(world, world.host_ipv6(5000));
    for (from, to, socket, arrive) in [
        (None, world.host_ipv4(5000), &ipv4, 40),
        (None, world.host_ipv4(5000), &ipv4, 0),
        (source("203.0.113.7"), world.host_ipv4(5000), &ipv4, 40),
        (source("2001:db8:77:1::1"), world.host_ipv6(5000), &ipv6, 40),
        (source("2001:db8:77:1::2"), world.host_ipv6(5000), &ipv6, 0),
        (source("2001:db8:77:2::1"), world.host_ipv6(5000), &ipv6, 40),
    ] {
        send(world, from, to, 10, 90);
        assert_eq!(count(socket), arrive, "{from:?}");
    }
    let rules = guarded.rules();
    assert_eq!(rules.packets("packets", "rule"), 160, "{rules:?}");
    assert_eq!(rules.packets("packets", "packet_rate"), 540 - 160, "{rules:?}");

    // Bytes, as frames have them: 66 frames of 1,000.
    let bytes = receiver(world, world.host_ipv4(5001));
    send(world, None, world.host_ipv4(5001), 1000 - HEADERS, 100);
    assert_eq!(count(&bytes), 66);
    assert_eq!(guarded.rules().packets("bytes", "byte_rate"), 34);

    // Connections, as bare SYNs.
    let inside = RawSocket::open(&world.host, HOST_LINK).expect("a socket");
    let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    for port in 0..100 {
        let syn = world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).tcp(20_000 + port, 5002).syn();
        raw.send(&syn.build()).expect("sent");
    }
    let arrived = inside
        .collect(silence(), |frame| {
            frame.get(36..38) == Some(&5002_u16.to_be_bytes()) && frame.get(47) == Some(&2)
        })
        .expect("received");
    assert_eq!(arrived.len(), 30);
    let rules = guarded.rules();
    assert_eq!(rules.packets("connections", "connection_rate"), 70, "{rules:?}");
    let status = guarded.status();
    assert_eq!(status.packets("connection_rate"), 70, "{status:?}");
    assert_eq!(status.packets("byte_rate"), 34, "{status:?}");
    assert_eq!(status.packets("packet_rate"), 380, "{status:?}");
}

#[test]
fn syns_in_the_name_of_a_peer_do_not_starve_its_connection() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy(&[(
        "p2p",
        "tcp/5002",
        "new_connections = { rate = \"1/h\", burst = 2 }\npackets = { rate = \"50k/s\" }",
    )]));
    let world = &guarded.world;
    let at = world.host_ipv4(5002);
    let _server = tcp_listen(&world.host, at).expect("a server");
    let stream = open(&world.peer, None, at);
    let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    let port = stream.local_addr().expect("an address").port();
    for number in 0..500 {
        let from = if number % 2 == 0 { port } else { 30_000 + number };
        let syn = world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).tcp(from, 5002).syn();
        raw.send(&syn.build()).expect("sent");
    }
    eventually("the SYNs are judged", || {
        let rules = guarded.rules();
        rules.packets("p2p", "connection_rate") == 499
    });
    echoes(&stream, 200_000);
}

/// How long a rate is watched.
const WATCHED: Duration = Duration::from_secs(10);

#[test]
fn a_rate_is_held_within_five_percent() {
    if !ready() {
        return;
    }
    if in_vm() {
        println!("skipped: the clock of a machine without help from its processor is no measure");
        return;
    }
    // A second's worth of burst: the senders may be kept waiting for as long.
    let guarded = Guarded::new(&policy(&[
        ("packets", "udp/5000", "packets = { rate = \"1000/s\" }"),
        ("bytes", "udp/5001", "bytes = { rate = \"1MB/s\" }"),
        ("connections", "tcp/5002", "new_connections = { rate = \"500/s\" }"),
    ]));
    let world = &guarded.world;
    let (packets, bytes) =
        (receiver(world, world.host_ipv4(5000)), receiver(world, world.host_ipv4(5001)));
    let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    let frame = |port, length: usize| {
        let udp = world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).udp(4000, port);
        udp.payload(vec![7; length - HEADERS]).build()
    };
    let (small, large) = (frame(5000, 60), frame(5001, 1000));
    let inside = RawSocket::open(&world.host, HOST_LINK).expect("a socket");
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (elapsed, received, syns) = thread::scope(|scope| {
        let receive = |socket: &UdpSocket| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                seen += count(socket);
            }
            seen + count(socket)
        };
        let readers = [&packets, &bytes].map(|socket| scope.spawn(move || receive(socket)));
        let syns = scope.spawn(|| {
            let is_syn = |frame: &[u8]| {
                frame.get(36..38) == Some(&5002_u16.to_be_bytes()) && frame.get(47) == Some(&2)
            };
            inside.collect(WATCHED + Duration::from_secs(2), is_syn).expect("received").len()
        });
        let begun = Instant::now();
        let mut port = 0_u16;
        while begun.elapsed() < WATCHED {
            // Some 4,000 of each in a second.
            for _ in 0..4 {
                port = (port + 1) % 20_000;
                let syn =
                    world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).tcp(20_000 + port, 5002).syn();
                for frame in [&small, &large, &syn.build()] {
                    raw.send(frame).expect("sent");
                }
                sent.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_micros(900));
        }
        let elapsed = begun.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        let received = readers.map(|reader| reader.join().expect("no panic"));
        (elapsed, received, syns.join().expect("no panic"))
    });
    let sent = sent.into_inner();
    let [packets, bytes] = received;
    for (what, rate, burst, seen, rule, reason) in [
        ("packets", 1000.0, 1000.0, packets, "packets", "packet_rate"),
        // A second's worth of megabytes, in frames of a thousand bytes.
        ("bytes", 1000.0, 1000.0, bytes, "bytes", "byte_rate"),
        ("SYNs", 500.0, 500.0, syns as u64, "connections", "connection_rate"),
    ] {
        let expected = rate * elapsed + burst;
        let off = (seen as f64 / expected - 1.0) * 100.0;
        println!(
            "{what}: {sent} sent in {elapsed:.2} s, {seen} arrived, {expected:.0} allowed ({off:+.2} %)"
        );
        assert!(sent as f64 > expected * 1.5, "{what}: the sender was too slow to show anything");
        assert!(off.abs() < 5.0, "{what}: {off:+.2} %");
        // And beyond the burst, too.
        let steady = (seen as f64 - burst) / elapsed / rate;
        assert!((steady - 1.0).abs() < 0.05, "{what}: {steady:.3} of the rate after the burst");
        let rules = guarded.rules();
        assert_eq!(rules.packets(rule, "rule") + rules.packets(rule, reason), sent, "{what}");
        assert_eq!(rules.packets(rule, "rule"), seen, "{what}");
    }
}
