//! What is asked of the system: its service manager, its package manager.

use std::{
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// For what takes a moment; an emulated processor is slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a program to its end.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Runs one that must succeed.
#[track_caller]
pub fn succeed(program: &str, arguments: &[&str]) {
    let Output { status, stdout, stderr } = run(program, arguments);
    let said = [stdout, stderr].concat();
    assert!(
        status.success(),
        "{program} {arguments:?}: {status}: {}\n{}",
        String::from_utf8_lossy(&said),
        journal()
    );
}

/// Runs one that must end with that code; what it said.
#[track_caller]
pub fn failing(program: &str, arguments: &[&str], code: i32) -> String {
    let Output { status, stdout, stderr } = run(program, arguments);
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert_eq!(status.code(), Some(code), "{program} {arguments:?}: {said}");
    said
}

/// What a program that must succeed writes, without the last line end.
#[track_caller]
pub fn output(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(program, arguments);
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{program} {arguments:?}: {status}: {said}");
    String::from_utf8_lossy(&stdout).trim_end().to_owned()
}

/// A property of the service.
#[track_caller]
pub fn service(property: &str) -> String {
    output("systemctl", &["show", "--value", "--property", property, "nodewall.service"])
}

/// The end of what the service has logged.
pub fn journal() -> String {
    let arguments = ["--unit=nodewall", "--no-pager", "--output=cat", "--lines=40"];
    String::from_utf8_lossy(&run("journalctl", &arguments).stdout).into_owned()
}

/// Whether dpkg knows of the package at all.
pub fn is_installed() -> bool {
    run("dpkg-query", &["--show", "nodewall"]).status.success()
}

/// Waits until something is so.
#[track_caller]
pub fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", journal());
        thread::sleep(Duration::from_millis(50));
    }
}
