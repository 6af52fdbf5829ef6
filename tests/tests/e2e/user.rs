//! The daemon as its service runs it: a user of its own, with three capabilities and no other.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, fs::chown},
    process::{Command, Stdio},
};

use nodewall_tests::e2e::{
    Guarded, closed, eventually, fails_to_start, held, holds, instance, open, ready, rule_for,
};
use sandbox::{Instance, Policy, Sandbox, tcp_listen};

/// `nobody`, on every system that has one.
const USER: u32 = 65_534;

/// As the unit has them.
const CAPABILITIES: [&str; 3] = ["net_admin", "bpf", "perfmon"];

/// An installation whose directories belong to the user, as systemd and the unit make them.
fn users_own(world: &Sandbox) -> Instance {
    let installed = instance(&world.host);
    let pins = world.host.outside(&installed.pins());
    fs::create_dir(&pins).expect("made");
    for directory in [pins, installed.outside("")] {
        chown(&directory, Some(USER), Some(USER)).expect("given");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("closed");
    }
    installed
}

/// Runs it as the user, with these capabilities alone.
fn confine(command: &mut Command, capabilities: &[&str]) {
    let list = |first: &str| {
        let words: Vec<_> = capabilities.iter().map(|name| format!("+{name}")).collect();
        [&[first.to_owned()], words.as_slice()].concat().join(",")
    };
    let user = USER.to_string();
    let mut confined = Command::new("setpriv");
    confined
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"])
        .args(["--inh-caps", &list("-all"), "--ambient-caps", &list("-all")])
        .args(["--bounding-set", &list("-all"), "--"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_remove("NODEWALL_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    *command = confined;
}

#[test]
fn everything_works_as_the_services_user() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = users_own(&world);
    let set = installed.write("peers.txt", "198.51.100.0/24\n").expect("written");
    let policy = format!(
        "interfaces = [\"nw0\"]\n[sets]\npeers = {{ file = \"{}\" }}\n{}{}",
        set.display(),
        rule_for("p2p", "tcp/8080", "[rule.per_source]\nconnections = 1\n"),
        rule_for("idle", "tcp/8081", "idle_timeout = \"1s\"\nfrom = [\"@peers\"]\n"),
    );
    let daemon = installed
        .start_with(Policy::Text(&policy), &[], |command| confine(command, &CAPABILITIES))
        .expect("it starts");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("its status");
    // CAP_NET_ADMIN 12, CAP_PERFMON 38, CAP_BPF 39.
    let all: u64 = 1 << 12 | 1 << 38 | 1 << 39;
    assert!(status.contains(&format!("CapEff:\t{all:016x}")), "{status}");
    let guarded = Guarded { daemon, world };
    let (world, said) = (&guarded.world, || guarded.daemon.stderr());

    assert_eq!(guarded.status().attach("nw0").0.as_deref(), Some("native"), "{}", said());
    assert_eq!(guarded.status().0["connections"]["counted_by"], "kernel", "{}", said());
    let _servers = [8080, 8081, 8082]
        .map(|port| tcp_listen(&world.host, world.host_ipv4(port)).expect("a server"));

    // Sockets are counted, and those that are idle are closed.
    let first = open(&world.peer, None, world.host_ipv4(8080));
    holds(&guarded, 1);
    closed(&world.peer, None, world.host_ipv4(8080));
    drop(first);
    eventually("its slot is free", || held(&guarded) == 0);
    let idle = open(&world.peer, None, world.host_ipv4(8081));
    eventually("it is closed", || guarded.status().0["connections"]["idle"].as_u64() == Some(1));
    drop(idle);

    // Files are read again, policies and bans change what is in force.
    guarded.instance().write("peers.txt", "203.0.113.0/24\n").expect("written");
    eventually("the set is read again", || guarded.status().generation() == 2);
    closed(&world.peer, None, world.host_ipv4(8081));
    guarded.ok(&["ban", "192.0.2.1", "--for", "1h"]);
    guarded.apply(&format!("interfaces = [\"nw0\", \"lo\"]\n{}", rule_for("p2p", "tcp/8082", "")));
    open(&world.peer, None, world.host_ipv4(8082));
    closed(&world.peer, None, world.host_ipv4(8080));
    guarded.ok(&["reload"]);
    for complaint in ["ERROR", "denied", "permit"] {
        assert!(!said().contains(complaint), "{}", said());
    }

    // Killed, the next one takes over what is pinned.
    let Guarded { daemon, world } = guarded;
    daemon.kill();
    closed(&world.peer, None, world.host_ipv4(22));
    let daemon = installed
        .start_with(Policy::Text(&policy), &[], |command| confine(command, &CAPABILITIES))
        .expect("it starts");
    assert!(daemon.stderr().contains("taken over"), "{}", daemon.stderr());
    let guarded = Guarded { daemon, world };
    assert_eq!(guarded.json(&["bans", "--json"])["bans"].as_array().map(Vec::len), Some(1));
    guarded.ok(&["detach", "--yes"]);
}

#[test]
fn each_of_its_capabilities_is_needed() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    for missing in CAPABILITIES {
        let installed = users_own(&world);
        let rest: Vec<_> = CAPABILITIES.into_iter().filter(|name| *name != missing).collect();
        let policy = Policy::Text("interfaces = [\"nw0\"]\n");
        let (code, said) =
            fails_to_start(&installed, policy, &[], |command| confine(command, &rest));
        assert_eq!(code, Some(4), "without {missing}: {said}");
        assert!(said.contains("CAP_"), "without {missing} it says what is needed: {said}");
    }
}
