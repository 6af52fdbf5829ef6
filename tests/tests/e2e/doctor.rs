//! `nodewall doctor` on hosts of every kind.

use std::{
    fs,
    net::TcpListener,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use aya::programs::XdpMode;
use bench::flood::Instruments;
use nodewall_tests::e2e::{ctl, expect_code, instance, ready};
use sandbox::{Instance, Namespace, Output, Policy, Sandbox, tcp_listen};
use serde_json::Value;

/// What the doctor says of a policy, which must end it with that code.
#[track_caller]
fn doctor(installed: &Instance, policy: &str, code: i32) -> Vec<Value> {
    let file = installed.write("doctor.toml", policy).expect("written");
    let arguments = ["doctor", "--json", "--config", &file.to_string_lossy()];
    let output = ctl(installed, &arguments);
    expect_code(&arguments, &output, code);
    findings(&output)
}

#[track_caller]
fn findings(output: &Output) -> Vec<Value> {
    let told: Value = serde_json::from_str(&output.stdout).expect("it is JSON");
    assert_eq!(told["v"], 1);
    let findings = told["findings"].as_array().expect("a list").clone();
    for finding in &findings {
        let level = finding["level"].as_str().expect("a level");
        assert!(["ok", "note", "warning", "failure"].contains(&level), "{finding}");
        assert!(finding["check"].is_string() && finding["what"].is_string(), "{finding}");
        // What is wrong comes with what mends it.
        let mend = &finding["mend"];
        assert!(mend.is_string() || ["ok", "note"].contains(&level) && mend.is_null(), "{finding}");
    }
    findings
}

/// The level of a check, and all that is said of it.
#[track_caller]
fn found(findings: &[Value], check: &str) -> (String, String) {
    let of_check: Vec<_> = findings.iter().filter(|found| found["check"] == check).collect();
    let [found] = of_check[..] else { panic!("not one of {check} in {findings:#?}") };
    (found["level"].as_str().unwrap_or_default().to_owned(), found.to_string())
}

const RULE: &str = "[[rule]]\nname = \"p2p\"\nports = [\"tcp/8080\"]\n";

#[test]
fn a_host_that_can_run_it_is_told_so() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let all = doctor(&installed, &format!("interfaces = [\"nw0\"]\n{RULE}"), 0);
    for check in ["privileges", "bpffs", "native_xdp", "sock_diag", "policy"] {
        let (level, text) = found(&all, check);
        // Kernels before 6.3 do not tell what a driver can do.
        assert!(level == "ok" || check == "native_xdp" && level == "note", "{text}");
    }
    assert!(["ok", "note"].contains(&found(&all, "kernel").0.as_str()));
    assert!(!all.iter().any(|found| found["check"] == "xdp_hook"), "nothing is on the hook");

    // People read the same.
    let file = installed.path("doctor.toml");
    let arguments = ["doctor", "--config", &file.to_string_lossy()];
    let output = ctl(&installed, &arguments);
    expect_code(&arguments, &output, 0);
    assert!(output.stdout.contains("this host can run nodewall"), "{}", output.stdout);
    assert!(
        output.stdout.contains("nw0 runs XDP programs natively")
            || all.iter().any(|found| found["check"] == "native_xdp" && found["level"] == "note")
    );

    // Its own program is no stranger.
    let policy = format!("interfaces = [\"nw0\"]\n{RULE}");
    let daemon = installed.start(Policy::Text(&policy), &[]).expect("it starts");
    let (level, text) = found(&doctor(&installed, &policy, 0), "xdp_hook");
    assert!(level == "ok" && text.contains("nodewall"), "{text}");
    drop(daemon);
}

