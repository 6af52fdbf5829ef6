//! Metrics, as Prometheus reads them.

use std::{io::Write as _, net::TcpListener};

use nodewall_tests::e2e::{
    Guarded, METRICS, Metrics, ask, closed, eventually, http, instance, open, ready, rule_for,
    scrape, soon,
};
use sandbox::{Namespace, Outcome, Policy, Sandbox, tcp_connect, tcp_listen};

#[track_caller]
fn metrics(guarded: &Guarded) -> Metrics {
    scrape(guarded.host(), METRICS).expect("somebody listens")
}

/// A sample of `nodewall_packets_total` on `nw0`.
fn packets(verdict: &str, reason: &str) -> String {
    format!("nodewall_packets_total{{interface=\"nw0\",verdict=\"{verdict}\",reason=\"{reason}\"}}")
}

#[test]
fn counters_move_with_packets_and_agree_with_status() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    world.add_sources("203.0.113.0/24".parse().expect("a prefix")).expect("added");
    let limit =
        "[rule.per_source]\nconnections = 3\nnew_connections = { rate = \"1/h\", burst = 3 }";
    let guarded = Guarded::over(
        world,
        &format!("interfaces = [\"nw0\"]\n{}", rule_for("p2p", "tcp/8080", limit)),
    );
    let world = &guarded.world;
    let before = metrics(&guarded);
    // What has not happened yet is told too, or its first increase would be missed.
    assert_eq!(before.value(&packets("drop", "port_closed")), 0.0);
    assert_eq!(before.value("nodewall_generation"), 1.0);
    assert_eq!(before.value("nodewall_attached{interface=\"nw0\",mode=\"native\"}"), 1.0);
    assert_eq!(before.value("nodewall_attached{interface=\"nw0\",mode=\"generic\"}"), 0.0);
    assert_eq!(before.value("nodewall_attach_fallback{interface=\"nw0\"}"), 0.0);
    assert_eq!(before.value("nodewall_rule_connections{rule=\"p2p\"}"), 0.0);
    assert_eq!(before.value("nodewall_bans"), 0.0);

    let at = world.host_ipv4(8080);
    let _server = tcp_listen(&world.host, at).expect("a server");
    for _ in 0..3 {
        closed(&world.peer, None, world.host_ipv4(22));
    }
    let streams = [(); 2].map(|()| open(&world.peer, None, at));
    eventually("both connections are counted", || {
        metrics(&guarded).value("nodewall_rule_connections{rule=\"p2p\"}") == 2.0
    });
    drop(streams);
    drop(open(&world.peer, None, at));
    closed(&world.peer, None, at);
    guarded.ok(&["ban", "203.0.113.9"]);
    guarded.ok(&["ban", "198.51.100.0/24"]);

    eventually("no connection is held", || {
        metrics(&guarded).value("nodewall_rule_connections{rule=\"p2p\"}") == 0.0
    });
    let status = guarded.status();
    let after = metrics(&guarded);
    let again = guarded.status();
    assert_eq!(after.value(&packets("drop", "port_closed")), 3.0);
    assert_eq!(after.value(&packets("drop", "connection_rate")), 1.0);
    let sample = "nodewall_rule_packets_total{rule=\"p2p\",verdict=\"drop\",reason=\"connection_rate\",scope=\"per_source\"}";
    assert_eq!(after.value(sample), 1.0);
    assert_eq!(after.value("nodewall_bans"), 2.0);
    assert_eq!(after.value("nodewall_table_entries{table=\"bans\"}"), 1.0);
    assert_eq!(after.value("nodewall_table_entries{table=\"ban_prefixes\"}"), 1.0);
    assert_eq!(after.value("nodewall_table_capacity{table=\"bans\"}"), 1_000_000.0);
    // Neighbour discovery may come at any moment, hence twice.
    for reason in ["rule", "essential", "port_closed", "reply"] {
        let verdict = if reason == "port_closed" { "drop" } else { "pass" };
        let told = after.value(&packets(verdict, reason));
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let [low, high] = [&status, &again].map(|status| status.packets(reason) as f64);
        assert!(low <= told && told <= high, "{reason}: {told}, not {low} to {high}");
    }
    assert!(!after.0.contains(",reason=\"connection_limit\",scope=\"total\""), "{}", after.0);
}

