//! The filter outlives its controller: killed, stopped, crashed while it
//! starts, or replaced by a version that keeps its tables in another form.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use nodewall_tests::e2e::{
    Guarded, Leak, Status, at_most, closed, echoes, expect_code, fails_to_start, held, holds,
    in_vm, instance, open, ready, refused, rule_for, silence,
};
use sandbox::{Daemon, Instance, Namespace, Policy, Sandbox, Veth, VethOptions, tcp_listen};

const NW0: &str = "interfaces = [\"nw0\"]\n";

fn policy() -> String {
    format!("{NW0}{}", rule_for("open", &format!("tcp/8080 udp/{}", Leak::OPEN), ""))
}

#[track_caller]
fn start(instance: &Instance, policy: &str) -> Daemon {
    match instance.start(Policy::Text(policy), &[]) {
        Ok(daemon) => daemon,
        Err(error) => panic!("the daemon did not start: {error}"),
    }
}

#[track_caller]
fn status(instance: &Instance) -> Status {
    let output = instance.ctl(&["status", "--json"]).expect("it runs");
    expect_code(&["status"], &output, 0);
    Status(serde_json::from_str(&output.stdout).expect("JSON"))
}

/// Packets that the program was run for, as the driver counts them.
fn received(world: &Sandbox) -> u64 {
    let mut cat = std::process::Command::new("cat");
    cat.arg("/sys/class/net/nw0/statistics/rx_packets").stdout(std::process::Stdio::piped());
    let child = world.host.spawn(cat).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// What is pinned, for this process.
fn pins(instance: &Instance) -> PathBuf {
    instance.namespace().outside(&instance.pins())
}

#[test]
fn killed_again_and_again_under_a_flood_it_lets_nothing_through() {
    if !ready() {
        return;
    }
    let world = Sandbox::silent_pair().expect("a pair");
    let installed = instance(&world.host);
    let mut daemon = start(&installed, &policy());
    let leak = Leak::start(&world);
    for _ in 0..if in_vm() { 1 } else { 5 } {
        daemon.kill();
        thread::sleep(Duration::from_millis(100));
        daemon = start(&installed, &policy());
    }
    // Killed wherever in its start it may be.
    for milliseconds in (0..200).step_by(if in_vm() { 100 } else { 20 }) {
        daemon.kill();
        let mut command = installed.command(&["run", "--config"]);
        command.arg(installed.path("nodewall.toml")).stderr(std::process::Stdio::null());
        let mut starting = world.host.spawn(command).expect("it runs");
        thread::sleep(Duration::from_millis(milliseconds));
        starting.kill().expect("it is ours");
        starting.wait().expect("it ends");
        daemon = start(&installed, &policy());
    }
    let leaked = leak.stop();
    println!("{leaked:?}");
    assert!(leaked.sent > 10_000, "{leaked:?}");
    assert_eq!(leaked.through, 0, "{leaked:?}");
    // Nor is a packet uncounted. The link itself has lost some of so many.
    let status = status(&installed);
    assert_eq!(status.packets("port_closed") + status.packets("rule"), received(&world));
    // And what is allowed passes all the time.
    assert_eq!(status.packets("port_closed"), status.packets("rule"));
    drop(daemon);
}

#[test]
fn without_pins_the_same_flood_comes_through() {
    if !ready() {
        return;
    }
    let world = Sandbox::silent_pair().expect("a pair");
    let installed = instance(&world.host);
    let daemon = installed.start(Policy::Text(&policy()), &["--pins", "none"]);
    let leak = Leak::start(&world);
    thread::sleep(Duration::from_millis(50));
    daemon.expect("it starts").kill();
    thread::sleep(Duration::from_millis(100));
    let leaked = leak.stop();
    assert!(leaked.through > 0, "{leaked:?}");
}

#[test]
fn stopped_it_leaves_the_filter_on_and_says_how_to_take_it_off() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy());
    let Guarded { daemon, world } = guarded;
    let _server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("bound");
    let (shut, installed) = (world.host_ipv4(22), daemon.instance().clone());
    daemon.signal(Signal::SIGTERM).expect("sent");
    let output = daemon.stop().expect("it ends");
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    for said in ["stays on", "nw0", "nodewall detach"] {
        assert!(output.stderr.contains(said), "{said}: {}", output.stderr);
    }
    closed(&world.peer, None, shut);
    drop(open(&world.peer, None, world.host_ipv4(8080)));

    let told = installed.ctl(&["status"]).expect("it runs");
    expect_code(&["status"], &told, 3);
    for said in ["without a daemon", "nw0", "native"] {
        assert!(told.stdout.contains(said), "{said}: {}", told.stdout);
    }
    let told = installed.ctl(&["status", "--json"]).expect("it runs");
    expect_code(&["status", "--json"], &told, 3);
    let json: serde_json::Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(json["v"], 1);
    assert_eq!(json["interfaces"][0]["name"], "nw0");
    assert_eq!(json["interfaces"][0]["attach"], "native");

    let told = installed.ctl(&["detach", "--yes"]).expect("it runs");
    expect_code(&["detach"], &told, 0);
    assert!(told.stdout.contains("nw0"), "{}", told.stdout);
    refused(&world.peer, None, shut);
    assert!(!pins(&installed).exists());
    expect_code(&["detach"], &installed.ctl(&["detach", "--yes"]).expect("it runs"), 3);
    let told = installed.ctl(&["status"]).expect("it runs");
    expect_code(&["status"], &told, 3);
    assert!(told.stdout.contains("nothing is guarded"), "{}", told.stdout);
}

