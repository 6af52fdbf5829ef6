//! Policies change while packets flow.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nodewall_tests::e2e::{Guarded, echoes, in_vm, open, ready, rule_for, soon, source};
use sandbox::{Outcome, tcp_connect, tcp_listen};

const SOURCE: &str = "203.0.113.7";

/// Two policies in which the port 8080 is open by other means: another rule,
/// another prefix, another place in the list, a list of trusted sources.
fn policies() -> [String; 2] {
    let top = "interfaces = [\"nw0\"]\n";
    let several = |name: &str, first: u16| -> String {
        (first..first + 40)
            .map(|port| rule_for(&format!("{name}{port}"), &format!("tcp/{port}"), ""))
            .collect()
    };
    [
        [top, &rule_for("open", "tcp/8080", ""), &several("a", 9000)].concat(),
        [
            top,
            &several("b", 9020),
            &rule_for("elsewhere", "tcp/8081", "from = [\"192.0.2.0/24\"]"),
            &rule_for("ours", "tcp/8080", "from = [\"203.0.113.0/24\", \"2001:db8::/32\"]"),
            &rule_for("rest", "tcp/8080", "from = [\"0.0.0.0/0\"]"),
            "[sources]\ntrusted = [\"192.0.2.1\"]\ndenied = [\"192.0.2.0/24\"]\n",
        ]
        .concat(),
    ]
}

#[test]
fn no_connection_fails_while_policies_alternate() {
    if !ready() {
        return;
    }
    let [first, second] = policies();
    let guarded = Guarded::new(&first);
    let world = &guarded.world;
    world.add_sources("203.0.113.0/24".parse().expect("a prefix")).expect("added");
    let addresses = [world.host_ipv4(8080), world.host_ipv6(8080)];
    let _servers = addresses.map(|at| tcp_listen(&world.host, at).expect("a server"));
    let closed = world.host_ipv4(8082);
    let _never = tcp_listen(&world.host, closed).expect("a server");
    let files = [("a.toml", &first), ("b.toml", &second)].map(|(name, text)| {
        let path = guarded.instance().write(name, text).expect("written");
        path.to_string_lossy().into_owned()
    });

    let (done, connected, bytes) = (&AtomicBool::new(false), AtomicU64::new(0), &AtomicU64::new(0));
    let failures: Mutex<Vec<String>> = Mutex::default();
    let fail = &|what: String| failures.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    let connect = &|from, to: SocketAddr| match tcp_connect(&world.peer, from, to, soon()) {
        Ok(Outcome::Connected(stream)) => {
            connected.fetch_add(1, Ordering::Relaxed);
            echoes(&stream, 1000);
        }
        other => fail(format!("{to}: {other:?}")),
    };
    let begun = Instant::now();
    let generation = guarded.status().generation();
    let mut switches = 0;
    thread::scope(|scope| {
        let [ipv4, ipv6] = addresses;
        for (from, to) in [(None, ipv4), (source(SOURCE), ipv4), (None, ipv6)] {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    // A SYN that is dropped once comes again after a second, and would hide.
                    let begun = Instant::now();
                    connect(from, to);
                    if !in_vm() && begun.elapsed() > Duration::from_millis(900) {
                        fail(format!("{to}: it took {:?}", begun.elapsed()));
                    }
                }
            });
        }
        scope.spawn(move || {
            let stream = open(&world.peer, None, ipv4);
            while !done.load(Ordering::Relaxed) {
                echoes(&stream, 100_000);
                bytes.fetch_add(100_000, Ordering::Relaxed);
            }
        });
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let outcome = tcp_connect(&world.peer, None, closed, Duration::from_millis(50));
                if !matches!(outcome, Ok(Outcome::TimedOut)) {
                    fail(format!("{closed} is closed in both: {outcome:?}"));
                }
            }
        });
        // Whatever happens here, the clients end.
        let _stop = Stop(done);
        while begun.elapsed() < Duration::from_secs(5) || switches < 4 {
            switches += 1;
            guarded.ok(&["apply", &files[switches % 2]]);
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (connected, bytes) = (connected.into_inner(), bytes.load(Ordering::Relaxed));
    println!(
        "{switches} switches in {:.1} s; {connected} connections, {bytes} bytes, {} failures",
        begun.elapsed().as_secs_f64(),
        failures.len()
    );
    assert!(failures.is_empty(), "{} failures, first {:?}", failures.len(), failures.first());
    assert!(switches >= 4 && connected > 20 && bytes > 0);
    let status = guarded.status();
    assert_eq!(status.generation(), generation + switches as u64, "{status:?}");
    assert_eq!(status.packets("source_not_allowed"), 0, "{status:?}");
    assert_eq!(status.packets("denied"), 0, "{status:?}");
}

/// Tells the threads to end when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn counters_and_bans_outlive_a_change() {
    if !ready() {
        return;
    }
    let top = "interfaces = [\"nw0\"]\n";
    let guarded = Guarded::new(&format!("{top}{}", rule_for("kept", "tcp/8080", "")));
    let world = &guarded.world;
    world.add_sources("203.0.113.0/24".parse().expect("a prefix")).expect("added");
    let at = world.host_ipv4(8080);
    let _server = tcp_listen(&world.host, at).expect("a server");
    open(&world.peer, None, at);
    guarded.ok(&["ban", SOURCE]);
    let before = guarded.rules().packets("kept", "rule");
    assert!(before > 0);
    // The rule keeps its name, and all else changes.
    guarded.apply(&format!(
        "{top}{}{}",
        rule_for("new", "tcp/1-100", ""),
        rule_for("kept", "tcp/8080 udp/53", "from = [\"198.51.100.0/24\", \"203.0.113.0/24\"]")
    ));
    let rules = guarded.rules();
    assert_eq!(rules.names(), ["new", "kept"]);
    assert!(rules.packets("kept", "rule") >= before, "{rules:?}");
    assert_eq!(rules.packets("new", "rule"), 0, "{rules:?}");
    nodewall_tests::e2e::closed(&world.peer, source(SOURCE), at);
    open(&world.peer, source("203.0.113.8"), at);
    assert_eq!(guarded.json(&["bans", "--json"])["bans"][0]["prefix"], "203.0.113.7/32");
}
