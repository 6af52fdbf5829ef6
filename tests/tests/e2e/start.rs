//! Starts that must fail, and what the command line does without a daemon.

use std::{
    fs,
    os::unix::{net::UnixListener, process::CommandExt as _},
    process::{Command, Stdio},
    time::Instant,
};

use nodewall_tests::e2e::{
    Guarded, closed, ctl, expect_code, fails_to_start, instance, nodewall, open, ready, refused,
    rule_for,
};
use sandbox::{Instance, Policy, Sandbox, tcp_listen};

const POLICY: &str = "interfaces = [\"nw0\"]\n";

/// `nobody`, on every system that has one.
const NOBODY: u32 = 65_534;

#[test]
fn without_root_nothing_is_done_and_root_is_named() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    // A place where anybody may write, as `--socket` in a home directory would be.
    let place = installed.outside("open");
    fs::create_dir(&place).expect("made");
    let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&place, anybody).expect("open to all");
    let command = |socket: &str| {
        let mut command = Command::new(nodewall());
        command.arg("run").arg("--socket").arg(installed.path(socket));
        command.arg("--config").arg(installed.write("p.toml", POLICY).expect("written"));
        command.arg("--state").arg(installed.path("open/state"));
        command.uid(NOBODY).gid(NOBODY);
        command
    };
    for socket in ["open/control.sock", "control.sock"] {
        let mut command = command(socket);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = world.host.spawn(command).expect("it runs");
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{socket}: {said}");
        assert!(said.contains("root"), "{socket}: {said}");
        assert!(!installed.outside(socket).exists(), "{socket}");
    }
    refused(&world.peer, None, world.host_ipv4(22));
}

#[test]
fn without_root_a_daemon_takes_no_orders() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(POLICY);
    for arguments in [&["ban", "192.0.2.1"][..], &["status"], &["reload"], &["detach", "--yes"]] {
        let mut command = guarded.instance().command(arguments);
        command.uid(NOBODY).gid(NOBODY);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = guarded.host().spawn(command).expect("it runs");
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {said}");
        assert!(said.contains("permission") || said.contains("root"), "{arguments:?}: {said}");
    }
    assert_eq!(guarded.json(&["bans", "--json"])["bans"].as_array().map(Vec::len), Some(0));
    closed(guarded.peer(), None, guarded.world.host_ipv4(22));
}

#[test]
fn an_interface_with_another_xdp_program_is_left_to_it() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{POLICY}{}", rule_for("open", "tcp/8080", "")));
    let world = &guarded.world;
    let second = instance(&world.host);
    for attach in ["auto", "native", "generic"] {
        let policy = format!("{POLICY}attach = \"{attach}\"\n");
        let (code, said) = fails_to_start(&second, Policy::Text(&policy), &[], |_| {});
        assert_eq!(code, Some(1), "{attach}: {said}");
        assert!(said.contains("nw0") && said.contains("another XDP program"), "{attach}: {said}");
        assert!(said.contains("`nodewall`"), "{attach}: it names the program: {said}");
        assert!(!second.outside("control.sock").exists(), "{attach}");
    }
    // The first one is none the worse for it.
    let _server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("a server");
    open(&world.peer, None, world.host_ipv4(8080));
    closed(&world.peer, None, world.host_ipv4(8081));
}

#[test]
fn a_second_daemon_on_the_same_socket_ends_at_once() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(POLICY);
    let config = guarded.instance().path("nodewall.toml");
    let (code, said) = fails_to_start(guarded.instance(), Policy::File(&config), &[], |_| {});
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another nodewall daemon"), "{said}");
    assert!(said.contains("control.sock"), "it names the socket: {said}");
    assert_eq!(guarded.status().0["pid"], guarded.daemon.pid());
    closed(guarded.peer(), None, guarded.world.host_ipv4(22));
}

