//! Datagrams that pretend to be answers.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
};

use nodewall_tests::e2e::{Guarded, Stack, eventually, ready, silence, soon};
use sandbox::{HOST_IPV4, PEER_IPV4, PEER_LINK, RawSocket, udp_echo};

use super::NW0;

const DNS: u16 = 53;
/// Linux's own range for sockets that ask for no port
/// (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

#[test]
fn datagrams_from_port_53_reach_only_who_asked() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(NW0);
    let world = &guarded.world;
    let resolver: SocketAddr = (PEER_IPV4, DNS).into();
    let _server = udp_echo(&world.peer, resolver).expect("a resolver");
    let bind = |port: u16| {
        let socket = world.host.enter(|| UdpSocket::bind((HOST_IPV4, port)));
        let socket = socket.expect("entered").expect("bound");
        socket.set_read_timeout(Some(silence())).expect("a time limit");
        socket
    };
    let (asker, neighbour) = (bind(40_000), bind(40_001));
    asker.send_to(b"question", resolver).expect("sent");
    let mut buffer = [0; 64];
    asker.set_read_timeout(Some(soon())).expect("a time limit");
    let (length, from) = asker.recv_from(&mut buffer).expect("its answer");
    assert_eq!((&buffer[..length], from), (&b"question"[..], resolver));
    asker.set_read_timeout(Some(silence())).expect("a time limit");

    let (before, stack) = (guarded.status(), Stack::of(&world.host));
    let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    let frame = |from: [u8; 4], source: u16, port: u16| {
        let ip = world.frame_to_host().ipv4(from, HOST_IPV4);
        ip.udp(source, port).payload([7; 20]).build()
    };
    let mut forged = 0;
    // The resolver's own address, the right port of its neighbour, and others.
    for (from, source) in
        [(PEER_IPV4.octets(), DNS), (PEER_IPV4.octets(), 5353), ([203, 0, 113, 9], DNS)]
    {
        for port in EPHEMERAL {
            if (from, source, port) != (PEER_IPV4.octets(), DNS, 40_000) {
                raw.send(&frame(from, source, port)).expect("sent");
                forged += 1;
            }
        }
    }
    eventually("the forged ones are dropped", || {
        guarded.status().packets("port_closed") - before.packets("port_closed") >= forged
    });
    let status = guarded.status();
    assert_eq!(status.packets("port_closed") - before.packets("port_closed"), forged);
    assert_eq!(status.packets("reply"), before.packets("reply"));
    for (name, socket) in [("the asker", &asker), ("its neighbour", &neighbour)] {
        let got = socket.recv(&mut buffer).map_err(|error| error.kind());
        assert_eq!(got, Err(ErrorKind::WouldBlock), "{name}");
    }
    for counter in ["Udp.InDatagrams", "Udp.NoPorts", "Icmp.OutDestUnreachs"] {
        assert_eq!(stack.grown(&world.host, counter), 0, "{counter}");
    }
    println!("{forged} forged answers dropped, none came to the stack");
    // What spoke to the asker's own port from the very resolver is an answer.
    raw.send(&frame(PEER_IPV4.octets(), DNS, 40_000)).expect("sent");
    asker.set_read_timeout(Some(soon())).expect("a time limit");
    assert_eq!(asker.recv(&mut buffer).expect("an answer"), 20);
}
