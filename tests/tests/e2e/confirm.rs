//! Changes that are taken back: in time, by hand, and by a restart.

use std::{thread, time::Duration};

use nodewall_tests::e2e::{
    Guarded, closed, ctl, eventually, expect_code, fails_to_start, in_vm, instance, open, ready,
    rule_for,
};
use sandbox::{Daemon, Instance, Policy, Sandbox, Server, Veth, VethOptions, tcp_listen};

/// With one port open.
fn policy(port: u16) -> String {
    format!("interfaces = [\"nw0\"]\n{}", rule_for("open", &format!("tcp/{port}"), ""))
}

/// A host that serves both ports, with 8080 open.
fn world() -> (Guarded, [Server; 2]) {
    let guarded = Guarded::new(&policy(8080));
    let servers = [8080, 8081]
        .map(|port| tcp_listen(&guarded.world.host, guarded.world.host_ipv4(port)).expect("bound"));
    (guarded, servers)
}

/// Whether this port is open and the other one closed.
#[track_caller]
fn only(world: &Sandbox, port: u16) {
    drop(open(&world.peer, None, world.host_ipv4(port)));
    closed(&world.peer, None, world.host_ipv4(8080 + 8081 - port));
}

fn patience() -> Duration {
    Duration::from_secs(if in_vm() { 20 } else { 2 })
}

#[track_caller]
fn apply_pending(guarded: &Guarded) {
    let file = guarded.instance().write("new.toml", &policy(8081)).expect("written");
    let patience = format!("{}s", patience().as_secs());
    let told = guarded.ok(&["apply", &file.to_string_lossy(), "--confirm", &patience]);
    assert!(told.stdout.contains("nodewall confirm"), "{}", told.stdout);
}

#[track_caller]
fn again(installed: &Instance) -> Daemon {
    let file = installed.path("nodewall.toml");
    installed.start(Policy::File(&file), &[]).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_is_not_confirmed_in_time_is_taken_back() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    apply_pending(&guarded);
    only(&guarded.world, 8081);
    let until = &guarded.status().0["policy"]["pending_until"];
    assert!(until.as_str().is_some_and(|until| until.ends_with('Z')), "{until}");
    // No other change comes between.
    let file = guarded.instance().path("new.toml");
    for command in [&["apply", &file.to_string_lossy()][..], &["reload"]] {
        let told = guarded.code(command, 4);
        assert!(told.stderr.contains("nodewall rollback"), "{}", told.stderr);
    }
    eventually("it is taken back", || guarded.status().0["policy"]["pending_until"].is_null());
    only(&guarded.world, 8080);
    assert_eq!(guarded.rules().names(), ["open"]);
    assert!(guarded.daemon.wait_for_stderr("was not confirmed by", Duration::from_secs(1)));
    let told = guarded.code(&["confirm"], 1);
    assert!(told.stderr.contains("no change waits"), "{}", told.stderr);
    // It was another file than the daemon's own, which a start still loads.
    guarded.ok(&["reload"]);
    only(&guarded.world, 8080);
}

#[test]
fn what_is_confirmed_stays() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    apply_pending(&guarded);
    guarded.ok(&["confirm"]);
    thread::sleep(patience());
    only(&guarded.world, 8081);
    assert!(guarded.status().0["policy"]["pending_until"].is_null());
    guarded.code(&["confirm"], 1);
}

#[test]
fn the_kernel_takes_it_back_without_the_daemon() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    apply_pending(&guarded);
    let Guarded { daemon, world } = guarded;
    let installed = daemon.instance().clone();
    daemon.kill();
    only(&world, 8081);
    thread::sleep(patience());
    only(&world, 8080);
    let _daemon = again(&installed);
    only(&world, 8080);
}

#[test]
fn a_restart_brings_what_was_confirmed() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    // This time it is the daemon's own file that is not confirmed.
    let own = guarded.instance().write("nodewall.toml", &policy(8081)).expect("written");
    guarded.ok(&["apply", &own.to_string_lossy(), "--confirm", "1h"]);
    let Guarded { daemon, world } = guarded;
    let installed = daemon.instance().clone();
    only(&world, 8081);
    daemon.kill();
    let daemon = again(&installed);
    only(&world, 8080);
    assert!(daemon.stderr().contains("never confirmed"), "{}", daemon.stderr());
    let status = ctl(&installed, &["status"]);
    assert!(status.stdout.contains("was never confirmed"), "{}", status.stdout);
    // So it goes on, restart after restart, until it is applied by hand.
    drop(daemon);
    let daemon = again(&installed);
    only(&world, 8080);
    expect_code(&["reload"], &ctl(&installed, &["reload"]), 0);
    only(&world, 8081);
    drop(daemon);
    let _daemon = again(&installed);
    only(&world, 8081);
}

#[test]
fn a_rollback_goes_one_step_and_outlives_a_restart() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    let told = guarded.code(&["rollback"], 1);
    assert!(told.stderr.contains("no change to take back"), "{}", told.stderr);
    guarded.instance().write("nodewall.toml", &policy(8081)).expect("written");
    guarded.ok(&["reload"]);
    only(&guarded.world, 8081);
    let told = guarded.ok(&["rollback"]);
    assert!(told.stdout.contains("went back to"), "{}", told.stdout);
    only(&guarded.world, 8080);
    guarded.code(&["rollback"], 1);
    let Guarded { daemon, world } = guarded;
    let installed = daemon.instance().clone();
    daemon.kill();
    // The file has still what was rolled back.
    let daemon = again(&installed);
    only(&world, 8080);
    assert!(daemon.stderr().contains("rolled back"), "{}", daemon.stderr());
    // A file that has changed since is loaded.
    drop(daemon);
    installed.write("nodewall.toml", &format!("# better\n{}", policy(8081))).expect("written");
    let daemon = again(&installed);
    only(&world, 8081);
    // What a start has changed can be taken back too.
    expect_code(&["rollback"], &ctl(&installed, &["rollback"]), 0);
    only(&world, 8080);
    drop(daemon);
}

