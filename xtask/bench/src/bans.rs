//! How long bans take: one, and a list of a million.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use sandbox::{Instance, Policy, Sandbox};

use crate::report::{Report, Row};

const MANY: u32 = 1_000_000;
const WITHIN: Duration = Duration::from_secs(120);

/// The commands, from start to end.
pub fn measure(rounds: u32, binary: &Path, report: &mut Report) -> Result<()> {
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let sandbox = Sandbox::silent_pair()?;
        let instance = Instance::new(&sandbox.host, binary)?;
        let list = instance.write("bans.txt", &addresses())?;
        let daemon = instance.start(Policy::Text(""), &["--interface", sandbox::HOST_LINK])?;
        let ban = |arguments: &[&str]| -> Result<f64> {
            let begin = Instant::now();
            let output = instance.ctl_within(&[&["ban"], arguments].concat(), WITHIN)?;
            let took = begin.elapsed().as_secs_f64();
            ensure!(output.code == Some(0), "ban failed: {}", output.stderr);
            Ok(took)
        };
        one.push(ban(&["192.0.2.7", "--for", "1h"])? * 1e3);
        // There is room for the list and no more.
        let output = instance.ctl(&["unban", "192.0.2.7"])?;
        ensure!(output.code == Some(0), "unban failed: {}", output.stderr);
        many.push(ban(&["--from", &list.to_string_lossy(), "--for", "1h"])?);
        daemon.stop()?;
    }
    report.add(Row::of("ban of one address, the command from start to end", one, "ms"));
    report.add(Row::of("ban of 1,000,000 addresses from a list", many, "s"));
    Ok(())
}

/// Every third address: none of them merge.
fn addresses() -> String {
    let mut text = String::new();
    for number in 0..MANY {
        let [_, a, b, c] = (number * 3).to_be_bytes();
        let _ = writeln!(text, "20.{a}.{b}.{c}");
    }
    text
}
