//! What comes back for what the host sends: UDP, ping, traceroute; and sockets
//! that a look-up does not find.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use aya::programs::{SchedClassifier, TcAttachType};
use nodewall_tests::e2e::{
    Guarded, echoes, eventually, fails_to_start, instance, ready, rule_for, silence, soon,
};
use sandbox::{
    HOST_IPV4, HOST_IPV6, Namespace, PEER_IPV4, PEER_IPV6, Policy, Sandbox, Tag, UdpOutcome,
    packet::frame, tcp_listen, udp_ask, udp_echo,
};
use socket2::{Domain, Protocol, Socket, Type};

const EMPTY: &str = "interfaces = [\"nw0\"]\n";
const PAIRS: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(HOST_IPV4), IpAddr::V4(PEER_IPV4)),
    (IpAddr::V6(HOST_IPV6), IpAddr::V6(PEER_IPV6)),
];

fn ask(namespace: &Namespace, to: SocketAddr, wait: Duration) -> UdpOutcome {
    udp_ask(namespace, None, to, b"question", wait).expect("an attempt")
}

#[test]
fn questions_by_udp_are_answered_while_everything_is_closed() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(EMPTY);
    for (host, peer) in PAIRS {
        let _dns = udp_echo(guarded.peer(), (peer, 53).into()).expect("a server");
        for _ in 0..3 {
            let answer = ask(guarded.host(), (peer, 53).into(), soon());
            assert!(matches!(answer, UdpOutcome::Answered(_)), "{peer}: {answer:?}");
        }
        // The port unreachable of a port that is closed there comes in, too.
        let refused = ask(guarded.host(), (peer, 54).into(), soon());
        assert!(matches!(refused, UdpOutcome::Refused), "{peer}: {refused:?}");
        let _own = udp_echo(guarded.host(), (host, 5353).into()).expect("a server");
        let unasked = ask(guarded.peer(), (host, 5353).into(), silence());
        assert!(matches!(unasked, UdpOutcome::TimedOut), "{host}: {unasked:?}");
    }
    let status = guarded.status();
    assert!(status.packets("reply") >= 6 && status.packets("icmp") >= 2, "{status:?}");
    assert_eq!(status.packets("port_closed"), 2, "{status:?}");
}

#[test]
fn answers_from_elsewhere_are_dropped() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(EMPTY);
    let (host, peer) = PAIRS[0];
    let other: IpAddr = "198.51.100.3".parse().expect("an address");
    guarded.world.veth.b.add_address(other.into()).expect("another address");
    let bind = |namespace: &Namespace, at: SocketAddr| {
        let socket = namespace.enter(|| UdpSocket::bind(at)).expect("entered").expect("bound");
        socket.set_read_timeout(Some(soon())).expect("a time limit");
        socket
    };
    let asker = bind(guarded.host(), (host, 0).into());
    let to = asker.local_addr().expect("an address");
    let dns = bind(guarded.peer(), (peer, 53).into());
    let before = guarded.status().packets("port_closed");
    let is_dropped = |number| guarded.status().packets("port_closed") == before + number;
    // Unasked, from a port that answers others.
    dns.send_to(b"unasked", to).expect("sent");
    eventually("it is dropped", || is_dropped(1));
    asker.send_to(b"question", dns.local_addr().expect("an address")).expect("sent");
    let mut heard = [0; 64];
    dns.recv(&mut heard).expect("the question");
    for from in [(other, 53), (peer, 5353)] {
        bind(guarded.peer(), from.into()).send_to(b"forged", to).expect("sent");
    }
    eventually("they are dropped", || is_dropped(3));
    dns.send_to(b"answer", to).expect("sent");
    let length = asker.recv(&mut heard).expect("the answer");
    assert_eq!(&heard[..length], b"answer");
    asker.set_read_timeout(Some(silence())).expect("a time limit");
    let nothing = asker.recv(&mut heard).expect_err("nothing more");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    assert_eq!(guarded.status().packets("port_closed"), before + 3);
}