#[test]
fn a_pending_change_can_be_taken_back_by_hand() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    let file = guarded.instance().write("new.toml", &policy(8081)).expect("written");
    guarded.ok(&["apply", &file.to_string_lossy(), "--confirm", "1h"]);
    guarded.ok(&["rollback"]);
    only(&guarded.world, 8080);
    assert!(guarded.status().0["policy"]["pending_until"].is_null());
    // What is the same as before needs no confirmation.
    let same = guarded.instance().write("same.toml", &policy(8080)).expect("written");
    guarded.ok(&["apply", &same.to_string_lossy(), "--confirm", "2s"]);
    assert!(guarded.status().0["policy"]["pending_until"].is_null());
    for patience in ["0s", "2days"] {
        guarded.code(&["apply", &file.to_string_lossy(), "--confirm", patience], 2);
    }
}

#[test]
fn a_broken_file_starts_with_the_last_confirmed_policy() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    let Guarded { daemon, world } = guarded;
    let installed = daemon.instance().clone();
    drop(daemon.stop().expect("it ends"));
    installed.write("nodewall.toml", "rules = 1\n").expect("written");
    let daemon = again(&installed);
    only(&world, 8080);
    for said in ["the last confirmed policy is loaded", "rules"] {
        assert!(daemon.stderr().contains(said), "{said}: {}", daemon.stderr());
    }
    let status = ctl(&installed, &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    let why = status["policy"]["instead"].as_str().expect("a reason");
    assert!(why.contains("not valid") && why.contains("rules"), "{why}");
    expect_code(&["reload"], &ctl(&installed, &["reload"]), 2);
    drop(daemon);
}

#[test]
fn sets_are_kept_with_their_policy() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    let of_set = |port: u16| {
        format!(
            "interfaces = [\"nw0\"]\n[sets]\npeers = {{ file = \"peers.txt\" }}\n{}",
            rule_for("open", &format!("tcp/{port}"), "from = [\"@peers\"]\n")
        )
    };
    guarded.instance().write("peers.txt", "198.51.100.2\n").expect("written");
    guarded.instance().write("nodewall.toml", &of_set(8081)).expect("written");
    guarded.ok(&["reload"]);
    only(&guarded.world, 8081);
    let Guarded { daemon, world } = guarded;
    let installed = daemon.instance().clone();
    daemon.kill();
    std::fs::remove_file(installed.outside("peers.txt")).expect("removed");
    let daemon = again(&installed);
    only(&world, 8081);
    assert!(daemon.stderr().contains("peers.txt"), "{}", daemon.stderr());
}

#[test]
fn a_start_that_fails_meanwhile_spoils_nothing_of_what_comes_back() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    let world = &guarded.world;
    Veth::new((&world.host, "raw0"), (&world.peer, "raw1"), VethOptions::default())
        .expect("a link");
    let other = instance(&world.host);
    let _taken = other.start(Policy::Text("interfaces = [\"raw0\"]\n"), &[]).expect("it starts");
    apply_pending(&guarded);
    let Guarded { daemon, world } = guarded;
    let installed = daemon.instance().clone();
    daemon.kill();
    // It comes as far as its tables, and is refused the second interface.
    let both = Policy::Text("interfaces = [\"nw0\", \"raw0\"]\n");
    let (code, said) = fails_to_start(&installed, both, &[], |_| {});
    assert_eq!(code, Some(1), "{said}");
    thread::sleep(patience());
    only(&world, 8080);
}

#[test]
fn what_was_rolled_back_stays_so_whatever_is_confirmed_after_it() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    let file = guarded.instance().write("new.toml", &policy(8081)).expect("written");
    let closed_to_all = "interfaces = [\"nw0\"]\n";
    guarded.instance().write("nodewall.toml", closed_to_all).expect("written");
    guarded.ok(&["reload"]);
    guarded.ok(&["rollback"]);
    guarded.ok(&["apply", &file.to_string_lossy(), "--confirm", "1h"]);
    guarded.ok(&["confirm"]);
    let Guarded { daemon, world } = guarded;
    let installed = daemon.instance().clone();
    daemon.kill();
    let _daemon = again(&installed);
    only(&world, 8081);
}

#[test]
fn what_could_not_be_applied_is_not_held_against_it() {
    if !ready() {
        return;
    }
    let (guarded, _servers) = world();
    let text = policy(8081).replace("\"nw0\"", "\"nw0\", \"later0\"");
    let own = guarded.instance().write("nodewall.toml", &text).expect("written");
    guarded.code(&["apply", &own.to_string_lossy(), "--confirm", "1h"], 1);
    only(&guarded.world, 8080);
    let Guarded { daemon, world } = guarded;
    let installed = daemon.instance().clone();
    daemon.kill();
    // Now that the interface is there, a start loads the file.
    Veth::new((&world.host, "later0"), (&world.peer, "later1"), VethOptions::default())
        .expect("a link");
    let _daemon = again(&installed);
    only(&world, 8081);
}
