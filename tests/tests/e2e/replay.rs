//! `nodewall replay`: captures judged by the program that guards the host.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    process::Stdio,
    thread,
    time::Duration,
};

use filter_user::{capture::Link, packet::Packet};
use nodewall_tests::e2e::{
    Guarded, ctl, eventually, expect_code, in_vm, instance, ready, rule_for,
};
use sandbox::{Instance, Sandbox};
use serde_json::Value;

/// A policy with limits that a capture's clock shows.
const POLICY: &str = r#"
interfaces = ["nw0"]
[[rule]]
name = "ticks"
ports = ["udp/5000"]
per_source = { packets = { rate = "10/s", burst = 1 } }
[[rule]]
name = "web"
ports = ["tcp/80"]
"#;

/// The bytes of a packet as the command line writes it.
fn bytes(text: &str, link: Link) -> Vec<u8> {
    let packet: Packet = match text.parse() {
        Ok(packet) => packet,
        Err(error) => panic!("{text}: {error}"),
    };
    packet.frame(link).expect("it can be built")
}

/// A pcap file.
pub(super) struct Pcap {
    file: Vec<u8>,
    /// Nanoseconds in a unit.
    unit: u64,
    link: Link,
}

impl Pcap {
    fn new(magic: u32, unit: u64, link: u32) -> Self {
        let header = [magic, 4 << 16 | 2, 0, 0, 262_144, link];
        let file = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        let link = if link == 1 { Link::Ethernet } else { Link::RawIp };
        Self { file, unit, link }
    }

    /// With Ethernet.
    pub(super) fn microseconds() -> Self {
        Self::new(0xa1b2_c3d4, 1000, 1)
    }

    fn record(&mut self, time: u64, original: usize, bytes: &[u8]) {
        let (seconds, rest) = (time / 1_000_000_000, time % 1_000_000_000 / self.unit);
        for word in [seconds, rest, bytes.len() as u64, original as u64] {
            self.file.extend((word as u32).to_le_bytes());
        }
        self.file.extend(bytes);
    }

    /// At so many nanoseconds.
    pub(super) fn packet(&mut self, time: u64, text: &str) {
        let bytes = bytes(text, self.link);
        self.record(time, bytes.len(), &bytes);
    }

    /// Where it is for processes of the instance.
    pub(super) fn write(&self, instance: &Instance, name: &str) -> String {
        fs::write(instance.outside(name), &self.file).expect("written");
        instance.path(name).to_string_lossy().into_owned()
    }
}

/// A pcapng file with one Ethernet interface whose clock ticks nanoseconds.
struct PcapNg(Vec<u8>);

