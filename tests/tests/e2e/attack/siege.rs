//! Sixteen million sources against a port with limits, while peers go on.
//!
//! The flood comes over a link of its own and is sent, received and judged on
//! one processor, on which the peer's transfer runs too, as both would share a
//! queue of a real interface and the processor behind it.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use aya::programs::XdpMode;
use bench::flood::{Instruments, Sources, pin};
use ipnet::IpNet;
use nodewall_tests::e2e::{Guarded, Transfer, echoes, in_vm, open, ready, rule_for, source};
use sandbox::{
    HOST_IPV4, Namespace, PEER_IPV4, Sandbox, Veth, VethOptions, tcp_connect, tcp_listen,
};

/// Where flood and transfer run.
const PROCESSOR: usize = 0;
/// Frames between two looks at the clock.
const CHUNK: u32 = 50_000;
const TRANSFERRED: u16 = 8080;
const CONNECTED: u16 = 8081;
const SECOND: Duration = Duration::from_secs(1);

/// The transfer and newcomers are under the same limits.
const LIMITS: &str = "[rule.per_source]\nconnections = 50\n\
    new_connections = { rate = \"10/s\", burst = 20 }\n\
    packets = { rate = \"2M/s\", burst = 2000000 }\n\
    [rule.total]\nconnections = 10000\nnew_connections = { rate = \"100/s\", burst = 100 }\n";

/// A guarded host, and who floods it: `nw1` is guarded, `nw2` is under the bare drop.
struct Siege {
    guarded: Guarded,
    attacker: Namespace,
    links: [Veth; 2],
    instruments: Instruments,
}

impl Siege {
    fn new() -> Self {
        let world = Sandbox::pair().expect("a pair");
        world.fix_neighbours().expect("fixed");
        let attacker = Namespace::new("attacker").expect("a namespace");
        let links = [("nw1", "far1"), ("nw2", "far2")].map(|(near, far)| {
            let options = VethOptions::default().ipv6(false);
            Veth::new((&world.host, near), (&attacker, far), options).expect("a link")
        });
        let everywhere: IpNet = "20.0.0.0/8".parse().expect("a prefix");
        world.veth.a.add_route(everywhere, Some(PEER_IPV4.into())).expect("a route");
        let rule = rule_for("p2p", "tcp/8080-8081", LIMITS);
        let policy = format!("interfaces = [\"nw0\", \"nw1\"]\n{rule}");
        let guarded = Guarded::over(world, &policy);
        let mut instruments = Instruments::load().expect("they load");
        let index = links[1].a.index().expect("it is there");
        let host = &guarded.world.host;
        host.enter(|| instruments.attach("bare_drop", index, XdpMode::Driver))
            .expect("entered")
            .expect("attached");
        // 16,777,216 of them.
        let everywhere = Sources::Of("20.0.0.0/8".parse().expect("a prefix"));
        instruments.set_sources(&everywhere).expect("set");
        Self { guarded, attacker, links, instruments }
    }

    /// Floods one of the links until it is told to stop; adds up the frames.
    fn flood(&mut self, link: usize, stop: &AtomicBool, frames: &AtomicU64) {
        let Self { attacker, links, instruments, .. } = self;
        let link = &links[link];
        let frame = sandbox::packet::frame()
            .eth()
            .from_mac(link.b.mac())
            .to_mac(link.a.mac())
            .ipv4("20.0.0.1", HOST_IPV4)
            .tcp(40_000, TRANSFERRED)
            .syn()
            .pad_to(60)
            .build();
        let index = link.b.index().expect("it is there");
        attacker
            .enter(|| {
                pin(PROCESSOR).expect("a processor");
                while !stop.load(Ordering::Relaxed) {
                    instruments.flood(index, &frame, CHUNK).expect("sent");
                    frames.fetch_add(u64::from(CHUNK), Ordering::Relaxed);
                }
            })
            .expect("entered");
    }
}

/// Whether there is anything to measure here, said if not.
fn is_measure() -> bool {
    let slow = in_vm();
    if slow {
        println!("skipped: a machine without help from its processor is no measure");
    }
    ready() && !slow
}

/// What a transfer and a flood do in some seconds side by side.
struct Round {
    /// Bytes a second that the peer got through.
    rate: f64,
    /// Frames a second that were sent against it.
    flood: f64,
    /// The part of the processor's time that went into receiving.
    receiving: f64,
}

/// Of [`PROCESSOR`]: ticks spent in soft interrupts, and all (proc(5), `/proc/stat`).
fn ticks() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").expect("read");
    let name = format!("cpu{PROCESSOR} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).expect("the processor");
    let values: Vec<u64> = line.split(' ').filter_map(|value| value.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    (values[6], values[..8].iter().sum())
}

fn round(siege: &mut Siege, link: usize, transfer: &Transfer, time: Duration) -> Round {
    let (stop, frames) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let flood = scope.spawn(|| siege.flood(link, &stop, &frames));
        // Until both have found their pace.
        thread::sleep(SECOND / 4);
        let (bytes, sent, begun) =
            (transfer.bytes(), frames.load(Ordering::Relaxed), Instant::now());
        let before = ticks();
        thread::sleep(time);
        let after = ticks();
        let seconds = begun.elapsed().as_secs_f64();
        let rate = (transfer.bytes() - bytes) as f64 / seconds;
        let sent = frames.load(Ordering::Relaxed) - sent;
        stop.store(true, Ordering::Relaxed);
        flood.join().expect("no panic");
        let receiving = (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64;
        Round { rate, flood: sent as f64 / seconds, receiving }
    })
}

