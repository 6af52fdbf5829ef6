//! `cargo xtask lint`: what the code must pass besides its tests.

use anyhow::{Result, bail};

use crate::outer::{cargo, run as run_command, workspace};
use crate::setup;

/// Checks format, clippy (also of the kernel side, for BPF) and documentation. A warning is an error.
#[derive(clap::Args)]
pub struct Args {}

/// Runs every check, also after one has failed, so that one run tells all.
pub fn run(_args: &Args) -> Result<()> {
    let toolchain = setup::ensure()?;
    let checks: [(&str, &dyn Fn() -> Result<()>); 4] = [
        ("format", &|| run_command(cargo().args(["fmt", "--all", "--check"]))),
        ("clippy", &|| {
            run_command(cargo().args(["clippy", "--all-targets", "--", "-D", "warnings"]))
        }),
        ("clippy of the kernel side", &|| {
            Ok(toolchain.clippy_object(&workspace().join("filter-ebpf"), &[])?)
        }),
        ("documentation", &|| {
            run_command(cargo().args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
        }),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        eprintln!("lint: {name}");
        if let Err(error) = check() {
            eprintln!("lint: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("not clean: {}", failed.join(", "));
    }
    Ok(())
}