/// An answer that a source provokes is no way around its limit.
#[test]
fn a_limited_port_stays_limited_though_it_answers() {
    if !ready() {
        return;
    }
    let limit = "[rule.per_source]\npackets = { rate = \"1/h\", burst = 3 }\n";
    let guarded = Guarded::new(&format!("{EMPTY}{}", rule_for("p2p", "udp/14626", limit)));
    for (host, peer) in PAIRS {
        let _node = udp_echo(guarded.host(), (host, 14_626).into()).expect("a server");
        let client = guarded.peer().enter(|| UdpSocket::bind((peer, 4000)));
        let client = client.expect("entered").expect("bound");
        for n in 0..8 {
            let wait = if n < 3 { soon() } else { silence() };
            client.set_read_timeout(Some(wait)).expect("a time limit");
            client.send_to(b"ping", (host, 14_626)).expect("sent");
            assert_eq!(client.recv(&mut [0; 64]).is_ok(), n < 3, "{host}, {n}");
        }
    }
    assert_eq!(guarded.rules().packets("p2p", "packet_rate"), 10);
    assert_eq!(guarded.status().packets("reply"), 0);
}

/// A raw socket for ICMP in a namespace; as a UDP one, it tells who sent.
fn icmp_socket(namespace: &Namespace, v6: bool, hops: u8) -> UdpSocket {
    let open = || -> std::io::Result<Socket> {
        let socket = match v6 {
            true => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?,
            false => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?,
        };
        limit_hops(&socket, v6, hops)?;
        Ok(socket)
    };
    let socket: UdpSocket = namespace.enter(open).expect("entered").expect("a raw socket").into();
    socket.set_read_timeout(Some(soon())).expect("a time limit");
    socket
}

fn limit_hops(socket: &Socket, v6: bool, hops: u8) -> std::io::Result<()> {
    match v6 {
        true => socket.set_unicast_hops_v6(hops.into()),
        false => socket.set_ttl_v4(hops.into()),
    }
}

/// An echo request as a raw socket takes it.
fn ping(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let ip = frame().ip(from, to);
    match from {
        IpAddr::V4(_) => ip.ping(0x4e57, 1).build()[20..].to_vec(),
        IpAddr::V6(_) => ip.pingv6(0x4e57, 1).build()[40..].to_vec(),
    }
}

/// Whether a message of that type comes from there.
fn hears(socket: &UdpSocket, kind: u8, from: IpAddr) -> bool {
    let mut buffer = [0; 2048];
    while let Ok((_, sender)) = socket.recv_from(&mut buffer) {
        // With IPv4 the socket gives the IP header too.
        let at = if from.is_ipv4() { 20 } else { 0 };
        if sender.ip() == from && buffer[at] == kind {
            return true;
        }
    }
    false
}

#[test]
fn the_host_pings_and_is_not_pinged() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(EMPTY);
    for (host, peer) in PAIRS {
        let reply = if host.is_ipv6() { 129 } else { 0 };
        let out = icmp_socket(guarded.host(), host.is_ipv6(), 64);
        out.send_to(&ping(host, peer), (peer, 0)).expect("sent");
        assert!(hears(&out, reply, peer), "{peer} answers");
        let back = icmp_socket(guarded.peer(), host.is_ipv6(), 64);
        back.set_read_timeout(Some(silence())).expect("a time limit");
        back.send_to(&ping(peer, host), (host, 0)).expect("sent");
        assert!(!hears(&back, reply, host), "{host} is silent");
    }
    let status = guarded.status();
    assert_eq!((status.packets("reply"), status.packets("icmp_closed")), (2, 2), "{status:?}");
}

/// The routers on the way tell of themselves: by UDP as traceroute does, and by echo.
#[test]
fn traceroute() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    for parameter in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        world.peer.set_parameter(parameter, "1").expect("the peer forwards");
    }
    let far: [IpAddr; 2] =
        ["192.0.2.9", "2001:db8:77::9"].map(|text| text.parse().expect("an address"));
    for ((_, router), far) in PAIRS.into_iter().zip(far) {
        world.veth.a.add_route(far.into(), Some(router)).expect("a route");
        // Where to does not matter: no packet has a hop left for it.
        world.veth.b.add_route(far.into(), None).expect("a route");
    }
    let guarded = Guarded::over(world, EMPTY);
    for ((host, router), far) in PAIRS.into_iter().zip(far) {
        let v6 = host.is_ipv6();
        let exceeded = if v6 { 3 } else { 11 };
        let listener = icmp_socket(guarded.host(), v6, 64);
        let probe = guarded.host().enter(|| -> std::io::Result<UdpSocket> {
            let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
            let socket = Socket::new(domain, Type::DGRAM, None)?;
            limit_hops(&socket, v6, 1)?;
            Ok(socket.into())
        });
        let probe = probe.expect("entered").expect("a socket");
        probe.send_to(b"probe", (far, 33_434)).expect("sent");
        assert!(hears(&listener, exceeded, router), "{router} tells of itself");
        let echo = icmp_socket(guarded.host(), v6, 1);
        echo.send_to(&ping(host, far), (far, 0)).expect("sent");
        assert!(hears(&echo, exceeded, router), "{router} tells of itself to an echo");
    }
    let status = guarded.status();
    assert!(status.packets("icmp") >= 4, "{status:?}");
}

