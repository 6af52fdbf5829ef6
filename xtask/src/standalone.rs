//! Programs that need no shared library: they run in a guest that has none, and on any distribution.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::outer;

/// What they are built for. The C library is glibc, linked statically: its look-ups of users need no file but `/etc/passwd`.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What cargo says of each thing it built; other messages have other fields.
#[derive(Deserialize)]
pub struct Artifact {
    /// What it is.
    pub target: Target,
    /// How it was built.
    pub profile: Profile,
    /// Where it is, if it is a program.
    pub executable: Option<PathBuf>,
}

/// A part of a package.
#[derive(Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
}

/// A profile of cargo's.
#[derive(Deserialize)]
pub struct Profile {
    /// Whether it is a test executable.
    pub test: bool,
}

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
        .args(["--target", TARGET, "--message-format=json-render-diagnostics", "--config", &flags])
        .args(settings.iter().flat_map(|setting| ["--config", setting]))
        .arg("--target-dir")
        .arg(target)
        // These would take the place of the flags above.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo's output is piped")?;
    let mut built = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo says")?;
        built.extend(serde_json::from_str::<Artifact>(&line).ok());
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("the programs did not build: what cargo said is above");
    }
    Ok(built)
}

/// The program `nodewall`.
pub fn nodewall(target: &Path, arguments: &[&str], settings: &[&str]) -> Result<PathBuf> {
    let arguments =
        [&["build", "--package", "filter-user", "--bin", "nodewall"], arguments].concat();
    cargo(target, &arguments, settings)?
        .into_iter()
        .find_map(|built| {
            (!built.profile.test && built.target.name == "nodewall").then_some(built.executable)?
        })
        .context("cargo built package filter-user and named no program `nodewall`")
}