#[test]
fn an_established_peer_keeps_its_rate_under_sixteen_million_sources() {
    const ROUNDS: usize = 10;
    /// Goal: 0.8. Measured: 0.72 to 0.83, and 0.91 where only `total` is limited.
    /// What a source holds and owes is looked up first, twice what a bare drop
    /// costs with its generator, and receiving goes before the transfer.
    const LEAST: f64 = 0.5;
    /// Of a flood in one round.
    const FLOODED: Duration = Duration::from_millis(1500);
    if !is_measure() {
        return;
    }
    let mut siege = Siege::new();
    let at = siege.guarded.world.host_ipv4(TRANSFERRED);
    // What the transfer's threads inherit. The daemon runs where it may.
    let transfer = thread::scope(|scope| {
        let begin = scope.spawn(|| {
            pin(PROCESSOR).expect("a processor");
            Transfer::begin(&siege.guarded.world, at)
        });
        begin.join().expect("no panic")
    });
    let before = siege.guarded.status();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(round(&mut siege, 1, &transfer, FLOODED));
        ours.push(round(&mut siege, 0, &transfer, FLOODED));
    }
    let status = siege.guarded.status();
    transfer.end();
    let rate = |rounds: &[Round]| rounds.iter().map(|round| round.rate).sum::<f64>();
    let ratio = rate(&ours) / rate(&bare);
    for (name, rounds) in [("the bare drop", &bare), ("nodewall", &ours)] {
        let mean = |of: fn(&Round) -> f64| rounds.iter().map(of).sum::<f64>() / ROUNDS as f64;
        let all: Vec<u64> = rounds.iter().map(|round| (round.rate / 1e6) as u64).collect();
        println!(
            "beside {name}: {:.0} MB/s {all:?}, {:.2} Mpps flooded, {:.0} % of the processor in receiving",
            mean(|round| round.rate) / 1e6,
            mean(|round| round.flood) / 1e6,
            mean(|round| round.receiving) * 100.0,
        );
    }
    let judged = |reason| status.packets_on("nw1", reason) - before.packets_on("nw1", reason);
    let (refused, passed) = (judged("connection_rate"), judged("rule"));
    println!("{refused} SYNs refused, {passed} passed; the peer kept {ratio:.2} of its rate");
    assert!(refused > 500_000, "{refused} refused: that was no flood");
    // The burst, and a hundred a second.
    assert!(passed < 100 + 100 * 60, "{passed} passed");
    assert_eq!(status.packets("packet_rate"), 0);
    assert!(
        ratio >= LEAST,
        "the peer kept {ratio:.2} of the rate that it has beside the bare drop"
    );
}

#[test]
fn a_known_peer_connects_while_sixteen_million_sources_want_to() {
    const ATTEMPTS: usize = 5;
    const NEWCOMERS: u8 = 20;
    if !is_measure() {
        return;
    }
    let mut siege = Siege::new();
    let world = siege.guarded.world.clone();
    world.add_sources("203.0.113.0/24".parse().expect("a prefix")).expect("added");
    let at = world.host_ipv4(CONNECTED);
    let _server = tcp_listen(&world.host, at).expect("a server");
    let _flooded = tcp_listen(&world.host, world.host_ipv4(TRANSFERRED)).expect("a server");
    drop(open(&world.peer, None, at));
    let before = siege.guarded.status();
    let (stop, frames) = (AtomicBool::new(false), AtomicU64::new(0));
    let (times, newcomers) = thread::scope(|scope| {
        let flood = scope.spawn(|| siege.flood(0, &stop, &frames));
        // Until the burst, which is whoever's, is used up.
        thread::sleep(SECOND * 2);
        let attempt = |from, time| tcp_connect(&world.peer, from, at, time).expect("an attempt");
        let times: Vec<Option<Duration>> = (0..ATTEMPTS)
            .map(|_| {
                let begun = Instant::now();
                let outcome = attempt(None, SECOND * 3);
                outcome.is_connected().then(|| begun.elapsed())
            })
            .collect();
        let tasks: Vec<_> = (0..NEWCOMERS)
            .map(|number| {
                let from = source(&format!("203.0.113.{}", 100 + number));
                scope.spawn(move || attempt(from, SECOND).is_connected())
            })
            .collect();
        let connected = tasks.into_iter().map(|task| task.join().expect("no panic"));
        let newcomers = connected.filter(|connected| *connected).count();
        stop.store(true, Ordering::Relaxed);
        flood.join().expect("no panic");
        (times, newcomers)
    });
    let status = siege.guarded.status();
    let refused = status.packets("connection_rate") - before.packets("connection_rate");
    println!(
        "{} SYNs sent, {refused} refused; the known peer connected in {times:?}, \
         {newcomers} of {NEWCOMERS} newcomers within 1 s",
        frames.into_inner()
    );
    assert!(refused > 100_000, "{refused} refused: that was no flood");
    assert!(times.iter().all(Option::is_some), "each attempt within 3 s: {times:?}");
    echoes(&open(&world.peer, None, at), 1000);
}
