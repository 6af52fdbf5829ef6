//! Changing the policy by every way there is, and taking the filter off.

use nodewall_tests::e2e::{
    Guarded, closed, ctl, eventually, expect_code, open, ready, refused, rule_for, soon,
};
use sandbox::{Signal, tcp_listen};

const TOP: &str = "interfaces = [\"nw0\"]\n";

fn policy(port: u16) -> String {
    format!("{TOP}{}", rule_for(&format!("port-{port}"), &format!("tcp/{port}"), ""))
}

#[test]
fn a_reload_takes_the_file_as_it_is_now() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy(8080));
    let world = &guarded.world;
    let _servers = [8080, 8081, 8082]
        .map(|port| tcp_listen(&world.host, world.host_ipv4(port)).expect("a server"));
    let write = |text: &str| guarded.instance().write("nodewall.toml", text).expect("written");
    assert_eq!(guarded.status().0["policy"]["matches_disk"], true);

    write(&policy(8081));
    assert_eq!(guarded.status().0["policy"]["matches_disk"], false);
    open(&world.peer, None, world.host_ipv4(8080));
    let generation = guarded.status().generation();
    let output = guarded.ok(&["reload"]);
    let said = output.stdout + &output.stderr;
    assert!(said.contains("port-8080") && said.contains("port-8081"), "the difference: {said}");
    assert_eq!(guarded.status().generation(), generation + 1);
    assert_eq!(guarded.status().0["policy"]["matches_disk"], true);
    open(&world.peer, None, world.host_ipv4(8081));
    closed(&world.peer, None, world.host_ipv4(8080));

    // The same by a signal.
    write(&policy(8082));
    guarded.daemon.signal(Signal::SIGHUP).expect("sent");
    eventually("the file is loaded", || guarded.status().generation() == generation + 2);
    open(&world.peer, None, world.host_ipv4(8082));
    closed(&world.peer, None, world.host_ipv4(8081));

    // A bad one changes nothing, and the daemon lives.
    write(&format!("{}moode = 1\n", policy(8080)));
    guarded.daemon.signal(Signal::SIGHUP).expect("sent");
    assert!(guarded.daemon.wait_for_stderr("moode", soon()), "{}", guarded.daemon.stderr());
    guarded.code(&["reload"], 2);
    assert_eq!(guarded.status().generation(), generation + 2);
    open(&world.peer, None, world.host_ipv4(8082));
    closed(&world.peer, None, world.host_ipv4(8080));
}

#[test]
fn an_applied_policy_holds_until_the_next_reload() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&policy(8080));
    let world = &guarded.world;
    let _servers =
        [8080, 8081].map(|port| tcp_listen(&world.host, world.host_ipv4(port)).expect("a server"));
    let file = guarded.instance().write("other.toml", &policy(8081)).expect("written");
    let file = file.to_string_lossy();

    let output = guarded.ok(&["diff", &file]);
    assert!(output.stdout.contains("port-8081"), "{output:?}");
    let generation = guarded.status().generation();
    closed(&world.peer, None, world.host_ipv4(8081));

    let output = guarded.ok(&["apply", &file]);
    let said = output.stdout + &output.stderr;
    assert!(said.contains("port-8080") && said.contains("port-8081"), "the difference: {said}");
    assert!(said.contains("reload"), "it says until when it holds: {said}");
    assert_eq!(guarded.status().generation(), generation + 1);
    open(&world.peer, None, world.host_ipv4(8081));

    // The same once more: nothing to do.
    let output = guarded.ok(&["apply", &file]);
    let said = output.stdout + &output.stderr;
    assert!(said.to_lowercase().contains("no change") || said.contains("nothing"), "{said}");
    assert_eq!(guarded.status().generation(), generation + 1);
    guarded.ok(&["diff", &file]);

    // The daemon's own file was not touched.
    guarded.ok(&["reload"]);
    open(&world.peer, None, world.host_ipv4(8080));
    closed(&world.peer, None, world.host_ipv4(8081));
    // Without a file, `apply` takes the daemon's own as well.
    guarded.instance().write("nodewall.toml", &policy(8081)).expect("written");
    guarded.ok(&["apply"]);
    open(&world.peer, None, world.host_ipv4(8081));
}

#[test]
fn sigterm_ends_the_daemon() {
    if !ready() {
        return;
    }
    let Guarded { daemon, world } = Guarded::new(&policy(8080));
    closed(&world.peer, None, world.host_ipv4(22));
    let installed = daemon.instance().clone();
    let output = daemon.stop().expect("it ends");
    assert_eq!(output.code, Some(0), "{output:?}");
    closed(&world.peer, None, world.host_ipv4(22));
    assert!(!installed.outside("control.sock").exists(), "its socket is gone");
    expect_code(&["status"], &ctl(&installed, &["status"]), 3);
}

#[test]
fn sigint_ends_the_daemon() {
    if !ready() {
        return;
    }
    let Guarded { mut daemon, world } = Guarded::new(&policy(8080));
    daemon.signal(Signal::SIGINT).expect("sent");
    let status = daemon.wait(soon()).expect("waited").expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
    closed(&world.peer, None, world.host_ipv4(22));
}

#[test]
fn detach_takes_the_filter_off_if_it_is_meant() {
    if !ready() {
        return;
    }
    let Guarded { mut daemon, world } = Guarded::new(&policy(8080));
    let installed = daemon.instance().clone();
    // Nobody can be asked here.
    let output = ctl(&installed, &["detach"]);
    expect_code(&["detach"], &output, 2);
    assert!(output.stderr.contains("--yes"), "{output:?}");
    closed(&world.peer, None, world.host_ipv4(22));
    assert!(daemon.is_running().expect("asked"));

    let output = ctl(&installed, &["detach", "--yes"]);
    expect_code(&["detach", "--yes"], &output, 0);
    refused(&world.peer, None, world.host_ipv4(22));
    let status = daemon.wait(soon()).expect("waited").expect("the daemon ends");
    assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
    assert!(!installed.outside("control.sock").exists());
}

#[test]
fn a_daemon_that_is_killed_leaves_an_interface_that_another_can_guard() {
    if !ready() {
        return;
    }
    let Guarded { daemon, world } = Guarded::new(&policy(8080));
    daemon.kill();
    let guarded = Guarded::over(world, TOP);
    closed(guarded.peer(), None, guarded.world.host_ipv4(22));
}
