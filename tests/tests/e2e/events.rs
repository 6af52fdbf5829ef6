//! Drops, one by one: `nodewall log`, those who follow it, and the journal.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixDatagram, UnixStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use nodewall_tests::e2e::{Guarded, ctl, eventually, instance, ready, rule_for, soon};
use sandbox::{HOST_IPV4, HOST_IPV6, Instance, PEER_IPV4, PEER_IPV6, RawSocket, Sandbox};
use serde_json::{Value, json};

/// A policy with a rule that admits one packet an hour.
fn policy(log: &str) -> String {
    let limit = "[rule.total]\npackets = { rate = \"1/h\", burst = 1 }";
    format!("interfaces = [\"nw0\"]\n{log}\n{}", rule_for("few", "udp/9000", limit))
}

/// What the log has, oldest first.
fn shown(guarded: &Guarded) -> Vec<Value> {
    lines(&guarded.ok(&["log", "--last", "5000", "--json"]).stdout)
}

fn lines(text: &str) -> Vec<Value> {
    let line = |line| match serde_json::from_str::<Value>(line) {
        Ok(value) => value,
        Err(error) => panic!("{line}: {error}"),
    };
    text.lines().map(line).collect()
}

/// Sends frames to the host, whose answers nobody expects.
fn sender(world: &Sandbox) -> RawSocket {
    RawSocket::open(&world.peer, sandbox::PEER_LINK).expect("a socket")
}

#[test]
fn the_log_shows_what_was_dropped() {
    if !ready() {
        return;
    }
    let guarded = Guarded::over(Sandbox::silent_pair().expect("a pair"), &policy(""));
    let world = &guarded.world;
    let send = sender(world);
    let ipv4 = || world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4);
    let ipv6 = || world.frame_to_host().ipv6(PEER_IPV6, HOST_IPV6);
    for frame in [
        ipv4().tcp(4000, 81).syn().pad_to(60).build(),
        ipv6().tcp(4001, 81).syn().ack().build(),
        ipv4().udp(4002, 9000).pad_to(60).build(),
        ipv4().udp(4002, 9000).pad_to(77).build(),
        ipv4().ping(1, 1).pad_to(60).build(),
        ipv4().total_length(9).pad_to(60).build(),
    ] {
        send.send(&frame).expect("sent");
    }
    eventually("five drops are shown", || shown(&guarded).len() == 5);
    let rows = shown(&guarded);
    let expected = [
        json!({"reason": "port_closed", "rule": null, "scope": null, "source": "198.51.100.2", "destination": "198.51.100.1",
               "protocol": "tcp", "source_port": 4000, "destination_port": 81, "flags": "syn", "length": 60}),
        json!({"reason": "port_closed", "rule": null, "scope": null, "source": "2001:db8:51::2", "destination": "2001:db8:51::1",
               "protocol": "tcp", "source_port": 4001, "destination_port": 81, "flags": "syn ack", "length": 74}),
        json!({"reason": "packet_rate", "rule": "few", "scope": "total", "source": "198.51.100.2", "destination": "198.51.100.1",
               "protocol": "udp", "source_port": 4002, "destination_port": 9000, "flags": null, "length": 77}),
        json!({"reason": "icmp_closed", "protocol": "icmp", "source_port": null, "icmp_type": 8, "icmp_code": 0}),
        json!({"reason": "malformed", "source": "198.51.100.2", "protocol": null, "destination_port": null, "length": 60}),
    ];
    for (row, expected) in rows.iter().zip(&expected) {
        let Value::Object(expected) = expected else { continue };
        for (key, value) in expected {
            // A key that is not there would be null too.
            assert_eq!(row.get(key), Some(value), "{key} of {row}");
        }
        assert_eq!((&row["v"], &row["interface"]), (&json!(1), &json!("nw0")), "{row}");
        assert_eq!((&row["verdict"], &row["not_shown"]), (&json!("drop"), &json!(0)), "{row}");
        let time = row["time"].as_str().unwrap_or_default();
        let age = std::time::SystemTime::now()
            .duration_since(humantime::parse_rfc3339(time).expect("a time"));
        assert!(age.expect("it was") < soon() * 3, "{row}");
    }
    let text = guarded.ok(&["log", "--last", "3"]).stdout;
    let first = text.lines().next().unwrap_or_default();
    assert_eq!(text.lines().count(), 3, "{text}");
    let packet = "nw0: udp 198.51.100.2:4002 > 198.51.100.1:9000 len 77, rule few total";
    assert!(first.ends_with(&format!("  drop  packet_rate         {packet}")), "{text}");
    let events = &guarded.status().0["events"];
    assert_eq!(*events, json!({"shown": 5, "not_shown": 0, "lost": 0}));
    // Only counted where nobody is told.
    assert!(!guarded.daemon.stderr().contains("port_closed"), "{}", guarded.daemon.stderr());
}

