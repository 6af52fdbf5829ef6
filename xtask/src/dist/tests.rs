//! What can be told of the packages' parts without building them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::outer;

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[test]
fn the_unit_is_exposed_less_than_2_0() {
    if !on_path("systemd-analyze") {
        println!("skipped: there is no systemd-analyze (Debian's package systemd)");
        return;
    }
    let unit = outer::workspace().join("dist/systemd/nodewall.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&unit)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let level = said
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for nodewall.service: "))
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f32>().ok());
    let level = level.unwrap_or_else(|| panic!("no level: {said}"));
    println!("systemd-analyze security: {level}");
    assert!(level < 2.0, "{said}");
}

/// The policy that is written at the installation of a host on which these programs say these things.
fn initial_policy(programs: &[(&str, &str)], connection: Option<&str>) -> String {
    let stubs = tempfile::tempdir().expect("a temporary directory");
    // What the host itself has must not be found.
    for tool in ["cat", "sed", "sort"] {
        let real = ["/usr/bin", "/bin"].map(|dir| format!("{dir}/{tool}"));
        let real = real.iter().find(|path| fs::exists(path).unwrap_or(false)).expect("a tool");
        std::os::unix::fs::symlink(real, stubs.path().join(tool)).expect("a link");
    }
    for (name, script) in programs {
        let path = stubs.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a stub");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let mut command = Command::new("/bin/sh");
    command.arg(outer::workspace().join("dist/initial-policy"));
    command.env_clear().env("PATH", stubs.path());
    command.envs(connection.map(|connection| ("SSH_CONNECTION", connection)));
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What is no comment.
fn lines(policy: &str) -> Vec<&str> {
    policy.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

#[test]
fn the_installed_policy_watches_and_has_every_port_of_an_ssh_server() {
    let sshd = ("sshd", "[ \"$1\" = -T ] && printf 'port 22\\nport 2222\\naddressfamily any\\n'");
    let ss = (
        "ss",
        "printf '%s\\n' 'LISTEN 0 128 0.0.0.0:22   0.0.0.0:* users:((\"sshd\",pid=7,fd=3))' \
         'LISTEN 0 128    [::]:8022    [::]:* users:((\"dropbear\",pid=8,fd=3))' \
         'LISTEN 0 128 0.0.0.0:80   0.0.0.0:* users:((\"nginx\",pid=9,fd=3))'",
    );
    let systemctl =
        ("systemctl", "case $1 in --quiet) exit 0;; show) echo 'Listen=[::]:922 (Stream)'; esac");
    let policy = initial_policy(&[sshd, ss, systemctl], Some("192.0.2.1 50000 192.0.2.2 2200"));
    let lines = lines(&policy);
    assert_eq!(lines[0], "mode = \"monitor\"");
    let ports = "ports = [\"tcp/22\", \"tcp/922\", \"tcp/2200\", \"tcp/2222\", \"tcp/8022\"]";
    assert!(lines.contains(&ports), "{policy}");
}

#[test]
fn a_host_without_ssh_gets_a_policy_that_says_so() {
    let without = initial_policy(&[], None);
    assert_eq!(lines(&without)[..2], ["mode = \"monitor\"", "[icmp]"]);
    assert!(without.contains("No SSH server was found"), "{without}");
    // One that fails is one that says nothing.
    let broken =
        initial_policy(&[("sshd", "exit 255"), ("ss", "exit 1"), ("systemctl", "exit 1")], None);
    assert_eq!(broken, without);
}
