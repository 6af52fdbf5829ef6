//! `cargo xtask build`: the program, or the kernel side alone.

use std::path::PathBuf;

use anyhow::Result;

use crate::{outer, setup};

/// Builds nodewall, with the kernel side in it.
#[derive(clap::Args)]
pub struct Args {
    /// Optimise the program too. The kernel side always is.
    #[arg(long)]
    release: bool,
    /// Build the kernel side alone, and put its object file into this directory.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "release")]
    object: Option<PathBuf>,
    /// With --object: features of filter-ebpf, with commas between them.
    #[arg(long, value_delimiter = ',', requires = "object")]
    features: Vec<String>,
}

/// Makes the toolchain first if it is not there.
pub fn run(args: &Args) -> Result<()> {
    let toolchain = setup::ensure()?;
    if let Some(dir) = &args.object {
        let features: Vec<_> = args.features.iter().map(String::as_str).collect();
        let kernel_side = outer::workspace().join("filter-ebpf");
        let object = toolchain.build_object(&kernel_side, "nodewall", &features, dir)?;
        println!("{}", object.display());
        return Ok(());
    }
    let mut command = outer::cargo();
    command.args(["build", "--package", "filter-user"]);
    if args.release {
        command.arg("--release");
    }
    outer::run(&mut command)
}
