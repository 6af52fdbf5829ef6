//! Programs that need no shared library: they run in a guest that has none, and on any distribution.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::artifacts::{self, Artifact};
use crate::outer;

/// What they are built for. The C library is glibc, linked statically: its look-ups of users need no file but `/etc/passwd`.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs cargo on target directory `target`, which must be used for this alone, with `settings` as in `.cargo/config.toml`.
/// Its messages go to standard error.
pub fn cargo(target: &Path, arguments: &[&str], settings: &[&str]) -> Result<Vec<Artifact>> {
    // As arguments, because the build of the kernel side, which runs within this one, would inherit variables.
    let mut flags = vec!["-C".to_owned(), "target-feature=+crt-static".to_owned()];
    // Messages of panics name files; where the builder keeps them is nobody's business. The last that fits is taken.
    let variable = |name| std::env::var(name).ok();
    let places = [
        (variable("HOME"), "/home"),
        (variable("RUSTUP_HOME"), "/rustup"),
        (variable("CARGO_HOME"), "/cargo"),
        (Some(outer::workspace().display().to_string()), "/nodewall"),
    ];
    for (from, to) in places {
        flags.extend(from.map(|from| format!("--remap-path-prefix={from}={to}")));
    }
    // A list of strings is the same in TOML as Rust shows it, but for characters that no path of cargo's has.
    let flags = format!("target.{TARGET}.rustflags={flags:?}");
    let mut command = outer::cargo();
    command
        .args(arguments)
        .args(["--target", TARGET, "--config", &flags])
        .args(settings.iter().flat_map(|setting| ["--config", setting]))
        .arg("--target-dir")
        .arg(target)
        // These would take the place of the flags above.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    artifacts::built(&mut command, "the programs", "")
}

/// The program `nodewall`.
pub fn nodewall(target: &Path, arguments: &[&str], settings: &[&str]) -> Result<PathBuf> {
    let arguments =
        [&["build", "--package", "filter-user", "--bin", "nodewall"], arguments].concat();
    artifacts::nodewall(cargo(target, &arguments, settings)?)
}
