//! `cargo xtask bench`: what the filter costs. The measuring is the package `bench`'s.

use std::ffi::OsString;

use anyhow::Result;
use toolchain::Toolchain;

use crate::{outer, program, setup};

/// Measures the filter beside the bare programs and other filters (needs root; `--help` shows the options).
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Options of the measurement.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// The feature of filter-ebpf that ends the program after a step, and what it
/// has done by then that it had not before. The last is the program as it is.
const STEPS: [(&[&str], &str); 6] = [
    (&["until_state"], "the interface's entry and block, the generation in force"),
    (&["until_read"], "reading Ethernet, IPv4 and TCP; what was read, through memory"),
    (&["until_verdict"], "the verdict - essentials, lists, bans, the rule of the port"),
    (&["until_count"], "the interface's counters"),
    (&["until_flow_log"], "asking whether flows are counted"),
    (&[], "asking whether the drop is told, the whole program"),
];

/// Builds everything optimised, then measures.
pub fn run(args: &Args) -> Result<()> {
    let toolchain = setup::ensure()?;
    let nodewall = program::build(true)?;
    let mut command = outer::cargo();
    command.args(["run", "--quiet", "--release", "--package", "bench", "--"]);
    command.arg("--binary").arg(nodewall);
    command.arg("--steps").arg(steps(&toolchain)?);
    outer::run(command.args(&args.options))
}

/// Builds the program up to each step; returns where the objects are.
fn steps(toolchain: &Toolchain) -> Result<std::path::PathBuf> {
    let package = outer::workspace().join("filter-ebpf");
    let all = outer::workspace().join("target/steps");
    if all.exists() {
        std::fs::remove_dir_all(&all)?;
    }
    for (number, (features, does)) in STEPS.iter().enumerate() {
        toolchain.build_object(
            &package,
            "nodewall",
            features,
            &all.join(format!("{number} {does}")),
        )?;
    }
    Ok(all)
}
