//! Building the program `nodewall`, and where it lies then.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use toolchain::Toolchain;

use crate::outer;

/// What cargo says of each thing that it built; other messages have other fields.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the kernel side that is wrong on purpose: it reads the policy in force again for each look-up.
pub fn mutant(toolchain: &Toolchain) -> Result<PathBuf> {
    let kernel_side = outer::workspace().join("filter-ebpf");
    let out = outer::workspace().join("target/mutant");
    Ok(toolchain.build_object(&kernel_side, "nodewall", &["reread"], &out)?)
}

/// Builds `nodewall`, with the kernel side in it, and returns its path. Cargo's messages go to standard error.
pub fn build(release: bool) -> Result<PathBuf> {
    let mut command = outer::cargo();
    // Not by --package: with the features that `cargo test` builds it with, so that neither builds it anew.
    command.args(["build", "--bin", "nodewall"]);
    command.arg("--message-format=json-render-diagnostics");
    if release {
        command.arg("--release");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo's output is piped")?;
    let mut program = None;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo says")?;
        if let Ok(built) = serde_json::from_str::<Artifact>(&line)
            && built.target.name == "nodewall"
        {
            program = built.executable.or(program);
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("nodewall did not build ({status}): what cargo said is above");
    }
    program.context("cargo built package filter-user and named no program `nodewall`")
}
