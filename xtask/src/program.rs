//! Building the program `nodewall`, and where it lies then.

use std::path::PathBuf;

use anyhow::Result;
use toolchain::Toolchain;

use crate::{artifacts, outer};

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
    if release {
        command.arg("--release");
    }
    artifacts::nodewall(artifacts::built(&mut command, "nodewall", "")?)
}
