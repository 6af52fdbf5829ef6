//! What it was measured on.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

/// The machine, and what is installed on it.
#[derive(Serialize, Deserialize)]
pub struct Machine {
    /// Each line: what, and what it is.
    pub lines: Vec<(String, String)>,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let hypervisor = match read("/proc/cpuinfo").contains(" hypervisor ") {
            true => "virtual",
            false => "physical",
        };
        let siblings = read("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list");
        let governor = match read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") {
            none if none.is_empty() => "not shown to this machine".to_owned(),
            governor => governor,
        };
        let lines = [
            ("processor", cpu("model name")),
            (
                "processors",
                format!("{processors}, {hypervisor}; CPU 0 shares its core with: {siblings}"),
            ),
            ("cache", cpu("cache size")),
            ("frequency governor", governor),
            ("kernel", read("/proc/sys/kernel/osrelease")),
            (
                "BPF",
                format!(
                    "JIT {}, hardening {}",
                    read("/proc/sys/net/core/bpf_jit_enable"),
                    read("/proc/sys/net/core/bpf_jit_harden")
                ),
            ),
            ("attach mode", "native XDP on veth, one queue, MTU 1500".to_owned()),
            ("nodewall", said(&["git", "describe", "--always", "--dirty"])),
            ("nftables", said(&["nft", "--version"])),
            ("iptables", said(&["iptables", "--version"])),
            ("ipset", said(&["ipset", "--version"])),
            ("xdp-tools", said(&["dpkg-query", "--show", "--showformat=${Version}", "xdp-tools"])),
        ];
        Self { lines: lines.map(|(what, is)| (what.to_owned(), is)).into() }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// A field of the first processor (proc_cpuinfo(5)).
fn cpu(field: &str) -> String {
    let text = read("/proc/cpuinfo");
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.split_once(": "));
    found.map(|(_, value)| value.to_owned()).unwrap_or_default()
}

/// The first line that a program writes.
fn said(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match text.ok().as_deref().and_then(|text| text.lines().next()) {
        Some(line) => line.trim().to_owned(),
        None => "not installed".to_owned(),
    }
}
