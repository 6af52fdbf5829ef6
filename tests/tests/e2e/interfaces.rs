//! Which interfaces are guarded: those that come and go, and those on top of one another.

use nodewall_tests::e2e::{
    Guarded, closed, ctl, eventually, expect_code, fails_to_start, instance, ready, rule_for,
};
use sandbox::{Instance, Policy, Sandbox, Tag};

/// Names no interface.
fn policy() -> String {
    rule_for("open", "tcp/8080", "")
}

fn everywhere() -> ipnet::IpNet {
    "0.0.0.0/0".parse().expect("a prefix")
}

fn attached(instance: &Instance) -> Vec<(String, bool)> {
    let output = ctl(instance, &["status", "--json"]);
    expect_code(&["status"], &output, 0);
    let status: serde_json::Value = serde_json::from_str(&output.stdout).expect("it is JSON");
    let interfaces = status["interfaces"].as_array().expect("a list");
    let entry = |entry: &serde_json::Value| {
        (entry["name"].as_str().expect("a name").to_owned(), !entry["attach"].is_null())
    };
    interfaces.iter().map(entry).collect()
}

fn guarded(names: &[&str]) -> Vec<(String, bool)> {
    names.iter().map(|name| ((*name).to_owned(), true)).collect()
}

#[test]
fn what_had_a_default_route_is_guarded_before_it_has_one_again() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let start = || installed.start(Policy::Text(&policy()), &[]).expect("it starts");

    let daemon = start();
    assert_eq!(attached(&installed), [], "nothing has a default route");
    world.veth.a.add_route(everywhere(), None).expect("a route");
    eventually("it is guarded", || attached(&installed) == guarded(&["nw0"]));
    daemon.stop().expect("it stops");

    // As after a reboot: there, without the route.
    world.veth.a.down().expect("down");
    world.veth.a.up().expect("up");
    let daemon = start();
    assert_eq!(attached(&installed), guarded(&["nw0"]), "{}", daemon.stderr());
    closed(&world.peer, None, world.host_ipv4(22));
    daemon.stop().expect("it stops");

    // And when the daemon is there before the interface.
    world.veth.delete().expect("deleted");
    let daemon = start();
    assert_eq!(attached(&installed), [("nw0".to_owned(), false)]);
    world.veth.recreate().expect("made again");
    let output = ctl(&installed, &["guard", "nw0"]);
    expect_code(&["guard"], &output, 0);
    assert!(output.stdout.contains("nw0 is guarded"), "{}", output.stdout);
    closed(&world.peer, None, world.host_ipv4(22));

    // Who names others is not held to what was.
    let named = format!("interfaces = [\"lo\"]\n{}", policy());
    let file = installed.write("named.toml", &named).expect("written");
    let arguments = ["apply", &file.to_string_lossy()];
    expect_code(&arguments, &ctl(&installed, &arguments), 0);
    assert_eq!(attached(&installed), guarded(&["lo"]));
    let output = ctl(&installed, &["guard", "nw0"]);
    expect_code(&["guard"], &output, 0);
    assert!(output.stdout.contains("not one that is to be guarded"), "{}", output.stdout);
    drop(daemon);
}

#[test]
fn the_udev_helper_says_when_there_is_no_daemon() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let output = ctl(&instance(&world.host), &["guard", "nw0"]);
    expect_code(&["guard"], &output, 3);
}

/// A pair with a VLAN on the host's end, if this kernel has them.
fn with_vlan() -> Option<Sandbox> {
    let world = Sandbox::pair().expect("a pair");
    match world.veth.a.add_vlan("nw0.7", Tag::Customer, 7) {
        Ok(_) => Some(world),
        Err(error @ sandbox::Error::NoDriver { .. }) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn two_that_see_the_same_frames_are_not_both_guarded_by_name() {
    if !ready() {
        return;
    }
    let Some(world) = with_vlan() else { return };
    let both = format!("interfaces = [\"nw0\", \"nw0.7\"]\n{}", policy());
    let installed = instance(&world.host);
    let (code, said) = fails_to_start(&installed, Policy::Text(&both), &[], |_| {});
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("`nw0`") && said.contains("`nw0.7`"), "it names both: {said}");

    let guarded = Guarded::over(world, &format!("interfaces = [\"nw0\", \"lo\"]\n{}", policy()));
    let output = guarded.apply_code(&both, 1);
    assert!(output.stderr.contains("`nw0.7`"), "{}", output.stderr);
    assert_eq!(guarded.status().generation(), 1);
    assert!(guarded.status().attach("nw0").0.is_some());
    assert_eq!(guarded.status().0["interfaces"].as_array().map(Vec::len), Some(2));
}

#[test]
fn one_that_appears_on_top_of_a_guarded_one_is_refused() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    match world.host.add_dummy("late") {
        Ok(_) => {}
        Err(error @ sandbox::Error::NoDriver { .. }) => return println!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    }
    let guarded = Guarded::over(world, &format!("interfaces = [\"nw0\", \"late\"]\n{}", policy()));
    guarded.host().delete_link("late").expect("deleted");
    eventually("it is gone", || guarded.status().attach("late").0.is_none());
    match guarded.world.veth.a.add_vlan("late", Tag::Customer, 7) {
        Ok(_) => {}
        Err(error @ sandbox::Error::NoDriver { .. }) => return println!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    }
    let output = guarded.code(&["guard", "late"], 1);
    assert!(
        output.stderr.contains("`late`") && output.stderr.contains("`nw0`"),
        "{}",
        output.stderr
    );
    let (attach, why) = guarded.status().attach("late");
    assert!(attach.is_none() && why.is_some_and(|why| why.contains("`nw0`")));
    assert!(guarded.status().attach("nw0").0.is_some());
}

#[test]
fn of_two_with_default_routes_the_lower_one_is_guarded() {
    if !ready() {
        return;
    }
    let Some(world) = with_vlan() else { return };
    let vlan = world.host.link("nw0.7").expect("it is there");
    let installed = instance(&world.host);
    vlan.add_route(everywhere(), None).expect("a route");
    let daemon = installed.start(Policy::Text(&policy()), &[]).expect("it starts");
    assert_eq!(attached(&installed), guarded(&["nw0.7"]));
    // The way out moves to what is below: that one sees the VLAN's frames too.
    vlan.down().expect("down");
    vlan.up().expect("up");
    world.veth.a.add_route(everywhere(), None).expect("a route");
    eventually("the lower one takes over", || attached(&installed) == guarded(&["nw0"]));
    drop(daemon);
}