impl PcapNg {
    fn new() -> Self {
        let mut file = Self(Vec::new());
        let words = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        file.block(0x0a0d_0d0a, &words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
        // `if_tsresol`, 9.
        file.block(1, &words(&[1, 0, 9 | 1 << 16, 9, 0]));
        file
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let length = (padded as u32 + 12).to_le_bytes();
        let padding = vec![0; padded - body.len()];
        self.0.extend([&kind.to_le_bytes()[..], &length, body, &padding, &length].concat());
    }

    fn packet(&mut self, time: u64, text: &str) {
        let bytes = bytes(text, Link::Ethernet);
        let words = [0, (time >> 32) as u32, time as u32, bytes.len() as u32, bytes.len() as u32];
        let head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.block(6, &[head, bytes].concat());
    }

    fn write(&self, instance: &Instance, name: &str) -> String {
        fs::write(instance.outside(name), &self.0).expect("written");
        instance.path(name).to_string_lossy().into_owned()
    }
}

/// A file of the instance, as its processes see it.
pub(super) fn policy_file(guarded: &Guarded, name: &str) -> String {
    guarded.instance().path(name).to_string_lossy().into_owned()
}

/// Verdict, reason and rule of each record.
fn rows(replayed: &Value) -> Vec<(Option<&str>, &str, Option<&str>)> {
    let packets = replayed["packets"].as_array().expect("packets");
    for (n, row) in (1..).zip(packets) {
        assert_eq!(row["n"], n, "{row}");
    }
    packets
        .iter()
        .map(|row| {
            let reason = row["reason"].as_str().expect("a reason");
            (row["verdict"].as_str(), reason, row["rule"].as_str())
        })
        .collect()
}

#[test]
fn every_record_has_a_row_live_and_by_a_file() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(POLICY);
    guarded.ok(&["ban", "192.0.2.66"]);
    let policy = policy_file(&guarded, "nodewall.toml");
    let mut capture = Pcap::microseconds();
    capture.packet(1, "tcp 192.0.2.9:1 > 203.0.113.5:80");
    capture.packet(2, "tcp 192.0.2.9:1 > 203.0.113.5:81");
    capture.packet(3, "tcp 192.0.2.66:1 > 203.0.113.5:80");
    let long = bytes("udp 192.0.2.9:1 > 203.0.113.5:5000 len 60000", Link::Ethernet);
    capture.record(4, long.len(), &long);
    capture.record(5, long.len(), &long[..96]);
    capture.record(6, 13, &long[..13]);
    capture.record(7, 0, &[]);
    capture.packet(8, "udp 192.0.2.9:1 > 203.0.113.5:5000");
    capture.record(9, 60, &[0xff; 60]);
    let file = capture.write(guarded.instance(), "some.pcap");
    let mut expected = [
        (Some("pass"), "rule", Some("web")),
        (Some("drop"), "port_closed", None),
        (Some("drop"), "banned", None),
        (Some("pass"), "rule", Some("ticks")),
        (None, "not_judged", None),
        (None, "not_judged", None),
        (None, "not_judged", None),
        (Some("drop"), "packet_rate", Some("ticks")),
        (Some("pass"), "not_ip", None),
    ];
    let live = guarded.json(&["replay", &file, "--json"]);
    assert_eq!(rows(&live), expected);
    assert_eq!(live["packets"][7]["scope"], "per_source");
    let summary: Vec<_> = live["summary"].as_array().expect("a summary").clone();
    let sum: u64 = summary.iter().filter_map(|sum| sum["packets"].as_u64()).sum();
    assert_eq!((sum, &summary[summary.len() - 1]["packets"]), (9, &3.into()), "{summary:?}");
    // A private copy knows of no ban.
    expected[2] = (Some("pass"), "rule", Some("web"));
    let private = guarded.json(&["replay", &file, "--config", &policy, "--json"]);
    assert_eq!(rows(&private), expected);

    let output = guarded.ok(&["replay", &file]);
    assert!(
        output.stdout.contains("  drop     port_closed  -            1\n"),
        "{}",
        output.stdout
    );
    let last = "not judged: 1 that the capture has only the beginning of, 2 too short for a frame\n9 records over ";
    assert!(output.stdout.contains(last), "{}", output.stdout);
    // From a pipe, too; and a second time what was replayed first plays no part.
    let mut command = guarded.instance().command(&["replay", "-", "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = guarded.host().spawn(command).expect("it runs");
    child.stdin.take().expect("piped").write_all(&capture.file).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let piped: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(piped, live);
}

#[test]
fn rates_go_by_the_clock_of_the_capture() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(POLICY);
    let policy = policy_file(&guarded, "nodewall.toml");
    let second = 1_000_000_000;
    // Ten a second, one at a time: every tenth of a second one passes.
    for (gap, passed) in [(second / 10, 50), (second / 20, 25), (1, 1), (second / 10 - 1, 25)] {
        let mut capture = PcapNg::new();
        for n in 0..50 {
            capture.packet(1_700_000_000 * second + n * gap, "udp 192.0.2.9:1 > 203.0.113.5:5000");
        }
        let file = capture.write(guarded.instance(), "ticks.pcapng");
        for more in [&[][..], &["--config", &policy]] {
            let replayed = guarded.json(&[&["replay", &file, "--json"], more].concat());
            let rows = rows(&replayed);
            let passes = rows.iter().filter(|(_, reason, _)| *reason == "rule").count();
            assert_eq!((rows.len(), passes), (50, passed), "{gap} {more:?}");
        }
    }
}

#[test]
fn what_this_host_sent_is_answered() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(POLICY);
    let policy = policy_file(&guarded, "nodewall.toml");
    let host = "203.0.113.5";
    for link in [1, 101] {
        let mut capture = Pcap::new(0xa1b2_3c4d, 1, link);
        let mut expected = Vec::new();
        let sent = (None, "not_judged", None);
        for (text, with_local, without) in [
            // A peer's connection to the open port, from end to end.
            ("tcp 192.0.2.9:4000 > 203.0.113.5:80 syn", "rule", "rule"),
            ("tcp 203.0.113.5:80 > 192.0.2.9:4000 syn ack", "", "port_closed"),
            ("tcp 192.0.2.9:4000 > 203.0.113.5:80 ack", "rule", "out_of_state"),
            ("tcp 192.0.2.9:4000 > 203.0.113.5:80 ack psh len 300", "rule", "out_of_state"),
            ("tcp 203.0.113.5:80 > 192.0.2.9:4000 ack psh len 60000", "", "port_closed"),
            ("tcp 192.0.2.9:4000 > 203.0.113.5:80 rst", "rule", "out_of_state"),
            ("tcp 192.0.2.9:4000 > 203.0.113.5:80 ack", "out_of_state", "out_of_state"),
            // This host's own connection to elsewhere.
            ("tcp 203.0.113.5:40000 > 198.51.100.7:443 syn", "", "port_closed"),
            ("tcp 198.51.100.7:443 > 203.0.113.5:40000 syn ack", "reply", "port_closed"),
            ("tcp 198.51.100.8:443 > 203.0.113.5:40000 syn ack", "port_closed", "port_closed"),
            // Its questions, by UDP and by echo.
            ("udp 198.51.100.7:53 > 203.0.113.5:40001", "port_closed", "port_closed"),
            ("udp 203.0.113.5:40001 > 198.51.100.7:53 len 3000", "", "port_closed"),
            ("udp 198.51.100.7:53 > 203.0.113.5:40001 len 500", "reply", "port_closed"),
            ("udp 198.51.100.8:53 > 203.0.113.5:40001 len 500", "port_closed", "port_closed"),
            ("icmp 203.0.113.5 > 198.51.100.7 echo", "", "icmp_closed"),
            ("icmp 198.51.100.7 > 203.0.113.5 echo-reply", "reply", "icmp_closed"),
        ] {
            capture.packet(1000, text);
            expected.push((text, with_local, without));
        }
        let file = capture.write(guarded.instance(), "both.pcap");
        for config in [&[][..], &["--config", &policy]] {
            let base = [&["replay", &file, "--json"], config].concat();
            let replayed = guarded.json(&[&base[..], &["--local", host]].concat());
            let plain = guarded.json(&base);
            for (n, (text, with_local, without)) in expected.iter().enumerate() {
                let row = rows(&replayed)[n];
                match *with_local {
                    "" => assert_eq!(row, sent, "{text} {config:?}"),
                    reason => assert_eq!(row.1, reason, "{text} {config:?}"),
                }
                assert_eq!(rows(&plain)[n].1, *without, "{text} {config:?}");
            }
        }
    }
}

