//! The kernel tests in virtual machines.

use std::env;

use clap::{Args, Command, FromArgMatches};
use nix::unistd::geteuid;

use super::outcome::{NotRun, Outcome};
use crate::{packages, vm};

/// The Debian packages that they need.
const PACKAGES: [&str; 4] = ["qemu-system-x86", "busybox-static", "nftables", "mmdebstrap"];
/// Where there is no Debian to ask.
const QEMU: &str = "qemu-system-x86_64";

/// Boots every kernel, after installing what that needs where root is allowed to.
pub fn kernels() -> Outcome {
    run(&["vm"])
}

/// Boots a Debian system for the package, likewise.
pub fn system() -> Outcome {
    if !geteuid().is_root() {
        return NotRun::by_nature("making a system needs root").into();
    }
    run(&["vm", "--systemd"])
}

fn run(words: &[&str]) -> Outcome {
    if !cfg!(target_arch = "x86_64") {
        return NotRun::by_nature("the kernels are for x86-64").into();
    }
    match packages::missing() {
        Ok(missing) if missing.iter().any(|package| PACKAGES.contains(&package.name)) => {
            let mut say = |sentence: &str| eprintln!("setup: {sentence}");
            match packages::install(&mut say) {
                Ok(()) => {}
                Err(error) if geteuid().is_root() => {
                    return NotRun::by_fault(format!("{error:#}")).into();
                }
                Err(error) => return NotRun::by_nature(format!("{error:#}")).into(),
            }
        }
        Err(error) if !is_on_path(QEMU) => return NotRun::by_nature(format!("{error:#}")).into(),
        Ok(_) | Err(_) => {}
    }
    let matches = vm::Args::augment_args(Command::new("vm")).get_matches_from(words);
    vm::Args::from_arg_matches(&matches).map_err(Into::into).and_then(|args| vm::run(&args)).into()
}

pub fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
