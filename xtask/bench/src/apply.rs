//! How long a large change of policy takes: from the command `apply` to its end.

use std::{fmt::Write as _, path::Path, time::Instant};

use anyhow::{Result, ensure};
use sandbox::{Instance, Policy, Sandbox};

use crate::report::{Report, Row};

const RULES: u32 = 10_000;
const ADDRESSES: u32 = 100_000;
/// Seconds.
const GOAL: f64 = 1.0;

/// Applies both policies in each round, and an empty one between them.
pub fn measure(rounds: u32, binary: &Path, report: &mut Report) -> Result<()> {
    let cases = [
        (
            "apply of 10,000 rules of a port and a prefix, 100,000 denied addresses",
            format!("[sources]\ndenied = [\"@large\"]\n{}{}", SET, rules()),
        ),
        (
            "apply of 10,000 such rules, and one for a set of 100,000 addresses",
            format!(
                "{}{}[[rule]]\nname = \"set\"\nports = [\"tcp/14265\"]\nfrom = [\"@large\"]\n",
                SET,
                rules()
            ),
        ),
    ];
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let sandbox = Sandbox::silent_pair()?;
        let instance = Instance::new(&sandbox.host, binary)?;
        instance.write("large.txt", &addresses())?;
        let daemon = instance.start(Policy::Text(""), &["--interface", sandbox::HOST_LINK])?;
        let apply = |text: &str| -> Result<f64> {
            let file = instance.write("change.toml", text)?;
            let begin = Instant::now();
            let output = daemon.ctl(&["apply", &file.to_string_lossy()])?;
            let took = begin.elapsed().as_secs_f64();
            ensure!(output.code == Some(0), "apply failed: {}", output.stderr);
            Ok(took)
        };
        for ((_, policy), seconds) in cases.iter().zip(&mut seconds) {
            seconds.push(apply(policy)?);
            apply("")?;
        }
        daemon.stop()?;
    }
    for ((name, _), seconds) in cases.iter().zip(seconds) {
        report.add(Row::of(name, seconds, "s").below(GOAL));
    }
    Ok(())
}

const SET: &str = "[sets]\nlarge = { file = \"large.txt\" }\n";

/// Ten rules share a port, each for a prefix of its own.
fn rules() -> String {
    let mut text = String::new();
    for number in 0..RULES {
        let [.., a, b] = number.to_be_bytes();
        let port = 1000 + number / 10;
        let _ = writeln!(
            text,
            "[[rule]]\nname = \"rule-{number}\"\nports = [\"tcp/{port}\"]\nfrom = [\"172.{a}.{b}.0/24\"]",
        );
    }
    text
}

/// Every second address: none of them merge.
fn addresses() -> String {
    let mut text = String::new();
    for number in 0..ADDRESSES {
        let [_, a, b, c] = (number * 2).to_be_bytes();
        let _ = writeln!(text, "10.{a}.{b}.{c}");
    }
    text
}
