//! Daemons and their command line, played by a shell script.

use std::{
    env, fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::sys::prctl;
use sandbox::{Daemon, Error, Instance, Namespace, Policy, Signal};

use crate::{NEVER, SOON, eventually, ready};

/// Plays `nodewall`: `run` listens, tells what it hears of signals, and fails
/// for the policy `bad`; `status` succeeds, `hang` never ends, all else is refused.
///
/// A shell cannot trap what was ignored when it began, as SIGHUP is below
/// `nohup`: `env` gives it back first.
const SCRIPT: &str = r#"#!/bin/sh
if [ -z "$SIGNALS" ]; then SIGNALS=given exec env --default-signal=HUP "$0" "$@"; fi
command=$1 socket=$3
case $command in
run)
    echo "arguments: $*" >&2
    for last; do :; done
    if [ -f "$last" ] && [ "$(cat "$last")" = bad ]; then echo "the policy is bad" >&2; exit 2; fi
    trap 'echo reloaded >&2' HUP
    trap 'echo stopping >&2; exit 5' TERM
    mkdir -p "$5" "$7"
    echo kept >> "$5/journal"
    rm -f "$socket"
    SOCKET=$socket "$EXECUTABLE" --exact daemon::listener --ignored > /dev/null &
    # Not `wait`: a signal that comes just before it would be lost on a shell.
    while kill -0 $! 2> /dev/null; do sleep 0.05; done ;;
status) echo "$*"; cat "$5/journal" ;;
hang) echo hanging >&2; exec sleep 1000 ;;
*) echo "no" >&2; exit 4 ;;
esac
"#;

/// The part of the script that a shell cannot play.
#[test]
#[ignore = "it is the daemon of the other tests, which start it themselves"]
fn listener() {
    let Some(socket) = env::var_os("SOCKET") else {
        return;
    };
    prctl::set_pdeathsig(Signal::SIGKILL).expect("set");
    let listener = UnixListener::bind(socket).expect("bound");
    for stream in listener.incoming() {
        drop(stream.expect("accepted"));
    }
}