#[test]
fn what_stands_in_the_way_is_told() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);

    // An interface that is not there, and a policy that is none.
    let all = doctor(&installed, "interfaces = [\"nw7\"]\n", 1);
    let (level, text) = found(&all, "interfaces");
    assert!(level == "failure" && text.contains("nw7"), "{text}");
    let all = doctor(&installed, "interfaces = [\"nw0\"]\nmode = \"enfroce\"\n", 1);
    let (level, text) = found(&all, "policy");
    assert!(level == "failure" && text.contains("doctor.toml:2:8"), "{text}");
    let output = ctl(&installed, &["doctor", "--json", "--config", "/nonexistent.toml"]);
    assert_eq!(output.code, Some(1));
    assert_eq!(found(&findings(&output), "policy").0, "failure");

    // Large frames: the driver takes them or it does not, and that is what it says.
    let policy = format!("interfaces = [\"nw0\"]\n{RULE}");
    assert!(!doctor(&installed, &policy, 0).iter().any(|found| found["check"] == "mtu"));
    world.veth.a.set_mtu(9000).expect("set");
    let (level, text) = found(&doctor(&installed, &policy, 0), "mtu");
    assert!(text.contains("nw0 has an MTU of 9000"), "{level} {text}");

    // A link without native XDP.
    let (level, text) =
        found(&doctor(&installed, &format!("interfaces = [\"lo\"]\n{RULE}"), 0), "native_xdp");
    assert!(level == "warning" || level == "note", "{text}");
    if level == "warning" {
        let native = format!("interfaces = [\"lo\"]\nattach = \"native\"\n{RULE}");
        assert_eq!(found(&doctor(&installed, &native, 1), "native_xdp").0, "failure");
    }
    let other = Namespace::new("other").expect("a namespace");
    let (level, text) = found(&doctor(&instance(&other), RULE, 0), "interfaces");
    assert!(level == "warning" && text.contains("default route"), "{text}");
}

#[test]
fn another_program_on_the_hook_is_named() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let mut foreign = Instruments::load().expect("loaded");
    let index = world.veth.a.index().expect("its index");
    let attach = || foreign.attach("bare_pass", index, XdpMode::Driver).map(drop);
    world.host.enter(attach).expect("entered").expect("attached");
    let installed = instance(&world.host);
    let all = doctor(&installed, &format!("interfaces = [\"nw0\"]\n{RULE}"), 1);
    let (level, text) = found(&all, "xdp_hook");
    assert!(level == "failure" && text.contains("ip link set dev nw0 xdp off"), "{text}");
    assert!(text.contains("bare_pass"), "it is named: {text}");
}

#[test]
fn who_cannot_log_in_any_more_is_told_before() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let policy = format!("interfaces = [\"nw0\"]\n{RULE}");
    let (level, text) = found(&doctor(&installed, &policy, 0), "ssh");
    assert!(level == "note" && text.contains("no sshd"), "{text}");
    let _other = tcp_listen(&world.host, world.host_ipv4(2200)).expect("a server");
    assert_eq!(found(&doctor(&installed, &policy, 0), "ssh").0, "note", "it is no sshd");

    // A process of that name that holds a listener.
    let sshd = installed.outside("sshd");
    fs::copy("/bin/sleep", &sshd).expect("copied");
    let listener = world.host.enter(|| TcpListener::bind("0.0.0.0:2222"));
    let listener = listener.expect("entered").expect("free");
    let mut command = Command::new(installed.path("sshd"));
    command.arg("600").stdin(Stdio::from(OwnedFd::from(listener)));
    let mut process = world.host.spawn(command).expect("it runs");
    let (level, text) = found(&doctor(&installed, &policy, 1), "ssh");
    assert!(level == "failure" && text.contains("tcp/2222"), "{text}");
    let (level, text) =
        found(&doctor(&installed, &format!("mode = \"monitor\"\n{policy}"), 0), "ssh");
    assert!(level == "warning" && text.contains("once it is enforced"), "{text}");
    let ssh = |from| format!("{policy}[[rule]]\nname = \"ssh\"\nports = [\"tcp/2222\"]\n{from}");
    assert_eq!(found(&doctor(&installed, &ssh(""), 0), "ssh").0, "warning", "for everybody");
    assert_eq!(found(&doctor(&installed, &ssh("from = [\"192.0.2.7\"]"), 0), "ssh").0, "ok");
    process.kill().expect("killed");
    let _ended = process.wait();
}
