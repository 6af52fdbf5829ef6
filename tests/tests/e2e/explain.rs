//! `nodewall explain`: the kernel's own word on a packet, and nothing of the
//! running filter changed by it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::UdpSocket,
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use nodewall_tests::e2e::{
    Guarded, ctl, eventually, expect_code, held, instance, open, ready, rule_for,
};
use sandbox::{HOST_IPV4, PEER_IPV4, PEER_LINK, RawSocket, Sandbox, tcp_listen};
use serde_json::Value;

use super::replay::{Pcap, policy_file};

/// Limits that no test waits for.
const POLICY: &str = r#"
interfaces = ["nw0"]
[sources]
trusted = ["203.0.113.1"]
denied = ["203.0.113.2"]
[icmp]
echo = { rate = "1/h", burst = 3 }
"#;

fn policy() -> String {
    let slow = "per_source = { connections = 2, new_connections = { rate = \"1/h\", burst = 3 }, packets = { rate = \"1/h\", burst = 50 } }";
    [
        POLICY.to_owned(),
        rule_for("p2p", "tcp/8080 udp/5000", slow),
        rule_for("ssh", "tcp/22", "from = [\"198.51.100.0/24\"]"),
    ]
    .concat()
}

/// What `explain --json` says.
#[track_caller]
fn asked(guarded: &Guarded, packet: &str, more: &[&str]) -> Value {
    guarded.json(&[&["explain", packet, "--json"], more].concat())
}

#[track_caller]
fn is(guarded: &Guarded, packet: &str, verdict: &str, reason: &str) -> Value {
    let said = asked(guarded, packet, &[]);
    assert_eq!(
        (said["verdict"].as_str(), said["reason"].as_str()),
        (Some(verdict), Some(reason)),
        "{packet}: {said}"
    );
    said
}

/// Asks a thousand times and more over one connection.
fn ask_much(guarded: &Guarded, packets: &[String]) {
    let stream =
        UnixStream::connect(guarded.instance().outside("control.sock")).expect("it listens");
    let mut answers = BufReader::new(stream.try_clone().expect("cloned"));
    for packet in packets {
        let request = serde_json::json!({"v": 1, "command": "explain", "packet": packet});
        writeln!(&stream, "{request}").expect("sent");
        let mut line = String::new();
        answers.read_line(&mut line).expect("answered");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        assert!(answer["result"]["verdict"].is_string(), "{packet}: {answer}");
    }
}

