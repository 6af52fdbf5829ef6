//! `cargo xtask setup`: makes this machine able to build the kernel side.

use anyhow::Result;
use toolchain::Toolchain;

use crate::{packages, promtool};

/// Makes this machine able to build nodewall. Costs nothing where there is nothing to do.
#[derive(clap::Args)]
pub struct Args {
    /// Also install the Debian packages that the tests, the virtual machines and the measurements use (needs root).
    #[arg(long)]
    all: bool,
}

/// Says what it does, and at the end what the machine now has.
pub fn run(args: &Args) -> Result<()> {
    let toolchain = ensure()?;
    say(&format!(
        "the kernel side builds with rustc {} and LLVM {}",
        toolchain.compiler().release(),
        toolchain.compiler().llvm()
    ));
    if args.all {
        packages::install(&mut say)?;
        promtool::ensure(&mut say)?;
    }
    Ok(())
}

/// The toolchain, made first if it is not there. For every command that builds.
pub fn ensure() -> Result<Toolchain> {
    Ok(Toolchain::set_up(&mut say)?)
}

fn say(sentence: &str) {
    eprintln!("setup: {sentence}");
}
