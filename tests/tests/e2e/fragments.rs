//! Datagrams that no frame holds, over real sockets.

use std::net::{SocketAddr, UdpSocket};

use nodewall_tests::e2e::{Guarded, eventually, ready, rule_for, silence, soon};
use sandbox::{
    HOST_IPV4, Namespace, PEER_IPV4, PEER_LINK, RawSocket, UdpOutcome, udp_ask, udp_echo, udp_send,
};

/// Six frames of an MTU of 1500.
const LARGE: usize = 8000;

fn policy() -> String {
    format!("interfaces = [\"nw0\"]\n{}", rule_for("open", "udp/5000", ""))
}

/// Fragments that the stack of a namespace has been given, in both families
/// (RFC 4293: ipSystemStatsReasmReqds).
fn fragments_seen(namespace: &Namespace) -> u64 {
    let read = || {
        let of = |path| std::fs::read_to_string(path).expect("the kernel's statistics");
        (of("/proc/thread-self/net/snmp"), of("/proc/thread-self/net/snmp6"))
    };
    let (v4, v6) = namespace.enter(read).expect("entered");
    let mut rows = v4.lines().filter(|line| line.starts_with("Ip:"));
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let of_ipv4 = names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find_map(|(name, value)| (name == "ReasmReqds").then(|| value.parse::<u64>()));
    let of_ipv6 =
        v6.lines().find_map(|line| Some(line.strip_prefix("Ip6ReasmReqds")?.trim().parse::<u64>()));
    let number = |value: Option<Result<u64, _>>| value.expect("counted").expect("a number");
    number(of_ipv4) + number(of_ipv6)
}

#[test]
fn large_datagrams_pass_through_an_open_port() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy());
    let world = &guarded.world;
    for at in [world.host_ipv4(5000), world.host_ipv6(5000)] {
        let server = udp_echo(&world.host, at).expect("a server");
        let payload: Vec<u8> = (0..LARGE).map(|n| (n % 251) as u8).collect();
        for _ in 0..20 {
            match udp_ask(&world.peer, None, at, &payload, soon()).expect("asked") {
                UdpOutcome::Answered(answer) => assert!(answer == payload, "changed on the way"),
                other => panic!("{at}: {other:?}"),
            }
        }
        drop(server);
    }
    let status = guarded.status();
    assert_eq!(status.packets("fragment"), 0, "{status:?}");
    assert_eq!(guarded.rules().packets("open", "rule"), 2 * 20 * 6, "{status:?}");
    assert_eq!(fragments_seen(guarded.host()), 2 * 20 * 6);
    // Each is complete, and gone from the table.
    let table = status.0["tables"]
        .as_array()
        .and_then(|tables| tables.iter().find(|table| table["name"] == "fragments").cloned());
    let table = table.expect("status names the table");
    assert_eq!(table["entries"], 0, "{table}");
    assert_eq!(table["capacity"], 16_384, "{table}");
    assert_eq!(table["full"], 0, "{table}");
}

#[test]
fn no_fragment_to_a_closed_port_reaches_the_stack() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy());
    let world = &guarded.world;
    for at in [world.host_ipv4(5001), world.host_ipv6(5001)] {
        for _ in 0..5 {
            udp_send(&world.peer, None, at, &[7; LARGE]).expect("sent");
        }
    }
    eventually("all fragments are dropped with their first", || {
        guarded.status().packets("port_closed") == 2 * 5 * 6
    });
    assert_eq!(fragments_seen(guarded.host()), 0);
}

#[test]
fn an_overlapping_fragment_changes_nothing() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy());
    let world = &guarded.world;
    let at: SocketAddr = world.host_ipv4(5000);
    let socket = world.host.enter(|| UdpSocket::bind(at)).expect("entered").expect("bound");
    socket.set_read_timeout(Some(soon())).expect("a time limit");
    let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    let ip =
        |offset, more| world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).fragment(77, offset, more);
    // 8 bytes of header and 24 of payload, in two pieces of 16; no checksum.
    let first = ip(0, true).udp(4000, 5000).length(32).checksum(0).payload([b'a'; 8]).build();
    let last = ip(2, false).protocol(17).payload([b'b'; 16]).build();
    let over = |offset, more| ip(offset, more).protocol(17).payload([b'x'; 16]).build();
    let again = ip(0, true).udp(4000, 5000).length(32).checksum(0).payload([b'x'; 8]).build();
    for bytes in [&first, &over(1, true), &over(1, false), &again, &last, &over(2, false)] {
        raw.send(bytes).expect("sent");
    }
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer).expect("the datagram arrives");
    assert_eq!(&buffer[..length], b"aaaaaaaabbbbbbbbbbbbbbbb");
    socket.set_read_timeout(Some(silence())).expect("a time limit");
    assert!(socket.recv(&mut buffer).is_err(), "there is no second one");
    let status = guarded.status();
    assert_eq!(status.packets("fragment"), 4, "{status:?}");
    assert_eq!(fragments_seen(guarded.host()), 2);
}
