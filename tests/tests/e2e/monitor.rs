//! Monitor mode: judged and counted, and everything passes.

use nodewall_tests::e2e::{Guarded, closed, is_cut, open, ready, refused, rule_for, source};
use sandbox::{UdpOutcome, tcp_listen, udp_ask, udp_echo};
use serde_json::Value;

#[test]
fn a_policy_in_monitor_drops_nothing() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!(
        "interfaces = [\"nw0\"]\nmode = \"monitor\"\n{}{}{}",
        rule_for("open", "tcp/8080", ""),
        rule_for("few", "tcp/8081", "from = [\"192.0.2.1\"]"),
        rule_for(
            "limited",
            "udp/9000",
            "[rule.per_source]\npackets = { rate = \"1/h\", burst = 1 }"
        ),
    ));
    let world = &guarded.world;
    world.add_sources("203.0.113.0/24".parse().expect("a prefix")).expect("added");
    let _servers = [world.host_ipv4(8080), world.host_ipv6(8081), world.host_ipv4(8081)]
        .map(|at| tcp_listen(&world.host, at).expect("a server"));
    let _echo = udp_echo(&world.host, world.host_ipv4(9000)).expect("a server");
    assert_eq!(guarded.status().0["mode"], "monitor");

    open(&world.peer, None, world.host_ipv4(8080));
    refused(&world.peer, None, world.host_ipv4(8082));
    open(&world.peer, None, world.host_ipv6(8081));
    for _ in 0..3 {
        let answer =
            udp_ask(&world.peer, None, world.host_ipv4(9000), b"abc", nodewall_tests::e2e::soon());
        assert_eq!(answer.expect("asked"), UdpOutcome::Answered(b"abc".to_vec()));
    }
    guarded.ok(&["ban", "203.0.113.7"]);
    let banned = open(&world.peer, source("203.0.113.7"), world.host_ipv4(8080));
    assert!(!is_cut(&banned));

    let status = guarded.status();
    let dropped: Vec<&Value> = status.rows().filter(|row| row["verdict"] == "drop").collect();
    assert!(dropped.iter().all(|row| row["packets"] == 0), "{dropped:?}");
    assert!(status.packets("monitor") > 0, "{status:?}");
    assert_eq!(status.monitored("port_closed"), 1, "{status:?}");
    assert_eq!(status.monitored("packet_rate"), 2, "{status:?}");
    assert!(status.monitored("banned") >= 3, "{status:?}");
    // The SYN; what follows it belongs to a connection of this host.
    assert_eq!(status.monitored("source_not_allowed"), 1, "{status:?}");
    let rules = guarded.rules();
    assert_eq!(rules.monitored("limited", "packet_rate"), 2, "{rules:?}");
    assert_eq!(rules.packets("limited", "monitor"), 2, "{rules:?}");
    assert_eq!(rules.packets("limited", "rule"), 1, "{rules:?}");
}

#[test]
fn a_rule_in_monitor_shadows_itself_alone() {
    if !ready() {
        return;
    }
    let limits = "[rule.per_source]\npackets = { rate = \"1/h\", burst = 1 }";
    let guarded = Guarded::new(&format!(
        "interfaces = [\"nw0\"]\n{}{}{}{}{}",
        rule_for("shadow", "udp/9000", &format!("mode = \"monitor\"\n{limits}")),
        rule_for("strict", "udp/9001", limits),
        rule_for("all-shadow", "tcp/8080", "mode = \"monitor\"\nfrom = [\"192.0.2.1\"]"),
        rule_for("half-shadow", "tcp/8081", "mode = \"monitor\"\nfrom = [\"192.0.2.1\"]"),
        rule_for("half-strict", "tcp/8081", "from = [\"192.0.2.2\"]"),
    ));
    let world = &guarded.world;
    let _servers = [world.host_ipv4(8080), world.host_ipv4(8081)]
        .map(|at| tcp_listen(&world.host, at).expect("a server"));
    let _echo = [world.host_ipv4(9000), world.host_ipv4(9001)]
        .map(|at| udp_echo(&world.host, at).expect("a server"));
    let ask = |port| {
        let at = world.host_ipv4(port);
        let time = nodewall_tests::e2e::silence();
        udp_ask(&world.peer, None, at, b"abc", time).expect("asked")
    };
    let answered = UdpOutcome::Answered(b"abc".to_vec());
    assert_eq!([ask(9000), ask(9000), ask(9000)], [(); 3].map(|()| answered.clone()));
    assert_eq!([ask(9001), ask(9001)], [answered, UdpOutcome::TimedOut]);
    // `source_not_allowed` is shadowed where every rule of the port is.
    open(&world.peer, None, world.host_ipv4(8080));
    closed(&world.peer, None, world.host_ipv4(8081));
    closed(&world.peer, None, world.host_ipv4(8082));

    let rules = guarded.rules();
    assert_eq!(rules.packets("shadow", "rule"), 1, "{rules:?}");
    assert_eq!(rules.packets("shadow", "monitor"), 2, "{rules:?}");
    assert_eq!(rules.monitored("shadow", "packet_rate"), 2, "{rules:?}");
    assert_eq!(rules.packets("shadow", "packet_rate"), 0, "{rules:?}");
    assert_eq!(rules.packets("strict", "packet_rate"), 1, "{rules:?}");
    let status = guarded.status();
    assert_eq!(status.0["mode"], "enforce");
    assert_eq!(status.packets("source_not_allowed"), 1, "{status:?}");
    assert_eq!(status.monitored("source_not_allowed"), 1, "{status:?}");
    assert_eq!(status.packets("port_closed"), 1, "{status:?}");
}
