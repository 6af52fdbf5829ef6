//! A daemon, and the world that it guards.

use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

use sandbox::{Daemon, Instance, Namespace, Output, Policy, Sandbox};

use super::{Rules, Status, nodewall, soon};

/// A host under the filter, and its peer.
#[derive(Debug)]
pub struct Guarded {
    // In this order: the daemon ends before its world does.
    /// The daemon.
    pub daemon: Daemon,
    /// Host and peer.
    pub world: Sandbox,
}

impl Guarded {
    /// The usual pair with the daemon on `nw0`, which the policy names.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    #[must_use]
    pub fn new(policy: &str) -> Self {
        Self::over(Sandbox::pair().expect("a pair"), policy)
    }

    /// The daemon in a world that is there.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    #[must_use]
    pub fn over(world: Sandbox, policy: &str) -> Self {
        let instance = instance(&world.host);
        let daemon = match instance.start(Policy::Text(policy), &[]) {
            Ok(daemon) => daemon,
            Err(error) => panic!("the daemon did not start: {error}"),
        };
        Self { daemon, world }
    }

    /// The host's namespace.
    #[must_use]
    pub fn host(&self) -> &Namespace {
        &self.world.host
    }

    /// The peer's namespace.
    #[must_use]
    pub fn peer(&self) -> &Namespace {
        &self.world.peer
    }

    /// The installation.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        self.daemon.instance()
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Output {
        self.code(arguments, 0)
    }

    /// Runs a command that must end with that code.
    ///
    /// # Panics
    /// If it ends otherwise.
    #[track_caller]
    pub fn code(&self, arguments: &[&str], code: i32) -> Output {
        let output = ctl(self.instance(), arguments);
        expect_code(arguments, &output, code);
        output
    }

    /// Runs a command with something on its standard input.
    ///
    /// # Panics
    /// If it cannot be run.
    #[track_caller]
    pub fn with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.instance().command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.host().spawn(command).expect("it runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Output {
            code: output.status.code(),
            stdout: lossy(&output.stdout),
            stderr: lossy(&output.stderr),
        }
    }

    /// Applies a policy from a file that is not the daemon's own.
    ///
    /// # Panics
    /// If it is not applied.
    #[track_caller]
    pub fn apply(&self, policy: &str) -> Output {
        self.apply_code(policy, 0)
    }

    /// Applies a policy; the command must end with that code.
    ///
    /// # Panics
    /// If it ends otherwise.
    #[track_caller]
    pub fn apply_code(&self, policy: &str, code: i32) -> Output {
        let file = self.instance().write("applied.toml", policy).expect("written");
        self.code(&["apply", &file.to_string_lossy()], code)
    }

    /// What `status` says.
    ///
    /// # Panics
    /// If it fails or is no JSON.
    #[track_caller]
    #[must_use]
    pub fn status(&self) -> Status {
        Status(self.json(&["status", "--json"]))
    }

    /// What `rules` says.
    ///
    /// # Panics
    /// If it fails or is no JSON.
    #[track_caller]
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules(self.json(&["rules", "--json"]))
    }

    /// What a command says as JSON of version 1.
    ///
    /// # Panics
    /// If it fails or is no such JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.ok(arguments);
        let value: serde_json::Value = match serde_json::from_str(&output.stdout) {
            Ok(value) => value,
            Err(error) => panic!("{arguments:?} printed no JSON ({error}): {}", output.stdout),
        };
        assert_eq!(value["v"], 1, "{arguments:?}: {value}");
        value
    }
}

/// An installation of the binary under test.
///
/// # Panics
/// If it cannot be made.
#[track_caller]
#[must_use]
pub fn instance(namespace: &Namespace) -> Instance {
    Instance::new(namespace, nodewall()).expect("an instance")
}

/// Runs a command of an installation.
///
/// # Panics
/// If it cannot be run or hangs.
#[track_caller]
#[must_use]
pub fn ctl(instance: &Instance, arguments: &[&str]) -> Output {
    match instance.ctl_within(arguments, soon() * 3) {
        Ok(output) => output,
        Err(error) => panic!("{arguments:?}: {error}"),
    }
}

/// Expects an exit code.
///
/// # Panics
/// If it is another.
#[track_caller]
pub fn expect_code(arguments: &[&str], output: &Output, code: i32) {
    assert!(
        output.code == Some(code),
        "{arguments:?} is to end with {code}, and ended with {:?}\nstdout: {}\nstderr: {}",
        output.code,
        output.stdout,
        output.stderr
    );
}

/// Expects that a daemon ends by itself instead of starting: its exit code and
/// what it wrote on standard error.
///
/// # Panics
/// If it starts.
#[track_caller]
#[must_use]
pub fn fails_to_start(
    instance: &Instance,
    policy: Policy<'_>,
    arguments: &[&str],
    change: impl FnOnce(&mut Command),
) -> (Option<i32>, String) {
    let mut command = instance.command(&["run"]);
    match policy {
        Policy::Text(text) => {
            command.arg("--config").arg(instance.write("nodewall.toml", text).expect("written"));
        }
        Policy::File(file) => {
            command.arg("--config").arg(file);
        }
        Policy::None => {}
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    change(&mut command);
    let mut child = instance.namespace().spawn(command).expect("it runs");
    let begun = std::time::Instant::now();
    while child.try_wait().expect("waited").is_none() {
        if begun.elapsed() > soon() {
            let _ended = child.kill();
            let output = child.wait_with_output().expect("killed");
            panic!("the daemon runs: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("it ended");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A rule in TOML: its name, its ports, and further lines.
#[must_use]
pub fn rule_for(name: &str, ports: &str, more: &str) -> String {
    let ports: Vec<String> = ports.split(' ').map(|port| format!("\"{port}\"")).collect();
    let mut text = String::new();
    writeln!(text, "[[rule]]\nname = \"{name}\"\nports = [{}]\n{more}", ports.join(", "))
        .expect("a string takes everything");
    text
}
