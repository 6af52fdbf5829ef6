//! The filter on a real interface.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::POLICY;
use crate::outer;

/// Becomes `nodewall run` on this interface. Returns only if it cannot.
pub fn exec(
    binary: &Path,
    interface: &str,
    config: Option<&Path>,
    more: &[OsString],
) -> Result<()> {
    let config = match config {
        Some(config) => {
            eprintln!("run: guarding {interface} by {}; Ctrl-C ends it", config.display());
            config.to_owned()
        }
        None => {
            let config = monitoring()?;
            eprintln!(
                "run: watching {interface} in monitor mode, by {}: packets are judged and counted, and none is dropped; \
                 Ctrl-C ends it",
                config.display()
            );
            config
        }
    };
    eprintln!("run: ask it from another terminal: {} status", binary.display());
    let mut command = Command::new(binary);
    command.args(["run", "--interface", interface, "--config"]).arg(config);
    // A trial: nothing of it outlives Ctrl-C, or meets an installed service.
    command.args(["--pins", "none", "--state"]).arg(outer::workspace().join("target/trial"));
    let error = command.args(more).exec();
    bail!("cannot start {}: {error}", binary.display())
}

/// The policy to start from, in a file, in monitor mode: its addresses are nobody's, so enforcing it would lock out
/// everybody.
fn monitoring() -> Result<PathBuf> {
    let path = outer::workspace().join("target").join("monitor.toml");
    let text = format!("mode = \"monitor\"\n\n{POLICY}");
    fs::create_dir_all(outer::workspace().join("target"))
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