#[test]
fn each_kind_of_packet_has_the_kernels_verdict_live_and_by_a_file() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy());
    let file = policy_file(&guarded, "nodewall.toml");
    for (packet, verdict, reason, rule) in [
        ("tcp 203.0.113.1:1 > 203.0.113.5:23", "pass", "trusted", None),
        ("tcp 203.0.113.2:1 > 203.0.113.5:22", "drop", "denied", None),
        ("tcp 198.51.100.9:4000 > 203.0.113.5:22 syn", "pass", "rule", Some("ssh")),
        ("nw0: tcp 198.51.100.9:4000 > 203.0.113.5:22 ack", "drop", "out_of_state", Some("ssh")),
        ("tcp 192.0.2.9:4000 > 203.0.113.5:22 syn", "drop", "source_not_allowed", None),
        ("tcp 192.0.2.9:4000 > 203.0.113.5:23 syn", "drop", "port_closed", None),
        ("tcp 192.0.2.9:4000 > 203.0.113.5:9000 syn", "drop", "port_closed", None),
        ("udp 192.0.2.9:4000 > 203.0.113.5:5000 len 1400", "pass", "rule", Some("p2p")),
        ("udp [2001:db8::9]:4000 > [2001:db8::1]:5000", "pass", "rule", Some("p2p")),
        ("udp [2001:db8::9]:4000 > [2001:db8::1]:5000 frag 7,0,mf", "pass", "rule", Some("p2p")),
        ("udp 192.0.2.9 > 203.0.113.5 frag 7,1480,0", "drop", "fragment", None),
        ("icmp 192.0.2.9 > 203.0.113.5 echo", "pass", "icmp", None),
        ("icmp6 2001:db8::9 > 2001:db8::1 unreachable", "drop", "icmp_closed", None),
        ("icmp6 fe80::9 > ff02::1 type 134", "pass", "essential", None),
        ("udp 192.0.2.9:4000 > 203.0.113.5:5000 len 60000", "pass", "rule", Some("p2p")),
    ] {
        // In a private copy there is always the first of all packets.
        for more in [&[][..], &["--config", &file]] {
            let said = asked(&guarded, packet, more);
            let found = (said["verdict"].as_str(), said["reason"].as_str(), said["rule"].as_str());
            assert_eq!(found, (Some(verdict), Some(reason), rule), "{packet} {more:?}: {said}");
            assert_eq!(said["interface"], "nw0", "{said}");
            assert!(said["why"].as_array().is_some_and(|why| !why.is_empty()), "{said}");
        }
    }
    // What is not guarded a file can be asked about, and the daemon not.
    let vpn = rule_for("vpn", "tcp/9000", "interfaces = [\"wg0\"]");
    let vpn = format!("interfaces = [\"nw0\", \"wg0\"]\n{vpn}");
    guarded.instance().write("vpn.toml", &vpn).expect("written");
    let vpn = policy_file(&guarded, "vpn.toml");
    let packet = "wg0: tcp 192.0.2.9:4000 > 203.0.113.5:9000 syn";
    let said = asked(&guarded, packet, &["--config", &vpn]);
    assert_eq!((&said["reason"], &said["rule"]), (&"rule".into(), &"vpn".into()), "{said}");
    let said = asked(&guarded, &packet.replace("wg0", "nw0"), &["--config", &vpn]);
    assert_eq!(said["reason"], "port_closed", "{said}");
    let output = guarded.code(&["explain", packet], 2);
    assert!(output.stderr.contains("interface `wg0` is not guarded"), "{}", output.stderr);

    let output = guarded.ok(&["explain", "tcp 192.0.2.9:4000 > 203.0.113.5:23"]);
    assert_eq!(
        output.stdout,
        "nw0: tcp 192.0.2.9:4000 > 203.0.113.5:23 syn len 54\n\
         drop  port_closed\n\
         \x20 No rule names tcp/23.\n\
         \x20 To open it, add a `[[rule]]` with `ports = [\"tcp/23\"]`, and `from` with those who may use it.\n"
    );
}

#[test]
fn what_is_wrong_has_a_sentence_and_a_code() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let good = "tcp 192.0.2.9:4000 > 203.0.113.5:23";
    let bad_policy = installed.write("bad.toml", "mode = \"never\"\n").expect("written");
    let bad_policy = bad_policy.to_string_lossy();
    let policy = installed.write("good.toml", "").expect("written");
    let policy = policy.to_string_lossy();
    for (arguments, code, sentence) in [
        (
            &["explain", "tcp 192.0.2.9:4000 > 203.0.113.5"][..],
            2,
            "column 22: 203.0.113.5 has no port",
        ),
        (&["explain"], 2, "PACKET"),
        (&["explain", good], 3, "no nodewall daemon listens"),
        (&["explain", good, "--config", &bad_policy], 2, "bad.toml:1:8: field `mode`"),
        (&["explain", good, "--config", "/no/such.toml"], 2, "/no/such.toml"),
        (&["explain", good, "--config", &policy], 0, ""),
    ] {
        let output = ctl(&installed, arguments);
        expect_code(arguments, &output, code);
        assert!(output.stderr.contains(sentence), "{arguments:?}: {}", output.stderr);
    }
    let output = ctl(&installed, &["explain", "tcp x", "--json"]);
    let error: Value = serde_json::from_str(&output.stderr).expect("JSON");
    assert_eq!((output.code, &error["column"]), (Some(2), &5.into()), "{error}");

    // Without the rights to load a program.
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all", "--inh-caps", "-all", "--"]);
    command.arg(nodewall_tests::e2e::nodewall()).args(["explain", good, "--config", &policy]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = world.host.spawn(command).expect("it runs").wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("as root"), "{stderr}");
}

