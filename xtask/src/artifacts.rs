//! What cargo builds, by its own account.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

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

/// Runs a cargo that builds `what`, and tells what it built. Its messages go to standard error; `remedy` follows where
/// it fails, and begins with a semicolon if there is one.
pub fn built(command: &mut Command, what: &str, remedy: &str) -> Result<Vec<Artifact>> {
    let mut child = command
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo's output is piped")?;
    let mut built = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo says")?;
        built.extend(serde_json::from_str::<Artifact>(&line).ok());
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("{what} did not build ({status}): what cargo said is above{remedy}");
    }
    Ok(built)
}

/// The program `nodewall` among what was built.
pub fn nodewall(built: Vec<Artifact>) -> Result<PathBuf> {
    let is_it = |built: &Artifact| !built.profile.test && built.target.name == "nodewall";
    let mut found = built.into_iter().filter(is_it);
    found
        .find_map(|built| built.executable)
        .context("cargo built package filter-user and named no program `nodewall`")
}
