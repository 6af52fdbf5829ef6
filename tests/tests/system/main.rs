//! The package on a Debian system, under its service manager. `cargo xtask vm --systemd` boots one for it; it
//! installs, kills and reboots, so nothing else may run it.

#![cfg(test)]

mod checks;
mod host;
mod wire;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    thread,
    time::Duration,
};

use checks::Checks;
use host::{failing, is_installed, output, service, succeed, wait_for};
use wire::{CLOSED, PEER, Wire};

/// The package, and the same again as a newer version.
const PACKAGES: [&str; 2] = ["/packages/1.deb", "/packages/2.deb"];
const POLICY: &str = "/etc/nodewall/nodewall.toml";
/// Who is banned, and open to nobody else: both must be so at once after a reboot.
const BANNED: &str = "203.0.113.66";

const OPEN: u16 = 7000;

/// Enforces: one port is open.
const ENFORCE: &str = "\
[[rule]]
name = \"open\"
ports = [\"udp/7000\"]
";

const RESIZED: &str = "\
[tables]
bans = 500_000
fragments = 8_192
";

#[test]
#[ignore = "changes the system that it runs on: `cargo xtask vm --systemd`"]
fn first_boot() {
    let mut checks = Checks::default();
    let wire = Wire::make();
    checks.run("without the filter the flood gets through", || {
        let flood = wire.flood(10_000);
        assert!(flood.received > 1_000, "{flood}");
    });
    checks.run("install", install);
    checks.run("the service is ready and confined", confined);
    checks.run("systemd-analyze security is below 2.0", exposure);
    checks.run("the first policy watches, with every port of sshd", || first_policy(&wire));
    checks.run("who is logged in is not locked out", || logged_in(&wire));
    checks.run("a bad policy fails the reload, and says why", bad_policy);
    checks.run("enforce, by a reload of the service", || enforce(&wire));
    checks.run("metrics are served", metrics);
    checks.run("groups decide who may read, and who may change", groups);
    checks.run("a hung daemon is restarted", || hung(&wire));
    checks.run("kill -9 in a loop under load", || killed(&wire));
    checks.run("without pins the same lets packets through", || unpinned(&wire));
    checks.run("restart under load", || {
        wire.while_flooding("restart", || {
            for _ in 0..2 {
                succeed("systemctl", &["restart", "nodewall"]);
            }
        });
    });
    checks.run("stop leaves the filter on", || {
        wire.while_flooding("stop", || {
            succeed("systemctl", &["stop", "nodewall"]);
            let said = failing("nodewall", &["status"], 3);
            assert!(said.contains("nw0"), "it says what is attached: {said}");
            succeed("systemctl", &["start", "nodewall"]);
        });
    });
    checks.run("ban", || {
        succeed("nodewall", &["ban", BANNED, "--for", "1d", "--reason", "a reboot"]);
    });
    checks.run("upgrade under load", || {
        let before = service("MainPID");
        wire.while_flooding("upgrade", || succeed("dpkg", &["--install", PACKAGES[1]]));
        assert_ne!(service("MainPID"), before, "the new version runs");
        assert_eq!(service("ActiveState"), "active");
        assert!(fs::read_to_string(POLICY).expect("it is there").contains("udp/7000"));
    });
    checks.run("restart with tables of another size, under load from who is banned", || {
        fs::write(POLICY, format!("{ENFORCE}{RESIZED}")).expect("written");
        let from = BANNED.parse().expect("an address");
        let flood =
            wire.flood_during(from, OPEN, || succeed("systemctl", &["restart", "nodewall"]));
        println!("resized: {flood}");
        assert_eq!(flood.received, 0, "{flood}");
        assert_eq!(wire.say("203.0.113.67", OPEN), 1, "who is not banned is let in");
    });
    checks.run("the kernel has nothing to complain of", complaints);
    checks.end();
}

#[test]
#[ignore = "changes the system that it runs on: `cargo xtask vm --systemd`"]
fn second_boot() {
    let mut checks = Checks::default();
    checks.run("the service came up by itself, before the network", || {
        assert_eq!(service("ActiveState"), "active");
        let at = |unit: &str| -> u64 {
            let said = output(
                "systemctl",
                &["show", "--value", "-p", "ActiveEnterTimestampMonotonic", unit],
            );
            said.parse().unwrap_or_else(|_| panic!("{unit}: {said}"))
        };
        let (nodewall, network) = (at("nodewall.service"), at("network-pre.target"));
        println!("active after {nodewall} us, network-pre.target after {network} us");
        assert!(0 < nodewall && nodewall <= network);
    });
    // It appears now, as a card does that udev finds late, and just when the daemon has died; nothing has configured it.
    succeed("kill", &["-KILL", &service("MainPID")]);
    let wire = Wire::make_down();
    checks.run("the interface is guarded once udev is done with it, before it is up", || {
        let status = output("nodewall", &["status", "--json"]);
        assert!(status.contains(r#""name":"nw0","attach":"native""#), "{status}");
    });
    wire.up();
    checks.run("the policy is back before the first packet", || {
        let flood = wire.flood(100_000);
        assert_eq!(flood.received, 0, "{flood}");
    });
    checks.run("bans are back before the first packet", || {
        let bans = output("nodewall", &["bans", "--json"]);
        assert!(bans.contains(BANNED) && bans.contains("a reboot"), "{bans}");
        assert_eq!(wire.say(BANNED, OPEN), 0, "a banned source reached the open port");
        assert_eq!(wire.say("203.0.113.67", OPEN), 1, "another one did not");
    });
    checks.run("remove takes the filter off", || {
        succeed("dpkg", &["--remove", "nodewall"]);
        let flood = wire.flood(10_000);
        assert!(flood.received > 1_000, "{flood}");
        let link = output("ip", &["-details", "link", "show", "nw0"]);
        assert!(!link.contains("xdp"), "{link}");
        let pins = output("find", &["/sys/fs/bpf", "-mindepth", "1"]);
        assert!(pins.is_empty(), "{pins}");
        assert!(Path::new(POLICY).exists(), "configuration stays until the purge");
    });
    checks.run("purge leaves nothing", || {
        succeed("dpkg", &["--purge", "nodewall"]);
        assert!(!is_installed());
        let left = output(
            "find",
            &[
                "/etc",
                "/usr",
                "/var",
                "/run",
                "/sys/fs/bpf",
                "-name",
                "*nodewall*",
                "-not",
                "-path",
                "/var/log/journal/*",
            ],
        );
        // dpkg's and systemd's own records of what was.
        let left: Vec<_> = left.lines().filter(|path| !path.starts_with("/var/log/dpkg")).collect();
        assert!(left.is_empty(), "{left:#?}");
        for file in ["/etc/passwd", "/etc/group"] {
            let users = fs::read_to_string(file).expect("it is there");
            assert!(!users.contains("nodewall"), "{file}: {users}");
        }
        assert!(!output("systemctl", &["list-units", "--all", "--plain"]).contains("nodewall"));
    });
    checks.run("the kernel has nothing to complain of", complaints);
    checks.end();
}

fn install() {
    succeed("dpkg", &["--install", PACKAGES[0]]);
    assert_eq!(service("ActiveState"), "active", "{}", host::journal());
    assert_eq!(service("UnitFileState"), "enabled");
}

fn confined() {
    assert_eq!(service("Type"), "notify");
    println!("{}", service("StatusText"));
    assert!(service("StatusText").contains("guarding nw0 (native)"), "{}", service("StatusText"));
    let pid = service("MainPID");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}: {status}")).trim().to_owned()
    };
    // CAP_NET_ADMIN 12, CAP_PERFMON 38, CAP_BPF 39.
    let all: u64 = 1 << 12 | 1 << 38 | 1 << 39;
    for set in ["CapEff:", "CapPrm:", "CapBnd:", "CapAmb:"] {
        assert_eq!(line(set), format!("{all:016x}"), "{set}");
    }
    assert_eq!(line("NoNewPrivs:"), "1");
    assert_eq!(line("Seccomp:"), "2");
    let user = output("stat", &["--format=%U:%G", &format!("/proc/{pid}")]);
    assert_eq!(user, "nodewall:nodewall");
    for (path, wanted) in [
        ("/etc/nodewall", "root:nodewall 750"),
        (POLICY, "root:nodewall 640"),
        ("/var/lib/nodewall", "nodewall:nodewall 700"),
        ("/var/log/nodewall", "nodewall:nodewall 750"),
        ("/run/nodewall", "nodewall:nodewall 755"),
        ("/sys/fs/bpf/nodewall", "nodewall:nodewall 700"),
        ("/sys/fs/bpf", "root:root 1700"),
    ] {
        assert_eq!(output("stat", &["--format=%U:%G %a", path]), wanted, "{path}");
    }
    let journal = host::journal();
    for word in ["ERROR", "error:", "denied", "not permitted"] {
        assert!(!journal.contains(word), "{journal}");
    }
}

fn exposure() {
    let said = output("systemd-analyze", &["security", "--no-pager", "nodewall.service"]);
    let level = said
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for nodewall.service: "));
    let level: f32 = level
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no level: {said}"));
    println!("exposure {level}");
    assert!(level < 2.0, "{said}");
    // The unit has no line that this systemd does not know.
    let verified = host::run("systemd-analyze", &["verify", "--man=no", "nodewall.service"]);
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(!said.contains("nodewall.service:"), "{said}");
}

fn first_policy(wire: &Wire) {
    let text = fs::read_to_string(POLICY).expect("it is there");
    assert!(text.contains("ports = [\"tcp/22\", \"tcp/2222\"]"), "{text}");
    succeed("nodewall", &["check"]);
    let status = output("nodewall", &["status"]);
    assert!(status.contains("monitor"), "{status}");
    let flood = wire.flood(10_000);
    assert!(flood.received > 1_000, "it drops nothing: {flood}");
}

/// The daemon may not see whose sockets sshd's are, and knows all the same.
fn logged_in(wire: &Wire) {
    let session = wire.connect(2222);
    fs::write("/tmp/no-ssh.toml", ENFORCE).expect("written");
    let said = failing("nodewall", &["apply", "/tmp/no-ssh.toml"], 4);
    assert!(said.contains("2222"), "it names the port that is missing: {said}");
    drop(session);
    wait_for("the session has ended", || {
        !output("ss", &["--no-header", "--tcp", "--numeric", "sport", "=", ":2222"])
            .contains("ESTAB")
    });
}

fn bad_policy() {
    let good = fs::read(POLICY).expect("it is there");
    fs::write(POLICY, "moode = \"enforce\"\n").expect("written");
    assert!(!host::run("systemctl", &["reload", "nodewall"]).status.success());
    fs::write(POLICY, good).expect("written");
    assert!(host::journal().contains("moode"), "{}", host::journal());
    assert_eq!(service("ActiveState"), "active");
}

fn enforce(wire: &Wire) {
    fs::write(POLICY, ENFORCE).expect("written");
    succeed("systemctl", &["reload", "nodewall"]);
    assert!(service("StatusText").contains("enforce"), "{}", service("StatusText"));
    let flood = wire.flood(100_000);
    println!("{flood}");
    assert_eq!(flood.received, 0, "{flood}");
    assert_eq!(wire.say("203.0.113.67", OPEN), 1, "what is open is open");
}

fn metrics() {
    let mut stream = TcpStream::connect("127.0.0.1:9551").expect("connected");
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("asked");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("answered");
    for line in ["nodewall_build_info{", "nodewall_attached{interface=\"nw0\",mode=\"native\"} 1"] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

/// Those that the package has made.
fn groups() {
    let run = |group: &str, words: &[&str]| {
        let who = ["--reuid=nobody", "--regid=nogroup", "--groups", group, "--", "nodewall"];
        host::run("setpriv", &[&who, words].concat()).status.code()
    };
    let ban = ["ban", "192.0.2.1", "--for", "1m"];
    for (group, may_read, may_change) in
        [("nogroup", 4, 4), ("nodewall", 0, 4), ("nodewall-admin", 0, 0)]
    {
        assert_eq!(run(group, &["status"]), Some(may_read), "{group}");
        assert_eq!(run(group, &ban), Some(may_change), "{group}");
    }
    assert_eq!(
        run("nogroup", &["check", "/usr/share/doc/nodewall/examples/nodewall.toml"]),
        Some(0)
    );
}

/// The watchdog, which has to be a quick one here.
fn hung(wire: &Wire) {
    let dropin = Path::new("/run/systemd/system/nodewall.service.d");
    fs::create_dir_all(dropin).expect("made");
    fs::write(dropin.join("quick.conf"), "[Service]\nWatchdogSec=4s\n").expect("written");
    succeed("systemctl", &["daemon-reload"]);
    succeed("systemctl", &["restart", "nodewall"]);
    let pid = service("MainPID");
    wire.while_flooding("watchdog", || {
        succeed("kill", &["-STOP", &pid]);
        wait_for("another process", || {
            service("MainPID") != pid && service("ActiveState") == "active"
        });
    });
    assert!(host::journal().contains("Watchdog timeout"), "{}", host::journal());
    fs::remove_dir_all(dropin).expect("removed");
    succeed("systemctl", &["daemon-reload"]);
    succeed("systemctl", &["restart", "nodewall"]);
}

/// That the one above can fail.
fn unpinned(wire: &Wire) {
    let dropin = Path::new("/run/systemd/system/nodewall.service.d");
    fs::create_dir_all(dropin).expect("made");
    let unit = "[Service]\nExecStart=\nExecStart=/usr/bin/nodewall run --pins none\n";
    fs::write(dropin.join("unpinned.conf"), unit).expect("written");
    succeed("nodewall", &["detach", "--yes"]);
    succeed("systemctl", &["daemon-reload"]);
    succeed("systemctl", &["restart", "nodewall"]);
    let pid = service("MainPID");
    let flood = wire.flood_during(PEER, CLOSED, || {
        succeed("kill", &["-KILL", &pid]);
        wait_for("another process", || {
            service("MainPID") != pid && service("ActiveState") == "active"
        });
    });
    println!("unpinned: {flood}");
    fs::remove_dir_all(dropin).expect("removed");
    succeed("systemctl", &["daemon-reload"]);
    succeed("systemctl", &["restart", "nodewall"]);
    assert!(flood.received > 0, "{flood}");
}

fn killed(wire: &Wire) {
    wire.while_flooding("kill -9", || {
        for _ in 0..3 {
            let pid = service("MainPID");
            succeed("kill", &["-KILL", &pid]);
            wait_for("another process", || {
                service("MainPID") != pid && service("ActiveState") == "active"
            });
            thread::sleep(Duration::from_millis(200));
        }
    });
}

fn complaints() {
    let said = output("journalctl", &["--dmesg", "--no-pager", "--priority=err", "--output=cat"]);
    assert!(!said.contains("bpf") && !said.contains("xdp"), "{said}");
}
