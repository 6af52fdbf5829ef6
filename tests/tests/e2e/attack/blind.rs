//! Segments without a SYN from who cannot see the connection.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nodewall_tests::e2e::{
    Attacker, Guarded, Stack, echoes, eventually, held, holds, open, ready, rule_for,
};
use sandbox::{PEER_IPV4, tcp_listen};

use super::{NW0, flood_size};

const PORT: u16 = 8080;
/// Connections of a real client during a flood: their segments are what the
/// stack may see, a hundredth of the flood at most.
const CLIENTS: usize = 20;

/// RFC 5961: a reset counts only with the very next number; what is near it, and a
/// SYN, is answered by a challenge. The filter lets these through, since they belong to a
/// connection; it must not take them for its end.
#[test]
fn resets_and_ends_with_guessed_numbers_end_nothing() {
    if !ready() {
        return;
    }
    let size = flood_size();
    let rule = rule_for("p2p", "tcp/8080", "[rule.per_source]\nconnections = 5\n");
    let guarded = Guarded::new(&format!("{NW0}{rule}"));
    let world = &guarded.world;
    let at = world.host_ipv4(PORT);
    let _server = tcp_listen(&world.host, at).expect("a server");
    let stream = open(&world.peer, None, at);
    let other = open(&world.peer, None, at);
    holds(&guarded, 2);
    let port = stream.local_addr().expect("an address").port();
    let (before, stack) = (guarded.rules(), Stack::of(&world.host));
    let mut attacker = Attacker::new(world);
    for number in 0..size {
        let forged = attacker.segment(PEER_IPV4, port, PORT);
        let forged = match number % 5 {
            0 => forged.rst(),
            1 => forged.rst().ack(),
            2 => forged.fin().ack(),
            3 => forged.fin(),
            _ => forged.syn(),
        };
        attacker.send(&forged.build());
    }
    eventually("all are judged", || {
        guarded.rules().packets("p2p", "rule") - before.packets("p2p", "rule") >= u64::from(size)
    });
    let grown = |name| stack.grown(&world.host, name);
    let seen = grown("Tcp.InSegs");
    println!(
        "{size} forged resets, ends and SYNs: the stack saw {seen}, sent {} challenges and skipped {}, sent {} resets",
        grown("TcpExt.TCPChallengeACK"),
        grown("TcpExt.TCPACKSkippedChallenge") + grown("TcpExt.TCPACKSkippedSeq"),
        grown("Tcp.OutRsts"),
    );
    assert!(seen >= u64::from(size), "{seen}: the attack came to where it can hurt");
    assert!(grown("TcpExt.TCPChallengeACK") + grown("TcpExt.TCPACKSkippedChallenge") > 0);
    assert_eq!(grown("Tcp.EstabResets"), 0);
    assert_eq!(held(&guarded), 2);
    echoes(&stream, 200_000);
    echoes(&other, 1000);
    drop((stream, other));
    holds(&guarded, 0);
}

#[test]
fn acks_out_of_nowhere_never_reach_the_stack() {
    if !ready() {
        return;
    }
    for cookies in ["1", "2"] {
        let guarded = Guarded::new(&format!("{NW0}{}", rule_for("p2p", "tcp/8080", "")));
        let world = &guarded.world;
        world.host.set_parameter("net/ipv4/tcp_syncookies", cookies).expect("set");
        let at = world.host_ipv4(PORT);
        let _server = tcp_listen(&world.host, at).expect("a server");
        let stream = open(&world.peer, None, at);
        flood(&guarded, &format!("tcp_syncookies={cookies}, open port"), "out_of_state", |_| PORT);
        flood(
            &guarded,
            &format!("tcp_syncookies={cookies}, closed ports"),
            "port_closed",
            |port| {
                if port == PORT { 22 } else { port }
            },
        );
        echoes(&stream, 1000);
    }
}

/// ACKs from everywhere, one in eight in the peer's own name; a real client
/// connects again and again meanwhile.
fn flood(guarded: &Guarded, what: &str, reason: &str, to: impl Fn(u16) -> u16 + Sync) {
    let size = flood_size();
    let world = &guarded.world;
    let at = world.host_ipv4(PORT);
    let (before, stack) = (guarded.status().packets(reason), Stack::of(&world.host));
    let done = AtomicBool::new(false);
    let (clients, slowest) = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut attacker = Attacker::new(world);
            for number in 0..size {
                let word = attacker.random.word();
                let name = match number % 8 {
                    0 => PEER_IPV4,
                    _ => Ipv4Addr::from(20 << 24 | word >> 8),
                };
                // Ports below those that the client gets from its kernel.
                let from = 1024 + attacker.random.port() % 20_000;
                let port = to(attacker.random.port());
                let ack = attacker.segment(name, from, port).ack().build();
                attacker.send(&ack);
            }
            done.store(true, Ordering::Relaxed);
        });
        let (mut clients, mut slowest) = (0, Duration::ZERO);
        while clients < CLIENTS && !done.load(Ordering::Relaxed) {
            let begun = Instant::now();
            drop(open(&world.peer, None, at));
            clients += 1;
            slowest = slowest.max(begun.elapsed());
        }
        flood.join().expect("no panic");
        (clients, slowest)
    });
    assert!(clients > 0, "{what}: a client connected during the flood");
    eventually(&format!("{what}: all are dropped"), || {
        guarded.status().packets(reason) - before >= u64::from(size)
    });
    assert_eq!(guarded.status().packets(reason) - before, u64::from(size), "{what}");
    let (seen, resets) =
        (stack.grown(&world.host, "Tcp.InSegs"), stack.grown(&world.host, "Tcp.OutRsts"));
    println!(
        "{what}: {size} dropped; {clients} clients connected, the slowest in {slowest:?}; \
         the stack saw {seen} segments and sent {resets} resets"
    );
    // Those of the clients: a handshake and two ends each.
    assert!(seen <= 10 * clients as u64, "{what}: the stack saw {seen}");
    // A client that is dropped with nothing unread sends no reset, nor gets one.
    assert_eq!(resets, 0, "{what}");
}