#[test]
fn a_flood_is_sampled_and_every_drop_accounted_for() {
    if !ready() {
        return;
    }
    let log = "[log]\ndrops = { rate = \"1/h\", burst = 5 }\n";
    let guarded = Guarded::over(Sandbox::silent_pair().expect("a pair"), &policy(log));
    let world = &guarded.world;
    // Each processor tells of what it has seen itself, which is what this thread sends.
    bench::flood::pin(0).expect("a processor");
    let send = sender(world);
    let closed = world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).tcp(4000, 81).syn().pad_to(60);
    let closed = closed.build();
    let flood = |frames: u64| {
        let before = guarded.status().packets("port_closed");
        for _ in 0..frames {
            send.send(&closed).expect("sent");
        }
        eventually("all were judged", || {
            guarded.status().packets("port_closed") == before + frames
        });
    };
    flood(2000);
    eventually("what was granted is shown", || shown(&guarded).len() == 5);
    let counted = |guarded: &Guarded| {
        let events = guarded.status().0["events"].clone();
        ["shown", "not_shown", "lost"].map(|key| events[key].as_u64().expect("a number"))
    };
    assert_eq!(counted(&guarded), [5, 1995, 0]);

    // Another rate is another grant; the first event tells of all that were not shown.
    guarded.apply(&policy("[log]\ndrops = { rate = \"1/h\", burst = 3 }\n"));
    eventually("more is granted", || {
        flood(10);
        counted(&guarded)[0] == 8
    });
    let told: u64 = shown(&guarded).iter().map(|row| row["not_shown"].as_u64().expect("one")).sum();
    let [shown_now, not_shown, _] = counted(&guarded);
    assert!((1995..=not_shown).contains(&told), "{told} of {not_shown}");
    assert_eq!(shown_now + not_shown, guarded.status().packets("port_closed"));

    guarded.apply(&policy("[log]\ndrops = false\n"));
    let diff = guarded.ok(&["diff"]).stdout;
    assert!(diff.contains("~ log.drops false -> 1/h burst 5"), "{diff}");
    flood(100);
    assert_eq!(counted(&guarded)[0], 8);
}

#[test]
fn monitor_mode_shows_what_it_lets_through() {
    if !ready() {
        return;
    }
    let policy = format!("mode = \"monitor\"\n{}", policy(""));
    let guarded = Guarded::over(Sandbox::silent_pair().expect("a pair"), &policy);
    let frame = guarded.world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).udp(1, 2);
    sender(&guarded.world).send(&frame.pad_to(60).build()).expect("sent");
    eventually("it is shown", || !shown(&guarded).is_empty());
    let row = &shown(&guarded)[0];
    assert_eq!((&row["verdict"], &row["reason"]), (&json!("pass"), &json!("port_closed")));
}

/// A `nodewall log --follow --json` and what it prints.
struct Follower {
    child: Child,
    lines: Receiver<Value>,
}

