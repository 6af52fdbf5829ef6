//! Bans outlive the daemon, whatever became of it and of its file.

use std::{
    fs,
    io::Write as _,
    net::Ipv4Addr,
    process::{Command, Stdio},
    time::Duration,
};

use nodewall_tests::e2e::{
    Guarded, closed, ctl, eventually, expect_code, in_vm, instance, nodewall, open, ready,
    rule_for, scaled, soon, source, within,
};
use sandbox::{Daemon, Instance, Policy, Sandbox, Server, tcp_listen};

const PREFIX: &str = "203.0.113.0/24";

/// For so many addresses.
fn room() -> u32 {
    scaled(1_000_000)
}

fn policy() -> String {
    let rule = rule_for("open", "tcp/8080", "");
    format!("interfaces = [\"nw0\"]\n{rule}[tables]\nbans = {}\n", room())
}

fn world() -> (Guarded, Server) {
    let guarded = Guarded::new(&policy());
    guarded.world.add_sources(PREFIX.parse().expect("a prefix")).expect("added");
    let server = tcp_listen(guarded.host(), guarded.world.host_ipv4(8080)).expect("a server");
    (guarded, server)
}

fn start(instance: &Instance) -> Daemon {
    match instance.start(Policy::Text(&policy()), &[]) {
        Ok(daemon) => daemon,
        Err(error) => panic!("the daemon did not start: {error}"),
    }
}

/// Ends the daemon as a crash does, changes its files, and starts another.
fn crash(guarded: Guarded, change: impl FnOnce(&Instance)) -> Guarded {
    let Guarded { daemon, world } = guarded;
    let instance = daemon.instance().clone();
    daemon.kill();
    change(&instance);
    Guarded { daemon: start(&instance), world }
}

/// [`crash`], with what a reboot does to the kernel's tables besides.
fn reboot(guarded: Guarded, change: impl FnOnce(&Instance)) -> Guarded {
    crash(guarded, |instance| {
        expect_code(&["detach"], &ctl(instance, &["detach", "--yes"]), 0);
        change(instance);
    })
}

/// Prefix, end and reason of each ban.
fn bans(guarded: &Guarded) -> Vec<serde_json::Value> {
    guarded.json(&["bans", "--json"])["bans"].as_array().expect("a list").clone()
}

/// How many entries a table has.
fn entries(guarded: &Guarded, table: &str) -> Option<u64> {
    let status = guarded.status().0;
    let tables = status["tables"].as_array().expect("a list");
    tables.iter().find(|entry| entry["name"] == table)?["entries"].as_u64()
}

fn ban_file(guarded: &Guarded) -> serde_json::Value {
    guarded.status().0["ban_file"].clone()
}

#[test]
fn bans_are_back_after_a_crash_with_their_ends_and_reasons() {
    if !ready() {
        return;
    }
    let (guarded, server) = world();
    let to = server.address();
    let seconds = if in_vm() { 30 } else { 6 };
    guarded.ok(&["ban", "203.0.113.7", "--for", "1h", "--reason", "a port scan"]);
    guarded.ok(&["ban", "203.0.113.64/26"]);
    guarded.ok(&["ban", "2001:db8:77::/48", "--for", "2h"]);
    guarded.ok(&["ban", "203.0.113.8", "--for", &format!("{seconds}s")]);
    guarded.ok(&["ban", "203.0.113.9"]);
    guarded.ok(&["unban", "203.0.113.9"]);
    let before = bans(&guarded);
    assert_eq!(before.len(), 4);
    let guarded = crash(guarded, |_| {});
    assert_eq!(bans(&guarded), before);
    let guarded = reboot(guarded, |_| {});
    assert_eq!(bans(&guarded), before);
    let peer = guarded.peer();
    for banned in ["203.0.113.7", "203.0.113.100", "203.0.113.8"] {
        closed(peer, source(banned), to);
    }
    open(peer, source("203.0.113.9"), to);
    // Its end is the one that it was made with.
    eventually("the short one is over", || bans(&guarded).len() == 3);
    open(peer, source("203.0.113.8"), to);
    // One that ended while nobody was there does not come back.
    guarded.ok(&["ban", "203.0.113.10", "--for", "1s"]);
    let guarded = crash(guarded, |_| std::thread::sleep(Duration::from_millis(1100)));
    assert_eq!(bans(&guarded).len(), 3);
    let guarded = reboot(guarded, |_| {});
    assert_eq!(bans(&guarded).len(), 3);
    assert_eq!(ban_file(&guarded)["problem"], serde_json::Value::Null);
    assert_eq!(ban_file(&guarded)["lost"], serde_json::Value::Null);
}