#[test]
fn told_to_it_takes_the_filter_off_when_it_stops() {
    if !ready() {
        return;
    }
    let Guarded { daemon, world } =
        Guarded::new(&format!("{}[service]\non_stop = \"detach\"\n", policy()));
    let pins = pins(daemon.instance());
    assert!(pins.exists());
    closed(&world.peer, None, world.host_ipv4(22));
    assert_eq!(daemon.stop().expect("it ends").code, Some(0));
    refused(&world.peer, None, world.host_ipv4(22));
    assert!(!pins.exists());
}

#[test]
fn counters_and_connections_carry_on() {
    if !ready() {
        return;
    }
    let Guarded { daemon, world } = Guarded::new(&at_most(1));
    let _server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("bound");
    let stream = open(&world.peer, None, world.host_ipv4(8080));
    closed(&world.peer, None, world.host_ipv4(22));
    let installed = daemon.instance().clone();
    let before = status(&installed).packets("port_closed");
    assert!(before > 0);
    daemon.kill();
    // While nobody is there the limit holds, and what goes on is counted.
    echoes(&stream, 1000);
    closed(&world.peer, None, world.host_ipv4(8080));
    closed(&world.peer, None, world.host_ipv4(22));
    let other = rule_for("other", "tcp/9090", "");
    let daemon = start(
        &installed,
        &format!("{other}{}", at_most(1).replace(NW0, "")).replacen(
            "[[rule]]",
            &format!("{NW0}[[rule]]"),
            1,
        ),
    );
    let guarded = Guarded { daemon, world };
    let world = &guarded.world;
    assert!(guarded.status().packets("port_closed") > before);
    // Under another number among the rules, and under its own name.
    assert!(guarded.rules().packets("p2p", "connection_limit") > 0);
    assert_eq!(held(&guarded), 1);
    closed(&world.peer, None, world.host_ipv4(8080));
    echoes(&stream, 1000);
    drop(stream);
    holds(&guarded, 0);
    drop(open(&world.peer, None, world.host_ipv4(8080)));
}

/// As an upgrade to a version that keeps a table in another form finds it. Where it
/// was, and where it is.
fn age(installed: &Instance, group: &str) -> (PathBuf, PathBuf) {
    let pins = pins(installed);
    let of_group = |name: &str| {
        name.strip_prefix(group)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|version| version.parse::<u32>().is_ok())
    };
    let new = fs::read_dir(&pins)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(of_group))
        .expect("the group is pinned");
    let old = pins.join(format!("{group}-0"));
    fs::rename(&new, &old).expect("renamed");
    (new, old)
}

#[test]
fn an_upgrade_replaces_programs_and_tables_and_lets_nothing_through() {
    if !ready() {
        return;
    }
    let world = Sandbox::silent_pair().expect("a pair");
    let installed = instance(&world.host);
    let mut daemon = start(&installed, &policy());
    let leak = Leak::start(&world);
    for (group, told) in [
        ("rates", "the rates of sources"),
        ("counters", "counters"),
        ("policy", "the policy in force"),
        ("flows", "what this host has sent"),
        ("names", "counters"),
    ] {
        if in_vm() && !["policy", "names"].contains(&group) {
            continue;
        }
        daemon.kill();
        let (new, old) = age(&installed, group);
        daemon = start(&installed, &policy());
        let said = daemon.stderr();
        if group == "names" {
            // Nothing means anything without the numbers of names.
            assert!(!said.contains("taken over"), "{said}");
        } else {
            assert!(said.contains(told) && said.contains("another form"), "{group}: {said}");
        }
        assert!(new.exists() && !old.exists(), "{group}");
    }
    let leaked = leak.stop();
    assert!(leaked.sent > 10_000, "{leaked:?}");
    assert_eq!(leaked.through, 0, "{leaked:?}");
    drop(daemon);
}

#[test]
fn other_sizes_start_a_table_anew() {
    if !ready() {
        return;
    }
    let Guarded { daemon, world } = Guarded::new(&policy());
    let installed = daemon.instance().clone();
    daemon.kill();
    let daemon = start(&installed, &format!("{}[tables]\nfragments = 64\n", policy()));
    let said = daemon.stderr();
    assert!(said.contains("fragments are under way") && said.contains("its size"), "{said}");
    closed(&world.peer, None, world.host_ipv4(22));
}