#[test]
fn what_monitor_mode_lets_through_is_told_apart() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new("interfaces = [\"nw0\"]\nmode = \"monitor\"\n");
    let world = &guarded.world;
    nodewall_tests::e2e::refused(&world.peer, None, world.host_ipv4(22));
    let told = metrics(&guarded);
    assert_eq!(told.value("nodewall_monitor_mode"), 1.0);
    assert_eq!(told.value(&packets("pass", "monitor")), 1.0);
    assert_eq!(told.value(&packets("drop", "port_closed")), 0.0);
    assert_eq!(told.value("nodewall_monitored_packets_total{reason=\"port_closed\"}"), 1.0);
}

#[test]
fn changes_on_disk_and_bad_sets_are_told() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    installed.write("peers.txt", "203.0.113.1\n").expect("written");
    let policy = "interfaces = [\"nw0\"]\n[sets]\npeers = { file = \"peers.txt\" }\n[sources]\ntrusted = [\"@peers\"]\n";
    let daemon = installed.start(Policy::Text(policy), &[]).expect("the daemon starts");
    let guarded = Guarded { daemon, world };
    let told = metrics(&guarded);
    assert_eq!(told.value("nodewall_policy_matches_disk"), 1.0);
    assert_eq!(told.value("nodewall_set_read_errors_total{set=\"peers\"}"), 0.0);
    assert_eq!(told.value("nodewall_set_in_force{set=\"peers\"}"), 1.0);

    guarded.instance().write("nodewall.toml", &format!("{policy}# changed\n")).expect("written");
    guarded.instance().write("peers.txt", "nobody\n").expect("written");
    eventually("the bad set is told", || {
        metrics(&guarded).value("nodewall_set_in_force{set=\"peers\"}") == 0.0
    });
    let told = metrics(&guarded);
    assert_eq!(told.value("nodewall_policy_matches_disk"), 0.0);
    assert!(told.value("nodewall_set_read_errors_total{set=\"peers\"}") >= 1.0);

    guarded.instance().write("peers.txt", "203.0.113.2\n").expect("written");
    guarded.ok(&["reload"]);
    let told = metrics(&guarded);
    assert_eq!(told.value("nodewall_policy_matches_disk"), 1.0);
    assert_eq!(told.value("nodewall_set_in_force{set=\"peers\"}"), 1.0);
    assert!(told.value("nodewall_set_read_errors_total{set=\"peers\"}") >= 1.0);
}

#[test]
fn the_address_follows_the_policy() {
    if !ready() {
        return;
    }
    let top = "interfaces = [\"nw0\"]\n";
    let guarded = Guarded::new(&format!("{top}[metrics]\nlisten = false\n"));
    let host = guarded.host();
    assert!(scrape(host, METRICS).is_none(), "nobody listens");
    assert_eq!(guarded.status().0["metrics"]["listen"], serde_json::Value::Null);

    guarded.apply(top);
    let told = scrape(host, METRICS).expect("the default");
    assert_eq!(told.value("nodewall_generation"), 2.0);

    // The same port, another address: the old one must go first.
    guarded.apply(&format!("{top}[metrics]\nlisten = \"[::1]:9551\"\n"));
    assert!(scrape(host, METRICS).is_none(), "it has moved");
    assert!(scrape(host, "[::1]:9551").is_some());
    let output = guarded.apply(&format!("{top}[metrics]\nlisten = \"0.0.0.0:9551\"\n"));
    assert!(output.stderr.contains("not a loopback address"), "{}", output.stderr);
    assert!(scrape(host, METRICS).is_some());
    assert!(scrape(host, "[::1]:9551").is_none(), "it has moved");
    // From outside it is a port as any other: no rule admits it.
    closed(guarded.peer(), None, guarded.world.host_ipv4(9551));

    guarded
        .instance()
        .write("nodewall.toml", &format!("{top}[metrics]\nlisten = \"127.0.0.2:99\"\n"))
        .expect("written");
    guarded.daemon.signal(nix::sys::signal::Signal::SIGHUP).expect("sent");
    eventually("a reload moves it", || scrape(host, "127.0.0.2:99").is_some());
    assert!(scrape(host, METRICS).is_none());
}