/// The script in the namespace's own tmpfs, which this process can name too.
fn nodewall(namespace: &Namespace) -> PathBuf {
    let path = namespace.outside(&namespace.files().join("nodewall"));
    let executable = env::current_exe().expect("this test");
    let script = SCRIPT.replace("$EXECUTABLE", &executable.to_string_lossy());
    fs::write(&path, script).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

fn instance() -> Instance {
    let namespace = Namespace::new("daemon").expect("a namespace");
    let binary = nodewall(&namespace);
    Instance::new(&namespace, binary).expect("an instance")
}

/// Whether a process is there and is not a zombie.
fn lives(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

#[test]
fn a_daemon_is_started_asked_and_stopped() {
    if !ready() {
        return;
    }
    let instance = instance();
    let daemon = instance.start(Policy::Text("mode = \"monitor\""), &["--force"]).expect("started");
    let arguments = format!(
        "arguments: run --socket {} --state {} --pins {} --config {} --force",
        instance.socket().display(),
        instance.state().display(),
        instance.pins().display(),
        instance.path("nodewall.toml").display(),
    );
    assert!(daemon.wait_for_stderr(&arguments, SOON), "{}", daemon.stderr());
    assert_eq!(daemon.stdout(), "");
    let policy = fs::read_to_string(instance.outside("nodewall.toml")).expect("written");
    assert_eq!(policy, "mode = \"monitor\"");

    let status = daemon.ctl(&["status", "--json"]).expect("asked");
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(
        status.stdout.starts_with("status --socket") && status.stdout.contains(" --json\nkept\n")
    );
    let refused = daemon.ctl(&["ban", "192.0.2.1"]).expect("asked");
    assert_eq!((refused.code, refused.stderr.as_str()), (Some(4), "no\n"));

    daemon.signal(Signal::SIGHUP).expect("sent");
    assert!(daemon.wait_for_stderr("reloaded", SOON));
    assert!(!daemon.wait_for_stderr("never written", NEVER));
    let output = daemon.stop().expect("stopped");
    assert_eq!(output.code, Some(5));
    assert!(output.stderr.contains("stopping"), "{output:?}");

    // Another one finds what this one left, its socket among it.
    let mut second = instance.start(Policy::None, &[]).expect("started");
    assert_eq!(
        fs::read_to_string(instance.outside("state/journal")).expect("written"),
        "kept\nkept\n"
    );
    assert!(second.is_running().expect("asked"));
    second.signal(Signal::SIGKILL).expect("sent");
    let status = second.wait(SOON).expect("waited").expect("ended");
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn a_daemon_that_fails_tells_why() {
    if !ready() {
        return;
    }
    let instance = instance();
    let error = instance.start(Policy::Text("bad"), &[]).expect_err("it fails");
    let Error::DaemonExited { status, stderr, .. } = &error else { panic!("{error}") };
    assert_eq!(status.code(), Some(2));
    assert!(stderr.contains("the policy is bad"), "{error}");
    assert!(error.to_string().contains("the policy is bad"), "{error}");

    let file = instance.write("other.toml", "bad").expect("written");
    assert!(matches!(instance.start(Policy::File(&file), &[]), Err(Error::DaemonExited { .. })));
    let error =
        Instance::new(instance.namespace(), "/no/such/nodewall").expect_err("there is none");
    assert!(error.to_string().contains("/no/such/nodewall"), "{error}");
}

#[test]
fn a_command_that_hangs_is_killed() {
    if !ready() {
        return;
    }
    let error = instance().ctl_within(&["hang"], Duration::from_millis(500)).expect_err("it hangs");
    let Error::Hung { command, stderr, .. } = &error else { panic!("{error}") };
    assert!(command.contains("hang --socket") && stderr == "hanging\n", "{error}");
}

#[test]
fn a_dropped_daemon_leaves_nothing() {
    if !ready() {
        return;
    }
    let namespace = Namespace::new("dropped").expect("a namespace");
    let binary = nodewall(&namespace);
    let daemon = Daemon::start(&namespace, binary, Policy::Text(""), &[]).expect("started");
    let (pid, instance) = (daemon.pid(), daemon.instance().clone());
    let (files, pins) = (instance.outside(""), namespace.outside(&instance.pins()));
    assert!(lives(pid) && files.is_dir() && pins.is_dir());
    drop(daemon);
    assert!(!lives(pid));
    assert!(files.is_dir(), "the instance is still held");
    drop(instance);
    assert!(!files.exists() && !pins.exists());
}

#[test]
fn a_panicking_test_leaves_nothing() {
    if !ready() {
        return;
    }
    let (tell, told) = mpsc::channel();
    let test = thread::spawn(move || {
        let instance = instance();
        let daemon = instance.start(Policy::None, &[]).expect("started");
        // Held by the test, so that no other namespace gets its number.
        let holder = fs::File::open(instance.namespace().path()).expect("open");
        tell.send((daemon.pid(), holder)).expect("heard");
        panic!("on purpose");
    });
    let (pid, holder) = told.recv().expect("told");
    let number = holder.metadata().expect("open").ino();
    test.join().expect_err("it panics");
    assert!(!lives(pid));
    eventually("nobody is in the namespace", || inhabitants(number).is_empty());
}

/// The threads of the whole machine that are in a network namespace.
fn inhabitants(number: u64) -> Vec<PathBuf> {
    let list = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    let name = format!("net:[{number}]");
    list(Path::new("/proc"))
        .flat_map(|process| list(&process.path().join("task")))
        .map(|thread| thread.path().join("ns/net"))
        .filter(|link| fs::read_link(link).is_ok_and(|to| to.as_os_str() == name.as_str()))
        .collect()
}