fn swap(installed: &Instance, from: &str, to: &str) {
    let pins = pins(installed);
    let aside = pins.join("links").join("aside");
    fs::rename(pins.join(from), &aside).expect("renamed");
    fs::rename(pins.join(to), pins.join(from)).expect("renamed");
    fs::rename(&aside, pins.join(to)).expect("renamed");
}

#[test]
fn pins_that_are_not_its_own_are_refused_with_what_differs() {
    if !ready() {
        return;
    }
    let Guarded { daemon, world } = Guarded::new(&policy());
    let installed = daemon.instance().clone();
    daemon.kill();
    swap(&installed, "bans-2/BANS_IPV6", "rates-1/KNOWN");
    let config = installed.path("nodewall.toml");
    let (code, said) = fails_to_start(&installed, Policy::File(&config), &[], |_| {});
    assert_eq!(code, Some(1), "{said}");
    for told in ["BANS_IPV6: ", "KNOWN: ", "size of keys", "nodewall detach", "stays as it is"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    closed(&world.peer, None, world.host_ipv4(22));
    swap(&installed, "bans-2/BANS_IPV6", "rates-1/KNOWN");
    let _daemon = start(&installed, &policy());
    closed(&world.peer, None, world.host_ipv4(22));
}

#[test]
fn a_start_that_fails_leaves_on_what_was() {
    if !ready() {
        return;
    }
    let Guarded { daemon, world } = Guarded::new(&policy());
    let _server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("bound");
    let installed = daemon.instance().clone();
    daemon.kill();
    for (text, code) in [("rules = []\n", 2), ("interfaces = [\"nw0\", \"none\"]\n", 1)] {
        // Without a confirmed copy to start with in its place.
        let state = installed.path(&format!("state-{code}"));
        let arguments = ["--state", &state.to_string_lossy()];
        let (found, said) = fails_to_start(&installed, Policy::Text(text), &arguments, |_| {});
        assert_eq!(found, Some(code), "{said}");
        closed(&world.peer, None, world.host_ipv4(22));
        drop(open(&world.peer, None, world.host_ipv4(8080)));
    }
    // And not only before the interfaces are looked at: one of two is refused.
    Veth::new((&world.host, "raw0"), (&world.peer, "raw1"), VethOptions::default())
        .expect("a link");
    let taken = instance(&world.host);
    let _other = start(&taken, "interfaces = [\"raw0\"]\n");
    let both = "interfaces = [\"nw0\", \"raw0\"]\n";
    let (code, said) = fails_to_start(&installed, Policy::Text(both), &[], |_| {});
    assert_eq!(code, Some(1), "{said}");
    closed(&world.peer, None, world.host_ipv4(22));
    drop(open(&world.peer, None, world.host_ipv4(8080)));
}

#[test]
fn an_interface_that_came_anew_is_guarded_anew() {
    if !ready() {
        return;
    }
    let Guarded { daemon, world } = Guarded::new(&policy());
    let installed = daemon.instance().clone();
    daemon.kill();
    world.veth.delete().expect("gone");
    world.veth.recreate().expect("made again");
    let daemon = start(&installed, &policy());
    assert!(daemon.stderr().contains("guarding interface nw0"), "{}", daemon.stderr());
    assert_eq!(status(&installed).attach("nw0").0.as_deref(), Some("native"));
    assert!(only_its_own_links(&world.host, &installed), "links of the one that is gone stay");
}

/// Whether nothing but `nw0` has links pinned.
fn only_its_own_links(host: &Namespace, installed: &Instance) -> bool {
    let index = host.link("nw0").and_then(|link| link.index()).expect("an index");
    let links: Vec<String> = fs::read_dir(pins(installed).join("links"))
        .expect("listed")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    links.iter().all(|name| name == "slots" || name.ends_with(&format!("-{index}")))
}

#[test]
fn one_directory_of_pins_has_one_daemon() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy());
    let second = instance(guarded.host());
    let pins = guarded.instance().pins();
    let arguments = ["--pins", &pins.to_string_lossy()];
    let (code, said) = fails_to_start(&second, Policy::Text(NW0), &arguments, |_| {});
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another nodewall daemon runs with the pins"), "{said}");
    closed(guarded.peer(), None, guarded.world.host_ipv4(22));
    thread::sleep(silence());
}

#[test]
fn pins_want_a_bpffs() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let place = installed.path("no-bpffs");
    let arguments = ["--pins", &place.to_string_lossy()];
    let (code, said) = fails_to_start(&installed, Policy::Text(NW0), &arguments, |_| {});
    assert_eq!(code, Some(1), "{said}");
    for told in ["bpffs", "mount -t bpf", "--pins none"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(!Path::new(&installed.outside("no-bpffs")).exists());
}