#[test]
fn without_a_daemon_the_command_line_says_so() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let file = installed.write("p.toml", POLICY).expect("written");
    let file = file.to_string_lossy();
    let asks = |installed: &Instance, what: &str| {
        for arguments in [
            &["status"][..],
            &["status", "--json"],
            &["rules"],
            &["bans"],
            &["ban", "192.0.2.1"],
            &["unban", "192.0.2.1"],
            &["reload"],
            &["apply", &file],
            &["diff", &file],
        ] {
            let output = ctl(installed, arguments);
            expect_code(arguments, &output, 3);
            assert!(output.stderr.contains("control.sock"), "{what}, {arguments:?}: {output:?}");
        }
    };
    asks(&installed, "no socket");
    // A socket that nobody listens on.
    drop(UnixListener::bind(installed.outside("control.sock")).expect("bound"));
    asks(&installed, "a stale socket");
    // `check` needs none.
    let output = ctl(&installed, &["check", &file]);
    expect_code(&["check"], &output, 0);
    // And a daemon starts on what is left.
    let daemon = installed.start(Policy::Text(POLICY), &[]).expect("it starts");
    expect_code(&["status"], &ctl(&installed, &["status"]), 0);
    // So it does after one that was killed.
    daemon.kill();
    asks(&installed, "a killed daemon");
    let daemon = installed.start(Policy::Text(POLICY), &[]).expect("it starts again");
    closed(&world.peer, None, world.host_ipv4(22));
    drop(daemon);
}

#[test]
fn what_is_no_socket_is_not_removed() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    installed.write("control.sock", "precious").expect("written");
    let (code, said) = fails_to_start(&installed, Policy::Text(POLICY), &[], |_| {});
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no socket"), "{said}");
    let kept = fs::read_to_string(installed.outside("control.sock")).expect("it is there");
    assert_eq!(kept, "precious");
}

#[test]
fn a_policy_file_that_cannot_be_read_is_named() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let missing = installed.path("none.toml");
    let (code, said) = fails_to_start(&installed, Policy::File(&missing), &[], |_| {});
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("none.toml") && said.contains("does not exist"), "{said}");
    for command in ["check", "apply", "diff"] {
        let output = ctl(&installed, &[command, &missing.to_string_lossy()]);
        // `apply` reads the file before it looks for a daemon, or not.
        assert!(
            output.code == Some(2) || (command != "check" && output.code == Some(3)),
            "{command}: {output:?}"
        );
        assert!(!output.stderr.is_empty(), "{command}");
    }
}

#[test]
fn usage_errors_end_with_2() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    for arguments in [
        &["no-such-command"][..],
        &["status", "--no-such-option"],
        &["ban"],
        &["ban", "not-an-address"],
        &["ban", "192.0.2.1", "--for", "soon"],
        &["detach"],
    ] {
        let output = ctl(&installed, arguments);
        expect_code(arguments, &output, 2);
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_machine_may_enforce_without_being_forced() {
    if !ready() {
        return;
    }
    // In the namespace of process 1, with an interface that cannot be there:
    // nothing is guarded.
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let policy = "interfaces = [\"no-such-link7\"]\n";
    let config = installed.outside("p.toml");
    let socket = installed.outside("direct.sock");
    installed.write("p.toml", policy).expect("written");
    let run = |more: &[&str]| {
        let mut command = Command::new(nodewall());
        command.arg("run").arg("--socket").arg(&socket).arg("--config").arg(&config);
        command.arg("--state").arg(installed.outside("state")).args(more);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let output = child.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let same = fs::read_link("/proc/self/ns/net").ok() == fs::read_link("/proc/1/ns/net").ok();
    if !same {
        println!("skipped: this test is itself in a namespace that is not the machine's own");
        return;
    }
    for (mode, more) in [("enforce", &[][..]), ("enforce", &["--force"]), ("monitor", &[])] {
        installed.write("p.toml", &format!("mode = \"{mode}\"\n{policy}")).expect("written");
        let (code, said) = run(more);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("no-such-link7") && !socket.exists(), "{said}");
    }
}

/// The policy that the project starts people from.
const DEFAULT: &str = include_str!("../../../xtask/assets/policy.toml");

#[test]
fn what_a_start_and_the_default_policy_cost() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let begun = Instant::now();
    let daemon = installed
        .start(Policy::Text(&format!("{POLICY}{DEFAULT}")), &[])
        .expect("the daemon starts");
    // Once it listens, everything is guarded already.
    println!("listens after {:?} (this build may be slow)", begun.elapsed());
    closed(&world.peer, None, world.host_ipv4(22));
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    for name in ["VmRSS:", "VmHWM:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        println!("{name} {}", line.trim());
    }
}
