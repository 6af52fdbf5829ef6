//! Handshakes begun in a peer's name.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nodewall_tests::e2e::{
    Attacker, Guarded, Stack, echoes, eventually, held, holds, known_sources, open, ready,
    rule_for, silence, within,
};
use sandbox::{PEER_IPV4, tcp_connect, tcp_listen};

use super::{NW0, flood_size};

const PORT: u16 = 8080;
/// One that has no host behind it: nobody resets what is answered to it.
const NOBODY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// Buckets that hardly fill again: what they have at the end tells what was
/// charged. The transfer below takes some 12,000 packets and 9 MB at most; the
/// flood alone would be 100,000 and 5 MB.
const BUCKETS: &str = "[rule.per_source]\nconnections = 5\n\
    new_connections = { rate = \"5/s\", burst = 20 }\n\
    packets = { rate = \"10/h\", burst = 20000 }\n\
    bytes = { rate = \"1MB/h\", burst = \"12MB\" }\n";
const ROUNDS: u32 = 200;
/// Bytes of one round, both ways.
const ROUND: usize = 40_000;

#[test]
fn a_flood_of_syns_in_a_peers_name_costs_it_only_new_connections() {
    if !ready() {
        return;
    }
    let size = flood_size();
    let guarded = Guarded::new(&format!("{NW0}{}", rule_for("p2p", "tcp/8080", BUCKETS)));
    let world = &guarded.world;
    let at = world.host_ipv4(PORT);
    let _server = tcp_listen(&world.host, at).expect("a server");
    let streams: Vec<_> = (0..3).map(|_| open(&world.peer, None, at)).collect();
    holds(&guarded, 3);
    let sent = AtomicU32::new(0);
    let attempt =
        |time| tcp_connect(&world.peer, None, at, time).expect("an attempt").is_connected();
    let began = Instant::now();
    let (during, rounds) = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut attacker = Attacker::new(world);
            for _ in 0..size {
                let from = attacker.random.port();
                let syn = attacker.segment(PEER_IPV4, from, PORT).syn().build();
                attacker.send(&syn);
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        let during = scope.spawn(|| {
            while sent.load(Ordering::Relaxed) < size / 10 {
                thread::yield_now();
            }
            attempt(silence())
        });
        let mut rounds = 0;
        while sent.load(Ordering::Relaxed) < size && rounds < ROUNDS {
            echoes(&streams[0], ROUND);
            rounds += 1;
        }
        flood.join().expect("no panic");
        (during.join().expect("no panic"), rounds)
    });
    let took = began.elapsed();
    let next = within(Duration::from_secs(30), "the peer's next connection", || attempt(silence()));
    assert!(rounds > 0, "both at once");
    for _ in rounds..ROUNDS {
        echoes(&streams[0], ROUND);
    }
    println!(
        "{size} SYNs in the peer's name in {took:?}, {rounds} of {ROUNDS} rounds of its transfer meanwhile; an attempt of {:?} \
         amid the flood connected: {during}; its next connection came {next:?} after the flood's end",
        silence()
    );
    holds(&guarded, 3);
    for stream in &streams {
        echoes(stream, 1000);
    }
    let rules = guarded.rules();
    for reason in ["packet_rate", "byte_rate", "connection_limit", "out_of_state"] {
        assert_eq!(rules.packets("p2p", reason), 0, "{reason}: {rules:?}");
    }
    let refused = rules.packets("p2p", "connection_rate");
    // All but the burst, and five a second.
    let most = 20 + 5 * (took + next).as_secs() + 10;
    assert!(refused + most >= u64::from(size), "{refused} refused, at most {most} may pass");
}