#[test]
fn a_million_bans_and_a_hundred_thousand_prefixes_are_back_after_a_crash() {
    if !ready() {
        return;
    }
    let (singles, wide) = (room(), room() / 10);
    let (guarded, server) = world();
    // A stream, of which no end is in sight while it is read.
    let mut command = guarded.instance().command(&["ban", "--from", "-", "--for", "1h", "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = guarded.host().spawn(command).expect("it runs");
    let mut stdin = std::io::BufWriter::new(child.stdin.take().expect("it is piped"));
    writeln!(stdin, "203.0.113.7").expect("it reads");
    for n in 0..wide {
        let first = Ipv4Addr::from(0x2000_0000 + n * 512);
        writeln!(stdin, "{first}/{}", 24 + n % 8).expect("it reads");
    }
    for n in 1..singles {
        writeln!(stdin, "{}", Ipv4Addr::from(n.wrapping_mul(2_654_435_761))).expect("it reads");
        if n == singles / 2 {
            // Others are answered in between.
            assert!(entries(&guarded, "bans") > Some(0), "it bans while it reads");
        }
    }
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains(&format!("\"banned\":{}", singles + wide)), "{said}");

    // Once over what the kernel still holds, once from the file alone.
    let all = (Some(singles.into()), Some(wide.into()));
    let guarded = crash(guarded, |_| {});
    assert_eq!((entries(&guarded, "bans"), entries(&guarded, "ban_prefixes")), all);
    let guarded = reboot(guarded, |_| {});
    assert_eq!((entries(&guarded, "bans"), entries(&guarded, "ban_prefixes")), all);
    closed(guarded.peer(), source("203.0.113.7"), server.address());
    open(guarded.peer(), source("203.0.113.8"), server.address());
    let one_more = guarded.code(&["ban", "203.0.113.8"], 1);
    assert!(one_more.stderr.contains(&format!("`bans` has room for {singles}")), "{one_more:?}");
}

#[test]
fn a_damaged_file_loses_what_was_damaged_and_says_so() {
    if !ready() {
        return;
    }
    let (guarded, server) = world();
    for banned in ["203.0.113.7", "203.0.113.8", "203.0.113.9"] {
        guarded.ok(&["ban", banned]);
    }
    let path = |instance: &Instance| instance.outside("state/bans");
    // The last write was cut off.
    let guarded = reboot(guarded, |instance| {
        let bytes = fs::read(path(instance)).expect("there is a file");
        fs::write(path(instance), &bytes[..bytes.len() - 3]).expect("written");
    });
    assert_eq!(bans(&guarded).len(), 2);
    closed(guarded.peer(), source("203.0.113.8"), server.address());
    open(guarded.peer(), source("203.0.113.9"), server.address());
    let lost = ban_file(&guarded)["lost"].as_str().expect("it says so").to_owned();
    assert!(lost.contains("was cut off") && lost.contains("2 bans"), "{lost}");
    assert!(guarded.daemon.stderr().contains(&lost), "{}", guarded.daemon.stderr());
    assert!(guarded.ok(&["status"]).stdout.contains(&lost));
    // The first one is damaged.
    let guarded = reboot(guarded, |instance| {
        let mut bytes = fs::read(path(instance)).expect("there is a file");
        bytes[14] ^= 1;
        fs::write(path(instance), &bytes).expect("written");
    });
    assert_eq!(bans(&guarded).len(), 1);
    closed(guarded.peer(), source("203.0.113.8"), server.address());
    open(guarded.peer(), source("203.0.113.7"), server.address());
    let lost = ban_file(&guarded)["lost"].as_str().expect("it says so").to_owned();
    assert!(lost.contains("damaged") && lost.contains("1 bans"), "{lost}");
    // Nothing but noise.
    let guarded = reboot(guarded, |instance| {
        let noise: Vec<u8> =
            (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(path(instance), noise).expect("written");
    });
    assert_eq!(bans(&guarded).len(), 0);
    assert!(guarded.instance().outside("state/bans.damaged").exists());
    guarded.ok(&["ban", "203.0.113.7"]);
    let guarded = reboot(guarded, |_| {});
    assert_eq!(bans(&guarded).len(), 1);
    // What the kernel holds needs no file, and comes into the new one.
    let guarded = crash(guarded, |instance| fs::write(path(instance), "noise").expect("written"));
    assert_eq!(bans(&guarded).len(), 1);
    closed(guarded.peer(), source("203.0.113.7"), server.address());
    eventually("it is in the file", || {
        fs::read(path(guarded.instance())).is_ok_and(|bytes| bytes.starts_with(b"nwB1"))
    });
    let guarded = reboot(guarded, |_| {});
    assert_eq!(bans(&guarded).len(), 1);
}

#[test]
fn on_a_full_disk_a_ban_holds_and_the_answer_says_what_is_missing() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let state = installed.outside("state");
    fs::create_dir(&state).expect("made");
    // In the sandbox's own mounts.
    let host = world.host.clone();
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(installed.path("state"));
        let status = host.spawn(command).expect("it runs").wait().expect("it ends");
        assert!(status.success(), "mount {options}");
    };
    mount("size=64k,mode=0700");
    let daemon = start(&installed);
    let guarded = Guarded { daemon, world };
    guarded.world.add_sources(PREFIX.parse().expect("a prefix")).expect("added");
    let server = tcp_listen(guarded.host(), guarded.world.host_ipv4(8080)).expect("a server");
    guarded.ok(&["ban", "203.0.113.7"]);
    let list: String =
        (0..20_000).map(|n| format!("{}\n", Ipv4Addr::from(0x0a00_0000 + n))).collect();
    let output = guarded.with_input(&["ban", "--from", "-"], &list);
    assert_eq!(output.code, Some(0), "{output:?}");
    for words in ["warning", "No space left", "make room"] {
        assert!(output.stderr.contains(words), "{words}: {output:?}");
    }
    guarded.ok(&["ban", "203.0.113.8"]);
    closed(guarded.peer(), source("203.0.113.7"), server.address());
    closed(guarded.peer(), source("203.0.113.8"), server.address());
    assert!(ban_file(&guarded)["problem"].is_string(), "{}", ban_file(&guarded));
    assert!(guarded.ok(&["status"]).stdout.contains("not every ban is saved"));
    // There is room again, and nobody has to ask for it.
    mount("remount,size=1m");
    within(soon() * 6, "all is saved", || ban_file(&guarded)["problem"].is_null());
    let before = bans(&guarded);
    assert_eq!(before.len(), 20_002);
    let guarded = reboot(guarded, |_| {});
    assert_eq!(bans(&guarded), before);
}

