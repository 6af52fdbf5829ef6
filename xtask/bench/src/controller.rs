//! What the daemon itself costs: the time to its first judged packet, and memory.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, ensure};
use sandbox::{Instance, Policy, Sandbox};

use crate::report::{Report, Row};

/// The policy that the demonstration runs.
pub const POLICY: &str = include_str!("../../assets/policy.toml");

/// Starts the daemon so many times.
pub fn measure(rounds: u32, binary: &Path, report: &mut Report) -> Result<()> {
    let (mut guards, mut starts, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let sandbox = Sandbox::silent_pair()?;
        let instance = Instance::new(&sandbox.host, binary)?;
        let frame = sandbox
            .frame_to_host()
            .ipv4("203.0.113.9", sandbox::HOST_IPV4)
            .tcp(4000, 23)
            .syn()
            .build();
        let socket = sandbox::RawSocket::open(&sandbox.peer, sandbox::PEER_LINK)?;
        let begin = Instant::now();
        let daemon = instance.start(Policy::Text(POLICY), &["--interface", sandbox::HOST_LINK])?;
        // It listens as soon as every interface is guarded.
        guards.push(begin.elapsed().as_secs_f64() * 1e3);
        socket.send(&frame)?;
        let judged = loop {
            let status = daemon.ctl(&["status", "--json"])?;
            let status: serde_json::Value = serde_json::from_str(&status.stdout)?;
            let totals = status["totals"].as_array().context("status shows no totals")?;
            if totals.iter().any(|total| total["reason"] == "port_closed") {
                break begin.elapsed();
            }
            ensure!(begin.elapsed().as_secs() < 10, "no packet was judged within ten seconds");
        };
        starts.push(judged.as_secs_f64() * 1e3);
        memory.push(resident(daemon.pid())?);
        daemon.stop()?;
    }
    report.add(Row::of("daemon: start until every interface is guarded", guards, "ms"));
    report.add(
        Row::of("daemon: start to the first judged packet, seen in its counters", starts, "ms")
            .below(300.0),
    );
    report
        .add(Row::of("daemon: resident memory with the default policy", memory, "MB").below(40.0));
    Ok(())
}

/// Resident memory in MB (proc_pid_status(5), `VmRSS` in kB).
fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: f64 =
        line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?.parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}