#[test]
fn forged_handshakes_take_no_slot_and_make_nobody_known() {
    const PAIRS: u32 = 5_000;
    if !ready() {
        return;
    }
    let rule = rule_for("p2p", "tcp/8080", "[rule.per_source]\nconnections = 5\n");
    let guarded = Guarded::new(&format!("{NW0}{rule}"));
    let world = &guarded.world;
    // What is answered to nobody goes to the peer's end, which drops it.
    let everywhere = "203.0.113.0/24".parse().expect("a prefix");
    world.veth.a.add_route(everywhere, Some(PEER_IPV4.into())).expect("a route");
    let at = world.host_ipv4(PORT);
    let server = tcp_listen(&world.host, at).expect("a server");
    assert_eq!(known_sources(&guarded.daemon), 0);
    let stream = open(&world.peer, None, at);
    holds(&guarded, 1);
    assert_eq!(known_sources(&guarded.daemon), 1, "a true handshake is noted");
    for cookies in ["1", "2"] {
        world.host.set_parameter("net/ipv4/tcp_syncookies", cookies).expect("set");
        let (before, stack) = (guarded.status(), Stack::of(&world.host));
        let mut attacker = Attacker::new(world);
        for number in 0..PAIRS {
            let name = if number % 2 == 0 { PEER_IPV4 } else { NOBODY };
            let from = attacker.random.port();
            let base = attacker.random.word();
            let syn = attacker.segment(name, from, PORT).sequence(base).acknowledgement(0);
            attacker.send(&syn.syn().build());
            let next = base.wrapping_add(1);
            for both in [true, false] {
                let answer = attacker.segment(name, from, PORT).sequence(next).ack();
                attacker.send(&if both { answer.syn() } else { answer }.build());
            }
            let data = attacker.segment(name, from, PORT).sequence(next).ack().psh();
            attacker.send(&data.payload([7; 10]).build());
        }
        eventually("all are judged", || {
            let status = guarded.status();
            let judged = |reason| status.packets(reason) - before.packets(reason);
            judged("rule") + judged("out_of_state") + judged("connection_limit")
                >= u64::from(4 * PAIRS)
        });
        println!(
            "tcp_syncookies={cookies}: of {PAIRS} forged handshakes, {} segments were out of state, \
             the stack saw {} and sent {} resets",
            guarded.status().packets("out_of_state") - before.packets("out_of_state"),
            stack.grown(&world.host, "Tcp.InSegs"),
            stack.grown(&world.host, "Tcp.OutRsts"),
        );
        assert_eq!(held(&guarded), 1, "tcp_syncookies={cookies}");
        assert_eq!(server.accepted(), 1, "tcp_syncookies={cookies}");
        assert_eq!(known_sources(&guarded.daemon), 1, "tcp_syncookies={cookies}");
        echoes(&stream, 10_000);
    }
    drop(stream);
    holds(&guarded, 0);
    // And it may come back.
    drop(open(&world.peer, None, at));
}

/// A SYN cookie is an answer that no socket is attached to.
#[test]
fn a_syn_cookie_opens_no_way_for_other_segments() {
    const ACKS: u32 = 10_000;
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{NW0}{}", rule_for("p2p", "tcp/8080", "")));
    let world = &guarded.world;
    let names = "203.0.113.0/24".parse().expect("a prefix");
    world.veth.a.add_route(names, Some(PEER_IPV4.into())).expect("a route");
    world.host.set_parameter("net/ipv4/tcp_syncookies", "2").expect("set");
    let _server = tcp_listen(&world.host, world.host_ipv4(PORT)).expect("a server");
    let mut attacker = Attacker::new(world);
    let syn = attacker.segment(NOBODY, 5555, PORT).syn().build();
    attacker.send(&syn);
    eventually("the SYN is judged", || guarded.rules().packets("p2p", "rule") == 1);
    thread::sleep(silence());
    let stack = Stack::of(&world.host);
    for _ in 0..ACKS {
        let ack = attacker.segment(NOBODY, 5555, PORT).ack().build();
        attacker.send(&ack);
    }
    eventually("all are judged", || {
        let rules = guarded.rules();
        rules.packets("p2p", "rule") - 1 + rules.packets("p2p", "out_of_state") >= u64::from(ACKS)
    });
    let (seen, resets) =
        (stack.grown(&world.host, "Tcp.InSegs"), stack.grown(&world.host, "Tcp.OutRsts"));
    assert_eq!((seen, resets), (0, 0), "of {ACKS} ACKs after one SYN: segments seen, resets sent");
}
