//! SYN cookies: handshakes that leave no trace in the socket table.

use nodewall_tests::e2e::{Guarded, eventually, open, ready, rule_for, silence};
use sandbox::{HOST_IPV4, HOST_LINK, PEER_IPV4, PEER_LINK, RawSocket, tcp_listen};

const CLIENTS: usize = 20;
const SPOOFED: u64 = 2_000;

#[test]
fn real_clients_connect_and_spoofed_ones_do_not() {
    if !ready() {
        return;
    }
    for cookies in ["0", "1", "2"] {
        let policy = format!("interfaces = [\"nw0\"]\n{}", rule_for("open", "tcp/8080", ""));
        let guarded = Guarded::new(&policy);
        let world = &guarded.world;
        world.host.set_parameter("net/ipv4/tcp_syncookies", cookies).expect("set");
        for at in [world.host_ipv4(8080), world.host_ipv6(8080)] {
            let server = tcp_listen(&world.host, at).expect("a server");
            let streams: Vec<_> = (0..CLIENTS).map(|_| open(&world.peer, None, at)).collect();
            assert_eq!(server.accepted(), CLIENTS as u64, "tcp_syncookies={cookies}");
            spoof(&guarded, &format!("tcp_syncookies={cookies}, {at}"));
            assert_eq!(server.accepted(), CLIENTS as u64, "tcp_syncookies={cookies}");
            drop(streams);
        }
    }
}

/// ACKs from everywhere to the open port: none reaches the stack.
fn spoof(guarded: &Guarded, what: &str) {
    let world = &guarded.world;
    let inside = RawSocket::open(&world.host, HOST_LINK).expect("a socket");
    let sender = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    let before = guarded.status().packets("out_of_state");
    for number in 0..SPOOFED {
        let [.., a, b] = number.to_be_bytes();
        let word = u32::try_from(number).expect("small").wrapping_mul(0x9e37_79b9);
        let frame = world
            .frame_to_host()
            .ipv4([203, 0, a, b], HOST_IPV4)
            .tcp(1024 + (word >> 17) as u16, 8080)
            .ack()
            .sequence(word)
            .acknowledgement(word.rotate_left(13))
            .build();
        sender.send(&frame).expect("sent");
    }
    eventually(&format!("{what}: spoofed ACKs are dropped"), || {
        guarded.status().packets("out_of_state") == before + SPOOFED
    });
    let seen =
        inside.collect(silence(), |frame| frame.get(26..28) == Some(&[203, 0])).expect("received");
    assert!(seen.is_empty(), "{what}: {} of them reached the stack", seen.len());
    // And one in the name of a neighbour that never asked.
    let lonely = world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).tcp(1, 8080).ack().build();
    sender.send(&lonely).expect("sent");
    eventually(&format!("{what}: the neighbour's is dropped"), || {
        guarded.status().packets("out_of_state") == before + SPOOFED + 1
    });
}