/// A look-up on the port below a VLAN does not find a socket that is bound to it.
#[test]
fn sockets_bound_to_a_vlan_of_the_guarded_link() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let ends =
        [(&world.veth.a, "nw0.7", "10.70.0.1/24"), (&world.veth.b, "peer0.7", "10.70.0.2/24")];
    for (link, name, address) in ends {
        let vlan = match link.add_vlan(name, Tag::Customer, 7) {
            Ok(vlan) => vlan,
            Err(error @ sandbox::Error::NoDriver { .. }) => return println!("skipped: {error}"),
            Err(error) => panic!("{error}"),
        };
        vlan.add_address(address.parse().expect("a prefix")).expect("an address");
    }
    let to: SocketAddr = "10.70.0.2:8080".parse().expect("an address");
    let _server = tcp_listen(&world.peer, to).expect("a server");
    let connect = |namespace: &Namespace| -> TcpStream {
        let open = || -> std::io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind_device(Some(b"nw0.7"))?;
            socket.connect_timeout(&to.into(), soon())?;
            Ok(socket)
        };
        namespace.enter(open).expect("entered").expect("connected").into()
    };
    let before = connect(&world.host);
    echoes(&before, 1000);
    let guarded = Guarded::over(world, EMPTY);
    let stream = connect(guarded.host());
    echoes(&stream, 1 << 18);
    // What was open goes on once this host has said something.
    echoes(&before, 1000);
}

/// Both programs come and go together.
#[test]
fn the_classifier_comes_and_goes_with_the_filter() {
    if !ready() {
        return;
    }
    // Before Linux 6.6, which brought TCX, as a filter of the clsact qdisc.
    let attached = |host: &Namespace| {
        let query = || SchedClassifier::query_tcx("nw0", TcAttachType::Egress);
        match host.enter(query).expect("entered") {
            Ok((_, programs)) => programs.len(),
            Err(_) => host.link("nw0").and_then(|link| link.egress_filters()).expect("listed"),
        }
    };
    let world = Sandbox::pair().expect("a pair");
    let host = world.host.clone();
    let guarded = Guarded::over(world, EMPTY);
    assert_eq!(attached(&host), 1, "guarded");
    let (_, peer) = PAIRS[0];
    let _dns = udp_echo(guarded.peer(), (peer, 53).into()).expect("a server");
    let answered = || matches!(ask(&host, (peer, 53).into(), soon()), UdpOutcome::Answered(_));
    assert!(answered());
    // A second filter is refused the link, and leaves nothing on it.
    let other = instance(&host);
    let (code, said) = fails_to_start(&other, Policy::Text(EMPTY), &[], |_| {});
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(attached(&host), 1, "after the refusal: {said}");
    assert!(answered(), "it records what is sent as before");
    guarded.ok(&["detach", "--yes"]);
    eventually("the daemon ends", || attached(&host) == 0);
}

/// How full the tables are, and how large.
#[test]
fn the_tables_are_in_the_status() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{EMPTY}[tables]\nflows = 1000\nhalf_open = 2000\n"));
    let (_, peer) = PAIRS[0];
    let _dns = udp_echo(guarded.peer(), (peer, 53).into()).expect("a server");
    assert!(matches!(ask(guarded.host(), (peer, 53).into(), soon()), UdpOutcome::Answered(_)));
    let status = guarded.status().0;
    let table = |name: &str| {
        let tables = status["tables"].as_array().expect("a list");
        tables.iter().find(|table| table["name"] == name).expect("a table").clone()
    };
    assert_eq!(table("flows")["capacity"], 1000);
    assert!(table("flows")["entries"].as_u64() >= Some(1), "{status}");
    assert_eq!(
        (&table("half_open")["capacity"], &table("half_open")["entries"]),
        (&2000.into(), &0.into())
    );
    assert_eq!(
        (&table("answered")["capacity"], &table("asked")["capacity"]),
        (&65_536.into(), &16_384.into())
    );
}
