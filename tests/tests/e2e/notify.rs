//! What the service manager hears: this test is one, with a socket of its own.

use std::{
    collections::VecDeque,
    fs,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use nix::{
    sys::{ptrace, wait::WaitPidFlag, wait::waitpid},
    unistd::Pid,
};
use nodewall_tests::e2e::{Guarded, closed, ctl, instance, ready, rule_for, soon};
use sandbox::{Policy, Sandbox, Signal};

const POLICY: &str = "interfaces = [\"nw0\"]\n";

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    heard: VecDeque<String>,
}

impl Manager {
    /// A daemon, and who it reports to; `watchdog` is the longest silence, in microseconds.
    fn start(policy: &str, watchdog: Option<&str>) -> (Self, Guarded) {
        let world = Sandbox::pair().expect("a pair");
        let installed = instance(&world.host);
        let socket = UnixDatagram::bind(installed.outside("notify")).expect("a socket");
        let started = installed.start_with(Policy::Text(policy), &[], |command| {
            command.env("NOTIFY_SOCKET", installed.path("notify"));
            if let Some(interval) = watchdog {
                command.env("WATCHDOG_USEC", interval);
            }
        });
        let daemon = started.expect("it starts");
        (Self { socket, heard: VecDeque::new() }, Guarded { daemon, world })
    }

    /// The next assignment, such as `READY=1`; `None` when none came in time.
    fn next(&mut self, within: Duration) -> Option<String> {
        if self.heard.is_empty() {
            self.socket.set_read_timeout(Some(within)).expect("set");
            let mut bytes = [0; 4096];
            let length = self.socket.recv(&mut bytes).ok()?;
            let text = str::from_utf8(&bytes[..length]).expect("text");
            self.heard.extend(text.lines().map(str::to_owned));
        }
        self.heard.pop_front()
    }

    /// Everything up to `assignment`.
    #[track_caller]
    fn until(&mut self, assignment: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < soon() {
            let Some(next) = self.next(soon()) else { break };
            if next == assignment {
                return heard;
            }
            heard.push(next);
        }
        panic!("no {assignment} after {heard:?}");
    }
}

#[test]
fn readiness_reloads_and_the_end_are_told() {
    if !ready() {
        return;
    }
    let (mut manager, guarded) = Manager::start(POLICY, None);
    let before = manager.until("READY=1");
    let mode = guarded.status().0["interfaces"][0]["attach"].clone();
    let mode = mode.as_str().expect("it is guarded");
    assert_eq!(before, [format!("STATUS=guarding nw0 ({mode}); enforce, generation 1")]);

    let write = |text: &str| guarded.instance().write("nodewall.toml", text).expect("written");
    write(&format!("{POLICY}mode = \"monitor\"\n"));
    guarded.daemon.signal(Signal::SIGHUP).expect("sent");
    assert!(manager.until("RELOADING=1").is_empty());
    // Without it `Type=notify-reload` does not take the reload for its own.
    let time = manager.next(soon()).expect("a time");
    let time = time.strip_prefix("MONOTONIC_USEC=").and_then(|time| time.parse::<u64>().ok());
    assert!(time.is_some_and(|time| time > 0));
    assert!(manager.until("READY=1").is_empty());
    assert_eq!(
        manager.next(soon()),
        Some(format!("STATUS=guarding nw0 ({mode}); monitor, generation 2"))
    );

    // A reload that fails is over too.
    write("moode = 1\n");
    guarded.daemon.signal(Signal::SIGHUP).expect("sent");
    manager.until("RELOADING=1");
    manager.until("READY=1");

    // What an operator applies is told, and is no reload.
    guarded.apply(&format!("{POLICY}{}", rule_for("open", "tcp/8080", "")));
    let heard = manager.until(&format!("STATUS=guarding nw0 ({mode}); enforce, generation 3"));
    assert!(heard.is_empty(), "{heard:?}");

    let Guarded { daemon, world } = guarded;
    daemon.stop().expect("it stops");
    manager.until("STOPPING=1");
    drop(world);
}

#[test]
fn an_interface_that_goes_is_told() {
    if !ready() {
        return;
    }
    let (mut manager, guarded) = Manager::start("interfaces = [\"nw0\", \"lo\"]\n", None);
    let before = manager.until("READY=1").concat();
    assert!(before.contains("nw0 (") && before.contains("lo ("), "{before}");
    guarded.host().delete_link("nw0").expect("deleted");
    loop {
        let line = manager.next(soon()).expect("a line of status");
        if line.ends_with("; not guarded: nw0") {
            assert!(line.starts_with("STATUS=guarding lo ("), "{line}");
            break;
        }
    }
}

#[test]
fn a_daemon_whose_owner_hangs_is_not_called_alive() {
    if !ready() {
        return;
    }
    const ALIVE: &str = "WATCHDOG=1";
    let (mut manager, guarded) = Manager::start(POLICY, Some("30000000"));
    manager.until(ALIVE);
    manager.until(ALIVE);

    // One thread alone is stopped: the others go on.
    let tasks = format!("/proc/{}/task", guarded.daemon.pid());
    let owner = fs::read_dir(tasks)
        .expect("its threads")
        .map(|entry| entry.expect("a thread").path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "owner\n"))
        .expect("the owner's thread");
    let owner = owner.file_name().and_then(|name| name.to_str()?.parse().ok());
    let owner = Pid::from_raw(owner.expect("its number"));
    ptrace::seize(owner, ptrace::Options::empty()).expect("traced");
    ptrace::interrupt(owner).expect("interrupted");
    waitpid(owner, Some(WaitPidFlag::__WALL)).expect("stopped");
    // What was on its way.
    while manager.next(Duration::from_millis(100)).is_some() {}
    assert_eq!(manager.next(Duration::from_secs(3)), None, "a hung owner was called alive");
    closed(guarded.peer(), None, guarded.world.host_ipv4(22));

    ptrace::detach(owner, None).expect("let go");
    manager.until(ALIVE);
    assert_eq!(ctl(guarded.instance(), &["status"]).code, Some(0));
}
