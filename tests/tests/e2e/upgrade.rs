//! An upgrade to a version whose kernel side is another program: this test
//! executable is that version, with the object that a mutant is built into.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use filter_user::daemon;
use nodewall_tests::{
    e2e::{Guarded, Leak, at_most, closed, echoes, held, in_vm, instance, open, ready, rule_for},
    verdict::{OBJECT_VARIABLE, mutant_object},
};
use sandbox::{Daemon, Instance, Policy, Sandbox, tcp_listen};

/// Tells this executable that it is the other version.
const OTHER: &str = "NODEWALL_TEST_OTHER_VERSION";

/// `nodewall run` of the other version, in a process of its own.
#[test]
#[ignore = "a part of the other tests"]
fn the_other_version() {
    let words = env::var_os(OTHER).expect("another test starts this one");
    let words: Vec<String> = words.to_string_lossy().lines().map(str::to_owned).collect();
    let after = |option: &str| -> Option<PathBuf> {
        let at = words.iter().position(|word| word == option)?;
        words.get(at + 1).map(PathBuf::from)
    };
    let options = daemon::Options {
        began: Instant::now(),
        config: after("--config").expect("named"),
        force: false,
        interfaces: vec![],
        socket: after("--socket").expect("named"),
        state: after("--state").expect("named"),
        pins: after("--pins"),
        object: mutant_object(),
    };
    daemon::init_log();
    daemon::run(options).expect("it runs until it is told to end");
}

/// Has the other version started instead.
fn other_version(command: &mut Command) {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let mut other = Command::new(env::current_exe().expect("this test"));
    other.args(["--exact", "upgrade::the_other_version", "--ignored", "--nocapture"]);
    other.env(OTHER, words.join("\n")).stdin(Stdio::null());
    other.stdout(Stdio::null()).stderr(Stdio::piped());
    *command = other;
}

fn start(instance: &Instance, policy: &str, change: impl FnOnce(&mut Command)) -> Daemon {
    match instance.start_with(Policy::Text(policy), &[], change) {
        Ok(daemon) => daemon,
        Err(error) => panic!("the daemon did not start: {error}"),
    }
}

/// The tag of the program behind each kind of link that a daemon holds, as the kernel tells it.
fn attached(daemon: &Daemon) -> BTreeMap<String, String> {
    let files = fs::read_dir(format!("/proc/{}/fdinfo", daemon.pid())).expect("it runs");
    let texts = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.map(str::to_owned)
    };
    texts.filter_map(|text| Some((field(&text, "link_type")?, field(&text, "prog_tag")?))).collect()
}

fn can_be_upgraded() -> bool {
    if !ready() {
        return false;
    }
    let is_there = mutant_object().is_some();
    if !is_there {
        println!("skipped: {OBJECT_VARIABLE} names no other program, as `cargo xtask test` does");
    }
    is_there
}

#[test]
fn another_program_takes_the_place_of_the_running_one() {
    if !can_be_upgraded() {
        return;
    }
    let policy = format!(
        "interfaces = [\"nw0\"]\n{}",
        rule_for("open", &format!("tcp/8080 udp/{}", Leak::OPEN), "")
    );
    let world = Sandbox::silent_pair().expect("a pair");
    let installed = instance(&world.host);
    let mut daemon = start(&installed, &policy, |_| {});
    let ours = attached(&daemon);
    assert!(ours.contains_key("xdp") && ours.contains_key("cgroup"), "{ours:?}");
    let leak = Leak::start(&world);
    for _ in 0..if in_vm() { 1 } else { 3 } {
        daemon.kill();
        daemon = start(&installed, &policy, other_version);
        let others = attached(&daemon);
        assert_eq!(others.len(), ours.len(), "{others:?}");
        assert_ne!(others["xdp"], ours["xdp"], "the same program is attached still");
        assert!(daemon.stderr().contains("taken over"), "{}", daemon.stderr());
        // And back, as one does who is not content.
        daemon.kill();
        daemon = start(&installed, &policy, |_| {});
        assert_eq!(attached(&daemon), ours);
    }
    let leaked = leak.stop();
    println!("{leaked:?}");
    assert!(leaked.sent > 1000, "{leaked:?}");
    assert_eq!(leaked.through, 0, "{leaked:?}");
}

#[test]
fn what_was_open_and_counted_stays_so_under_another_program() {
    if !can_be_upgraded() {
        return;
    }
    let Guarded { daemon, world } = Guarded::new(&at_most(1));
    let _server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("bound");
    let stream = open(&world.peer, None, world.host_ipv4(8080));
    closed(&world.peer, None, world.host_ipv4(22));
    let (ours, installed) = (attached(&daemon), daemon.instance().clone());
    daemon.kill();
    let daemon = start(&installed, &at_most(1), other_version);
    assert_ne!(attached(&daemon)["xdp"], ours["xdp"]);
    let guarded = Guarded { daemon, world };
    assert!(guarded.status().packets("port_closed") > 0);
    assert_eq!(held(&guarded), 1);
    closed(guarded.peer(), None, guarded.world.host_ipv4(8080));
    echoes(&stream, 1000);
}
