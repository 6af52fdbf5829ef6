//! `cargo xtask bench`: what the filter costs. The measuring is the package `bench`'s.

use std::ffi::OsString;

use anyhow::Result;

use crate::{outer, program, setup};

/// Measures the filter side by side with the bare programs (needs root; `--help` shows the options).
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Options of the measurement.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// Builds everything optimised, then measures.
pub fn run(args: &Args) -> Result<()> {
    setup::ensure()?;
    let nodewall = program::build(true)?;
    let mut command = outer::cargo();
    command.args(["run", "--quiet", "--release", "--package", "bench", "--"]);
    command.arg("--binary").arg(nodewall).args(&args.options);
    outer::run(&mut command)
}