#[test]
fn a_port_that_is_taken_leaves_the_filter_on() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let taken = world.host.enter(|| TcpListener::bind(METRICS)).expect("run").expect("free");
    let guarded = Guarded::over(world, "interfaces = [\"nw0\"]\n");
    closed(guarded.peer(), None, guarded.world.host_ipv4(22));
    let said = "no metrics are served on 127.0.0.1:9551, for another program listens there";
    assert!(guarded.daemon.wait_for_stderr(said, soon()), "{}", guarded.daemon.stderr());
    let problem = guarded.status().0["metrics"]["problem"].clone();
    assert!(problem.as_str().is_some_and(|problem| problem.starts_with(said)), "{problem}");
    assert!(guarded.ok(&["status"]).stdout.contains(said));
    // A change to another that is not to be had says so, and is a change all the same.
    let output = guarded.apply("interfaces = [\"nw0\"]\n[metrics]\nlisten = \"192.0.2.99:9551\"\n");
    assert!(output.stderr.contains("does not have the address 192.0.2.99"), "{}", output.stderr);
    guarded.apply("interfaces = [\"nw0\"]\n");

    drop(taken);
    eventually("it tries again", || guarded.status().0["metrics"]["problem"].is_null());
    assert_eq!(metrics(&guarded).value(&packets("drop", "port_closed")), 1.0);
    // Said once, though it was tried again and again.
    assert_eq!(guarded.daemon.stderr().matches(said).count(), 2, "{}", guarded.daemon.stderr());
}

#[test]
fn only_get_metrics_is_answered() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new("interfaces = [\"nw0\"]\n");
    let host = guarded.host();
    let status = |method, path| http(host, METRICS, method, path).expect("it listens").status;
    for path in ["/", "/metrics/", "/metric", "/metrics.txt", "/..//metrics"] {
        assert_eq!(status("GET", path), 404, "{path}");
    }
    for method in ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"] {
        assert_eq!(status(method, "/metrics"), 405, "{method}");
    }
    let answer = http(host, METRICS, "GET", "/metrics?name=x").expect("it listens");
    assert_eq!(answer.status, 200);
    let kind = "content-type: text/plain; version=0.0.4";
    assert!(answer.head.to_ascii_lowercase().contains(kind), "{}", answer.head);
}

#[test]
fn garbage_and_slow_and_many_clients_keep_nobody_out() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new("interfaces = [\"nw0\"]\n");
    let host = guarded.host();
    // What is no request ends with an answer that says so, or with none.
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    for garbage in
        ["\0\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "GET /metrics HTTP/9.9\r\n\r\n", &long, &many]
    {
        let answer = ask(host, METRICS, garbage).expect("it listens");
        assert!(!answer.contains("nodewall_"), "{answer}");
    }
    // Silent ones, ones that stop in the middle, and ones that read nothing.
    let address = METRICS.parse().expect("an address");
    let mut silent = Vec::new();
    for number in 0..200 {
        let Outcome::Connected(mut stream) =
            tcp_connect(host, None, address, soon()).expect("an attempt")
        else {
            panic!("connection {number} does not come about")
        };
        match number % 3 {
            0 => {}
            1 => stream.write_all(b"GET /metrics HTTP/1.1\r\nHo").expect("sent"),
            _ => stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("sent"),
        }
        silent.push(stream);
        if number % 20 == 0 {
            assert_eq!(metrics(&guarded).value("nodewall_generation"), 1.0);
        }
    }
    assert_eq!(metrics(&guarded).value("nodewall_generation"), 1.0);
    // The control socket never noticed.
    assert_eq!(guarded.status().generation(), 1);
    drop(silent);
    // Many at once, each answered in its turn.
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                assert_eq!(metrics(&guarded).value("nodewall_generation"), 1.0);
            });
        }
    });
}