#[test]
fn what_stands_now_counts() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy());
    let world = &guarded.world;
    let (peer, host) = (PEER_IPV4, HOST_IPV4);

    // Connections: two are held, and a third would be too many.
    let server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("a server");
    let syn = format!("tcp {peer}:40000 > {host}:8080 syn");
    is(&guarded, &syn, "pass", "rule");
    let first = open(&world.peer, None, world.host_ipv4(8080));
    let second = open(&world.peer, None, world.host_ipv4(8080));
    eventually("both are counted", || asked(&guarded, &syn, &[])["reason"] == "connection_limit");
    let said = is(&guarded, &syn, "drop", "connection_limit");
    assert_eq!(
        said["why"][0],
        format!("{peer} holds all of the per_source connections of rule `p2p`: 2.")
    );
    // What belongs to one of them is of a live connection; of another there is none.
    let local = first.local_addr().expect("an address");
    is(&guarded, &format!("tcp {local} > {host}:8080 ack"), "pass", "rule");
    is(&guarded, &format!("tcp {peer}:1 > {host}:8080 ack"), "drop", "out_of_state");
    drop((first, second));
    drop(server);

    // Rates: three SYNs in an hour, two of which are spent.
    eventually("none is held", || asked(&guarded, &syn, &[])["reason"] == "rule");
    let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    let frame = world.frame_to_host().ipv4(peer, host).tcp(40_000, 8080).syn().build();
    raw.send(&frame).expect("sent");
    eventually("the third is spent", || asked(&guarded, &syn, &[])["reason"] == "connection_rate");
    let said = is(&guarded, &syn, "drop", "connection_rate");
    assert_eq!(said["scope"], "per_source");

    // Fragments: a later one follows the first that came.
    let first = world.frame_to_host().ipv4(peer, host).fragment(77, 0, true);
    raw.send(&first.udp(4000, 5000).length(1000).payload([7; 24]).build()).expect("sent");
    let later = format!("udp {peer} > {host} frag 77,32,0");
    eventually("it is known", || asked(&guarded, &later, &[])["reason"] == "rule");

    // What this host asked may be answered.
    let reply = format!("udp {peer}:6000 > {host}:6001");
    is(&guarded, &reply, "drop", "port_closed");
    sends(&guarded, 6001, 6000);
    is(&guarded, &reply, "pass", "reply");

    // Bans, and how to take them back.
    guarded.ok(&["ban", "192.0.2.0/24", "--for", "1h", "--reason", "port scan"]);
    let said = is(&guarded, &format!("tcp 192.0.2.77:1 > {host}:22"), "drop", "banned");
    let why = said["why"][0].as_str().unwrap_or_default();
    assert!(
        why.starts_with("192.0.2.0/24 is banned until 20")
            && why.contains("(port scan): `nodewall unban 192.0.2.0/24`"),
        "{why}"
    );

    // A change of policy is in force at once.
    let other = [policy(), rule_for("new", "tcp/23", "")].concat();
    guarded.apply(&other);
    let said = is(&guarded, &format!("tcp {peer}:1 > {host}:23"), "pass", "rule");
    assert_eq!(said["rule"], "new");
}

/// Has the host send a datagram to the peer, where nobody listens.
fn sends(guarded: &Guarded, from: u16, to: u16) {
    let from = guarded.world.host_ipv4(from);
    let send = || UdpSocket::bind(from)?.send_to(b"x", (PEER_IPV4, to));
    guarded.host().enter(send).expect("entered").expect("sent");
}

/// Everything that the daemon tells of the running filter.
fn told(guarded: &Guarded) -> Vec<Value> {
    let status = guarded.json(&["status", "--json"]);
    let mut all: Vec<Value> =
        ["totals", "monitored", "tables", "contended", "connections", "events", "generation"]
            .iter()
            .map(|key| status[*key].clone())
            .collect();
    for arguments in [
        &["rules", "--json"][..],
        &["sources", "--json"],
        &["flows", "--json"],
        &["bans", "--json"],
    ] {
        all.push(guarded.json(arguments));
    }
    // Those are by when they were last heard of, and two may be as old.
    for told in &mut all {
        if let Some(Value::Array(flows)) = told.get_mut("flows") {
            flows.sort_by_key(Value::to_string);
        }
    }
    all.push(guarded.ok(&["log", "--last", "4096"]).stdout.into());
    all
}