#[test]
fn what_is_wrong_has_a_sentence_and_a_code() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let write = |name: &str, bytes: &[u8]| {
        fs::write(installed.outside(name), bytes).expect("written");
        installed.path(name).to_string_lossy().into_owned()
    };
    let policy = write("p.toml", POLICY.as_bytes());
    let bad_policy = write("bad.toml", b"mode = \"never\"\n");
    let mut capture = Pcap::microseconds();
    for n in 0..3 {
        capture.packet(n, "tcp 192.0.2.9:1 > 203.0.113.5:80");
    }
    let good = capture.write(&installed, "good.pcap");
    let cut = write("cut.pcap", &capture.file[..capture.file.len() - 1]);
    let radio = Pcap::new(0xa1b2_c3d4, 1000, 127);
    let radio = write("radio.pcap", &[&radio.file[..], &capture.file[24..]].concat());
    let text = write("text", b"a text that is no capture at all");
    let empty = write("empty", b"");
    let by = |file: &str, more: &[&str]| -> Vec<String> {
        let words = ["replay", file, "--config", &policy];
        words.iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    for (arguments, code, sentence) in [
        (by(&good, &[]), 0, ""),
        (by(&cut, &[]), 1, "cut.pcap: the capture ends within record 3: the 2 before it are whole"),
        (by(&radio, &[]), 1, "record 1 is of link type 127 (IEEE 802.11 with radiotap)"),
        (by(&text, &[]), 1, "text: the file is no capture"),
        (by(&empty, &[]), 1, "empty: the capture is empty"),
        (by("/no/such", &[]), 1, "/no/such: the capture cannot be read (No such file"),
        (by(&good, &["--local", "here"]), 2, "invalid value 'here'"),
        (vec!["replay".to_owned(), good.clone()], 3, "no nodewall daemon listens"),
        (
            vec!["replay".to_owned(), good.clone(), "--config".to_owned(), bad_policy],
            2,
            "field `mode`",
        ),
        (vec!["replay".to_owned()], 2, "<FILE>"),
    ] {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = ctl(&installed, &words);
        expect_code(&words, &output, code);
        assert!(output.stderr.contains(sentence), "{words:?}: {}", output.stderr);
    }
    // What could be read was judged, and the JSON is whole.
    let output = ctl(&installed, &["replay", &cut, "--config", &policy, "--json"]);
    let replayed: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!((output.code, rows(&replayed).len()), (Some(1), 2));
    assert_eq!(replayed["summary"][0]["packets"], 2);
    let error: Value = serde_json::from_str(&output.stderr).expect("JSON");
    assert!(error["error"].as_str().is_some_and(|error| error.contains("record 3")), "{error}");
}