#[test]
fn a_file_is_banned_whole_or_not_at_all_and_a_stream_as_far_as_it_was_read() {
    if !ready() {
        return;
    }
    let guarded =
        Guarded::new(&format!("{}[sources]\ntrusted = [\"198.51.100.0/24\"]\n", policy()));
    // More than is read at a time.
    let many: String =
        (0..40_000).map(|n| format!("{}\n", Ipv4Addr::from(0x0a00_0000 + n))).collect();
    for (bad, code) in [("house", 2), ("198.51.100.7", 4)] {
        let text = format!("{many}{bad}\n");
        let file = guarded.instance().write("list.txt", &text).expect("written");
        let output = guarded.code(&["ban", "--from", &file.to_string_lossy()], code);
        assert!(output.stderr.contains("list.txt:40001"), "{output:?}");
        assert_eq!(bans(&guarded).len(), 0, "a file with {bad} in it");
    }
    let output = guarded.with_input(&["ban", "--from", "-"], &format!("{many}house\n10.9.9.9\n"));
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("standard input:40001"), "{output:?}");
    let banned = bans(&guarded).len();
    assert!(banned > 0 && banned < 40_000, "{banned}");
    assert!(
        output.stderr.contains(&format!("the first {banned} of the list are banned")),
        "{output:?}"
    );
}

#[test]
fn a_line_of_a_stream_is_banned_when_it_comes() {
    if !ready() {
        return;
    }
    let (guarded, _server) = world();
    let mut command = guarded.instance().command(&["ban", "--from", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = guarded.host().spawn(command).expect("it runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    for (count, line) in (1..).zip(["203.0.113.1", "203.0.113.2", "203.0.113.64/26"]) {
        writeln!(stdin, "{line}").expect("it reads");
        eventually("it is banned", || bans(&guarded).len() == count);
    }
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn two_daemons_do_not_share_a_state_directory() {
    if !ready() {
        return;
    }
    let (guarded, _server) = world();
    let installed = guarded.instance();
    let mut command = Command::new(nodewall());
    command.arg("run").arg("--config").arg(installed.path("nodewall.toml"));
    command.arg("--socket").arg(installed.path("other.sock"));
    command.arg("--state").arg(installed.state());
    command.stderr(Stdio::piped());
    let output =
        guarded.host().spawn(command).expect("it runs").wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another nodewall daemon keeps its state in"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}