#[test]
fn thousands_of_questions_and_a_replay_change_nothing() {
    if !ready() {
        return;
    }
    let guarded = Guarded::over(Sandbox::silent_pair().expect("a pair"), &policy());
    let world = &guarded.world;
    let (peer, host) = (PEER_IPV4, HOST_IPV4);
    // Something of everything.
    let server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("a server");
    let stream = open(&world.peer, None, world.host_ipv4(8080));
    let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
    let ip = || world.frame_to_host().ipv4(peer, host);
    raw.send(&ip().udp(4000, 5000).payload([7; 24]).build()).expect("sent");
    raw.send(&ip().udp(4000, 5001).payload([7; 24]).build()).expect("sent");
    raw.send(&ip().fragment(7, 0, true).udp(4000, 5000).length(99).payload([7; 24]).build())
        .expect("sent");
    raw.send(&ip().ping(7, 7).build()).expect("sent");
    sends(&guarded, 6001, 6000);
    guarded.ok(&["ban", "192.0.2.0/24"]);
    eventually("all has come, and the connection is counted", || {
        let status = guarded.status();
        // The ping, and that nobody listens at the peer.
        let icmp = status.packets("icmp");
        status.packets("port_closed") == 1 && icmp == 2 && held(&guarded) == 1
    });
    // The program's first load has its own time; then the network says nothing for a while.
    is(&guarded, &format!("tcp {peer}:1 > {host}:23"), "drop", "port_closed");

    // What the kernel sends by itself (IPv6 discovery) may come in between: then it is done again.
    let mut tries = 0;
    loop {
        let before = told(&guarded);
        let questions: Vec<String> = (0..3000_u32)
            .map(|n| {
                let stranger = std::net::Ipv4Addr::from(0xc633_0000 + n);
                match n % 12 {
                    0 => format!("tcp {stranger}:1 > {host}:8080 syn"),
                    1 => format!("tcp {peer}:{n} > {host}:8080 syn"),
                    2 => {
                        format!(
                            "tcp {} > {host}:8080 ack",
                            stream.local_addr().expect("an address")
                        )
                    }
                    3 => format!("udp {stranger}:4000 > {host}:5000 len 1400"),
                    4 => format!("udp {peer}:4000 > {host}:5000 frag {n},0,mf"),
                    5 => format!("udp {peer} > {host} frag 7,32,mf"),
                    6 => format!("udp {peer}:6000 > {host}:6001"),
                    7 => format!("icmp {stranger} > {host} echo"),
                    8 => format!("icmp {peer} > {host} unreachable"),
                    9 => format!("tcp {stranger}:1 > {host}:23 syn"),
                    10 => format!("tcp 192.0.2.{}:1 > {host}:22 syn", n % 256),
                    _ => format!("udp [2001:db8::{n:x}]:4000 > [2001:db8::1]:5000"),
                }
            })
            .collect();
        ask_much(&guarded, &questions);
        let mut capture = Pcap::microseconds();
        for (n, text) in questions.iter().enumerate() {
            capture.packet(n as u64 * 1_000_000, text);
        }
        let file = capture.write(guarded.instance(), "questions.pcap");
        let replayed = guarded.json(&["replay", &file, "--local", &host.to_string(), "--json"]);
        assert_eq!(replayed["packets"].as_array().map(Vec::len), Some(3000));
        let after = told(&guarded);
        if before == after {
            break;
        }
        tries += 1;
        assert!(tries < 3, "changed:\n{before:#?}\n{after:#?}");
    }
    drop((stream, server));
}

#[test]
fn it_answers_while_a_flood_runs() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy());
    let world = &guarded.world;
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let raw = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
            let mut n = 0_u32;
            while !ends.load(Ordering::Relaxed) {
                n = n.wrapping_add(1);
                let from = std::net::Ipv4Addr::from(0x0a00_0000 + n % 0x00ff_ffff);
                let frame = world.frame_to_host().ipv4(from, HOST_IPV4).udp(4000, 5000);
                raw.send(&frame.payload([7; 24]).build()).expect("sent");
            }
        });
        let mut capture = Pcap::microseconds();
        for n in 0..5000 {
            capture.packet(n * 1000, "udp 192.0.2.9:4000 > 203.0.113.5:5000");
        }
        let file = capture.write(guarded.instance(), "flood.pcap");
        for _ in 0..5 {
            is(&guarded, "udp 192.0.2.8:4000 > 203.0.113.5:5000", "pass", "rule");
            is(&guarded, "udp 192.0.2.8:4000 > 203.0.113.5:5001", "drop", "port_closed");
            let replayed = guarded.json(&["replay", &file, "--json"]);
            let summary = replayed["summary"].as_array().cloned().unwrap_or_default();
            // Its own rate: 50 at once, and one an hour.
            let sums: Vec<_> = summary
                .iter()
                .map(|sum| (sum["reason"].as_str(), sum["packets"].as_u64()))
                .collect();
            assert_eq!(sums, [(Some("rule"), Some(50)), (Some("packet_rate"), Some(4950))]);
        }
        ends.store(true, Ordering::Relaxed);
    });
    assert!(guarded.status().packets("rule") > 0, "there was a flood");
}