#[test]
fn who_is_slow_or_vanishes_keeps_nobody_waiting() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(POLICY);
    let mut capture = Pcap::microseconds();
    capture.packet(1, "tcp 192.0.2.9:1 > 203.0.113.5:80");
    let file = capture.write(guarded.instance(), "one.pcap");
    let begin = || {
        let stream =
            UnixStream::connect(guarded.instance().outside("control.sock")).expect("it listens");
        let mut answers = BufReader::new(stream.try_clone().expect("cloned"));
        writeln!(&stream, "{{\"v\":1,\"command\":\"replay\"}}").expect("sent");
        let mut line = String::new();
        answers.read_line(&mut line).expect("answered");
        (stream, line)
    };
    let (stream, line) = begin();
    assert!(line.contains("\"interface\":\"nw0\""), "{line}");
    // It says nothing more: all else goes on, and another replay is told why not.
    guarded.ok(&["status"]);
    guarded.ok(&["explain", "tcp 192.0.2.9:1 > 203.0.113.5:80"]);
    let output = guarded.code(&["replay", &file], 1);
    assert!(output.stderr.contains("another capture is being replayed"), "{}", output.stderr);
    drop(stream);
    eventually("its place is free", || ctl(guarded.instance(), &["replay", &file]).code == Some(0));
    // What is no record ends it, with a sentence.
    for bad in [r#"{"records":[[1,false,60,"%%%"]]}"#, "[]"] {
        eventually("its place is free", || {
            ctl(guarded.instance(), &["replay", &file]).code == Some(0)
        });
        let (stream, _) = begin();
        writeln!(&stream, "{bad}").expect("sent");
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("answered");
        assert!(line.contains("no line of records"), "{line}");
    }
}

/// The most that a process had in memory so far, in KiB.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[test]
fn a_million_records_take_no_memory() {
    if !ready() {
        return;
    }
    let records_in_all = if in_vm() { 20_000 } else { 1_000_000 };
    let policy = [POLICY, &rule_for("more", "tcp/1000-2000", "")].concat();
    let guarded = Guarded::new(&policy);
    let mut capture = Pcap::microseconds();
    for port in 990..1010 {
        capture.packet(port, &format!("tcp 192.0.2.9:1 > 203.0.113.5:{port}"));
    }
    let records = capture.file.split_off(24);
    let mut file = fs::File::create(guarded.instance().outside("long.pcap")).expect("made");
    file.write_all(&capture.file).expect("written");
    for _ in 0..records_in_all / 20 {
        file.write_all(&records).expect("written");
    }
    let path = guarded.instance().path("long.pcap").to_string_lossy().into_owned();
    // The daemon's first replay has its own memory.
    let mut short = Pcap::microseconds();
    short.packet(1, "tcp 192.0.2.9:1 > 203.0.113.5:80");
    let short = short.write(guarded.instance(), "short.pcap");
    guarded.ok(&["replay", &short]);
    let before = peak(guarded.daemon.pid()).expect("a peak");
    let output = guarded.instance().outside("rows.json");
    let mut command = guarded.instance().command(&["replay", &path, "--json"]);
    command.stdin(Stdio::null()).stdout(fs::File::create(&output).expect("made"));
    let mut child = guarded.host().spawn(command).expect("it runs");
    let mut most = 0;
    let status = loop {
        most = peak(child.id()).unwrap_or(0).max(most);
        if let Some(status) = child.try_wait().expect("waited") {
            break status;
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}");
    // It printed some 100 MB, and read as much.
    assert!((1..32 << 10).contains(&most), "the command line took {most} KiB");
    let after = peak(guarded.daemon.pid()).expect("a peak");
    assert!(after < before + (32 << 10), "the daemon took {before} KiB, then {after}");
    let text = fs::read_to_string(&output).expect("read");
    assert!(text.ends_with("]}\n"), "it is whole");
    let summary = &text[text.rfind("\"summary\":").expect("a summary")..];
    let half = format!("\"packets\":{}", records_in_all / 2);
    assert!(summary.contains(&half), "{summary}");
}
