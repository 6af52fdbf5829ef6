//! Nobody who is logged in by SSH is locked out, unless it is meant.

use std::{
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use nodewall_tests::e2e::{Guarded, fails_to_start, instance, ready, refused, rule_for, soon};
use sandbox::{Namespace, Outcome, Policy, Sandbox, tcp_connect};

/// A process of the name of `sshd` that holds a connection from the peer.
struct Session {
    sshd: std::process::Child,
    _client: TcpStream,
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ended = self.sshd.kill();
        let _reaped = self.sshd.wait();
    }
}

/// Logs in: a listener accepts, and a process holds what it has accepted.
fn log_in(world: &Sandbox, port: u16) -> Session {
    let at: SocketAddr = world.host_ipv4(port);
    let bind = || std::net::TcpListener::bind(at);
    let listener = world.host.enter(bind).expect("entered").expect("bound");
    let client = connect(&world.peer, at);
    let (held, _) = listener.accept().expect("accepted");
    let directory = tempfile::tempdir().expect("a directory");
    let sshd = directory.path().join("sshd");
    std::fs::copy("/bin/sleep", &sshd).expect("copied");
    let mut command = Command::new(&sshd);
    // Its standard input is the connection.
    command.arg("1000").stdin(Stdio::from(OwnedFd::from(held)));
    let sshd = command.spawn().expect("it runs");
    Session { sshd, _client: client }
}

fn connect(peer: &Namespace, to: SocketAddr) -> TcpStream {
    match tcp_connect(peer, None, to, soon()).expect("an attempt") {
        Outcome::Connected(stream) => stream,
        other => panic!("{to}: {other:?}"),
    }
}

const NW0: &str = "interfaces = [\"nw0\"]\n";

fn ssh(port: u16, from: &str) -> String {
    rule_for("ssh", &format!("tcp/{port}"), &format!("from = [\"{from}\"]\n"))
}

#[test]
fn a_change_that_would_lock_out_is_refused() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{NW0}{}", ssh(2222, "198.51.100.0/24")));
    let session = log_in(&guarded.world, 2222);
    let write = |text: &str| {
        guarded.instance().write("new.toml", text).expect("written").display().to_string()
    };
    let generation = guarded.status().generation();
    for (text, said) in [
        (NW0.to_owned(), &["port_closed", "tcp/2222", "[[rule]]", "198.51.100.2", "nw0"][..]),
        (format!("{NW0}{}", ssh(22, "198.51.100.2")), &["port_closed", "tcp/2222"]),
        (format!("{NW0}{}", ssh(2222, "203.0.113.0/24")), &["source_not_allowed", "from"]),
        (
            format!(
                "{NW0}{}[sources]\ndenied = [\"198.51.100.2\"]\n",
                ssh(2222, "198.51.100.0/24")
            ),
            &["denied", "[sources] denied"],
        ),
    ] {
        let file = write(&text);
        for arguments in [&["apply", &file][..], &["apply", &file, "--confirm", "1m"]] {
            let told = guarded.code(arguments, 4);
            for word in said.iter().chain(&["--force"]) {
                assert!(told.stderr.contains(word), "{text}: {word}: {}", told.stderr);
            }
        }
        guarded.instance().write("nodewall.toml", &text).expect("written");
        guarded.code(&["reload"], 4);
    }
    assert_eq!(guarded.status().generation(), generation);
    // In monitor mode nothing is dropped; where another interface is guarded,
    // nobody is cut off; and who is trusted needs no rule.
    for text in [
        format!("mode = \"monitor\"\n{NW0}"),
        format!("{NW0}[sources]\ntrusted = [\"198.51.100.2\"]\n"),
    ] {
        guarded.ok(&["apply", &write(&text)]);
    }
    // The way back would lock out as well, if it were not for the rule there.
    guarded.ok(&["rollback"]);
    guarded.ok(&["apply", &write(NW0), "--force"]);
    let told = guarded.code(&["rollback"], 0);
    assert!(told.stdout.contains("went back"), "{}", told.stdout);
    guarded.ok(&["apply", &write(&format!("{NW0}{}", ssh(2222, "198.51.100.2")))]);
    // Nobody logged in: nobody locked out.
    drop(session);
    guarded.ok(&["apply", &write(NW0)]);
}

#[test]
fn a_ban_of_who_is_logged_in_is_refused() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{NW0}{}", ssh(2222, "198.51.100.0/24")));
    let _session = log_in(&guarded.world, 2222);
    for prefix in ["198.51.100.2", "198.51.0.0/16"] {
        let told = guarded.code(&["ban", prefix], 4);
        for word in ["198.51.100.2", "2222", "--force"] {
            assert!(told.stderr.contains(word), "{word}: {}", told.stderr);
        }
    }
    let list = guarded.with_input(&["ban", "--from", "-"], "192.0.2.1\n198.51.100.2\n");
    assert_eq!(list.code, Some(4), "{}", list.stderr);
    guarded.ok(&["ban", "192.0.2.7"]);
    guarded.ok(&["ban", "198.51.100.2", "--for", "1s", "--force"]);
}

#[test]
fn a_start_that_would_lock_out_is_refused() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let session = log_in(&world, 22);
    let installed = instance(&world.host);
    let (code, said) = fails_to_start(&installed, Policy::Text(NW0), &[], |_| {});
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("tcp/22") && said.contains("--force"), "{said}");
    refused(&world.peer, None, world.host_ipv4(22));
    let forced = installed.start(Policy::Text(NW0), &["--force"]);
    drop(forced.expect("it starts"));
    drop(session);
}
