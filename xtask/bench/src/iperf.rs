//! iperf3 between the two ends of a link.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use sandbox::Sandbox;

/// A policy that lets it through.
pub const POLICY: &str = "[[rule]]\nname = \"iperf\"\nports = [\"tcp/5201\"]\n";
/// How long it sends.
const SECONDS: &str = "2";

/// Which way the data goes.
#[derive(Clone, Copy)]
pub enum Direction {
    /// The host receives it, and sends acknowledgements.
    In,
    /// The host sends it, and receives acknowledgements.
    Out,
}

/// Gigabits a second that one end receives from the other. The server is the host's.
pub fn run(sandbox: &Sandbox, direction: Direction) -> Result<f64> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new("iperf3");
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let mut server = sandbox
        .host
        .spawn(command(&["--server", "--one-off"]))
        .context("is iperf3 installed? `cargo xtask setup --all`")?;
    thread::sleep(Duration::from_millis(300));
    let host = sandbox::HOST_IPV4.to_string();
    let mut arguments = vec!["--client", &host, "--time", SECONDS, "--json"];
    if let Direction::Out = direction {
        arguments.push("--reverse");
    }
    let client = sandbox.peer.spawn(command(&arguments))?;
    let output = client.wait_with_output()?;
    if !output.status.success() {
        // It would wait for another client for good.
        server.kill()?;
    }
    server.wait()?;
    ensure!(output.status.success(), "iperf3 failed: {}", String::from_utf8_lossy(&output.stdout));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let bits = found["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(bits.context("iperf3 printed no rate")? / 1e9)
}