impl Follower {
    fn new(instance: &Instance) -> Self {
        let mut command = instance.command(&["log", "--follow", "--json"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = instance.namespace().spawn(command).expect("it runs");
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _nobody = send.send(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Self { child, lines }
    }

    fn next(&self) -> Value {
        self.lines.recv_timeout(soon()).expect("a line comes")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn who_follows_sees_drops_as_they_come_and_nobody_waits_for_the_slow() {
    if !ready() {
        return;
    }
    let log = "[log]\ndrops = { rate = \"1k/s\", burst = 2000 }\n";
    let guarded = Guarded::over(Sandbox::silent_pair().expect("a pair"), &policy(log));
    let world = &guarded.world;
    let send = sender(world);
    let to = |port: u16| {
        let frame = world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).udp(4000, port);
        send.send(&frame.pad_to(60).build()).expect("sent");
    };
    to(1000);
    let follower = Follower::new(guarded.instance());
    assert_eq!(follower.next()["destination_port"], 1000);
    for port in 1001..1040 {
        to(port);
        assert_eq!(follower.next()["destination_port"], port);
    }

    // Those who follow and read nothing take a place each, and nothing else.
    let follow = |stream: &mut UnixStream| {
        stream.write_all(b"{\"v\":1,\"command\":\"log\",\"last\":1,\"follow\":true}\n")
    };
    let connect = || UnixStream::connect(guarded.instance().outside("control.sock"));
    let mut slow: Vec<UnixStream> = Vec::new();
    for _ in 0..7 {
        let mut stream = connect().expect("a connection");
        follow(&mut stream).expect("asked");
        slow.push(stream);
    }
    let first = |stream: &UnixStream| {
        let mut line = String::new();
        let _length = BufReader::new(stream).read_line(&mut line).expect("an answer");
        line
    };
    for stream in &slow {
        assert!(first(stream).contains("\"events\":[{"));
    }
    let mut ninth = connect().expect("a connection");
    follow(&mut ninth).expect("asked");
    assert!(first(&ninth).contains("8 others follow the log already"));
    for port in 2000..4000 {
        to(port);
    }
    let (mut seen, mut sum) = (0, 0);
    while sum < 2000 {
        let row = follower.next();
        seen += 1;
        sum += 1 + row["not_shown"].as_u64().expect("a number");
    }
    assert!(seen > 100, "{seen} were shown");
    assert!(guarded.status().packets("port_closed") >= 2040);
    // Whoever goes makes room.
    drop(slow);
    eventually("there is room again", || {
        let mut another = connect().expect("a connection");
        follow(&mut another).expect("asked");
        first(&another).contains("\"result\"")
    });
}

/// An entry as it comes in the journal's own protocol
/// (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).
fn entry(datagram: &[u8]) -> HashMap<String, String> {
    let mut fields = HashMap::new();
    let mut rest = datagram;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match line.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                fields.insert(text(&line[..at]), text(&line[at + 1..]));
                rest = after;
            }
            // A length of 8 bytes, the value, a line feed.
            None => {
                let (length, value) = after.split_first_chunk::<8>().expect("a length");
                let length = u64::from_le_bytes(*length) as usize;
                fields.insert(text(line), text(&value[..length]));
                rest = &value[length + 1..];
            }
        }
    }
    fields
}

#[test]
fn under_systemd_the_journal_has_fields() {
    if !ready() {
        return;
    }
    let world = Sandbox::silent_pair().expect("a pair");
    let instance = instance(&world.host);
    let config = instance.write("nodewall.toml", &policy("")).expect("written");
    let journal = UnixDatagram::bind(instance.outside("journal")).expect("a socket");
    journal.set_read_timeout(Some(soon())).expect("a time");
    // As systemd starts a service: its standard error leads to the journal.
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal &&
        ln -s \"$1\" /run/systemd/journal/socket && shift &&
        JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) && export JOURNAL_STREAM && exec \"$@\"";
    let run = instance.command(&["run"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(instance.path("journal"));
    command.arg(run.get_program()).args(run.get_args()).arg("--config").arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut daemon = world.host.spawn(command).expect("it runs");
    eventually("the daemon listens", || ctl(&instance, &["status"]).code == Some(0));
    let frame = world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).tcp(4000, 81).syn();
    sender(&world).send(&frame.pad_to(60).build()).expect("sent");
    let mut buffer = vec![0; 65_536];
    let mut entries = Vec::new();
    while !entries.iter().any(|entry: &HashMap<_, _>| entry.contains_key("NODEWALL_REASON")) {
        let length = journal.recv(&mut buffer).expect("an entry comes");
        entries.push(entry(&buffer[..length]));
    }
    let drop = &entries[entries.len() - 1];
    let of = |entry: &HashMap<String, String>, key: &str| entry.get(key).cloned();
    let says = |entry, text| of(entry, "MESSAGE").is_some_and(|message| message.contains(text));
    assert!(entries.iter().any(|entry| says(entry, "guarding interface nw0")), "{entries:?}");
    for (key, value) in [
        ("NODEWALL_REASON", "port_closed"),
        ("NODEWALL_VERDICT", "drop"),
        ("NODEWALL_INTERFACE", "nw0"),
        ("NODEWALL_SOURCE", "198.51.100.2"),
        ("NODEWALL_DESTINATION_PORT", "81"),
        ("NODEWALL_FLAGS", "syn"),
        ("NODEWALL_NOT_SHOWN", "0"),
        ("SYSLOG_IDENTIFIER", "nodewall"),
        ("MESSAGE", "drop port_closed: nw0: tcp 198.51.100.2:4000 > 198.51.100.1:81 syn len 60"),
    ] {
        assert_eq!(of(drop, key).as_deref(), Some(value), "{key} of {drop:?}");
    }
    assert!(!drop.contains_key("NODEWALL_RULE"), "{drop:?}");
    daemon.kill().expect("it runs still");
    let output = daemon.wait_with_output().expect("it ended");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