#[test]
fn interfaces_that_are_gone_are_told() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new("interfaces = [\"nw0\"]\n");
    guarded.world.veth.delete().expect("deleted");
    eventually("neither mode", || {
        let told = metrics(&guarded);
        ["native", "generic"].iter().all(|mode| {
            told.value(&format!("nodewall_attached{{interface=\"nw0\",mode=\"{mode}\"}}")) == 0.0
        })
    });
    // A link without native mode is guarded in generic mode, because it has none.
    let host = Namespace::new("host").expect("a namespace");
    let policy = format!("interfaces = [\"lo\"]\n{}", rule_for("metrics", "tcp/9551", ""));
    let daemon = instance(&host).start(Policy::Text(&policy), &[]).expect("it starts");
    let told = scrape(&host, METRICS).expect("it listens");
    assert_eq!(told.value("nodewall_attached{interface=\"lo\",mode=\"generic\"}"), 1.0);
    assert_eq!(told.value("nodewall_attach_fallback{interface=\"lo\"}"), 1.0);
    let _ended = daemon.stop().expect("it stops");
    assert!(scrape(&host, METRICS).is_none(), "it ends with the daemon");
}

#[test]
fn what_an_earlier_daemon_counted_goes_on_under_another_policy() {
    if !ready() {
        return;
    }
    let top = "interfaces = [\"nw0\"]\n";
    let limit = "[rule.per_source]\nnew_connections = { rate = \"1/h\", burst = 1 }";
    let guarded = Guarded::new(&format!("{top}{}", rule_for("p2p", "tcp/8080", limit)));
    let Guarded { daemon, world } = guarded;
    let at = world.host_ipv4(8080);
    let _server = tcp_listen(&world.host, at).expect("a server");
    drop(open(&world.peer, None, at));
    closed(&world.peer, None, at);
    let installed = daemon.instance().clone();
    daemon.kill();
    // The rule has no limit any more, and what its limit refused stays told.
    let policy = format!("{top}{}", rule_for("p2p", "tcp/8080", ""));
    let daemon = installed.start(Policy::Text(&policy), &[]).expect("it starts");
    let guarded = Guarded { daemon, world };
    let refused = "nodewall_rule_packets_total{rule=\"p2p\",verdict=\"drop\",reason=\"connection_rate\",scope=\"per_source\"}";
    let told = metrics(&guarded);
    assert!(told.value(refused) >= 1.0);
    assert_eq!(metrics(&guarded).value(refused), told.value(refused), "at the next scrape too");
    assert!(guarded.rules().packets("p2p", "connection_rate") >= 1);
}

#[test]
fn a_change_that_waits_for_its_confirmation_is_told() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new("interfaces = [\"nw0\"]\n");
    assert_eq!(metrics(&guarded).value("nodewall_change_pending"), 0.0);
    let policy = format!("interfaces = [\"nw0\"]\n{}", rule_for("web", "tcp/8080", ""));
    let file = guarded.instance().write("next.toml", &policy).expect("written");
    guarded.ok(&["apply", &file.to_string_lossy(), "--confirm", "10m"]);
    let told = metrics(&guarded);
    assert_eq!(told.value("nodewall_change_pending"), 1.0);
    assert_eq!(told.value("nodewall_rule_connections{rule=\"web\"}"), 0.0);
    guarded.ok(&["rollback"]);
    let told = metrics(&guarded);
    assert_eq!(told.value("nodewall_change_pending"), 0.0);
    assert!(told.get("nodewall_rule_connections{rule=\"web\"}").is_none());
}
