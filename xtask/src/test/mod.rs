//! `cargo xtask test`: every test that this machine can run, and what it cannot run and why.

mod machines;
mod outcome;

use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use nix::unistd::geteuid;
use toolchain::Toolchain;

use crate::{fuzz, outer, program, setup};
use outcome::{NotRun, Outcome, Suite};

/// Runs every test that this machine can run: unit, documentation and kernel tests, and these on several kernels.
#[derive(clap::Args)]
pub struct Args {
    /// Boot no virtual machines.
    #[arg(long)]
    no_vm: bool,
    /// Run the test programs, not cargo, as root: through sudo.
    #[arg(long)]
    sudo: bool,
}

/// Runs each suite, also after one has failed, and sums up. Fails where a test failed, or could not run though set-up
/// should have seen to it.
pub fn run(args: &Args) -> Result<()> {
    let toolchain = setup::ensure()?;
    let mut suites = Vec::new();
    let mut timed = |name, suite: &mut dyn FnMut() -> Outcome| {
        let began = Instant::now();
        let outcome = suite();
        suites.push(Suite { name, outcome, took: began.elapsed() });
    };
    let lacking = lacking(args.sudo);
    timed("unit, integration and documentation tests", &mut || {
        cargo_test(&toolchain, args.sudo, lacking.is_none()).into()
    });
    timed("kernel tests on this machine's kernel", &mut || match &lacking {
        // They are among the tests above.
        None => Outcome::Included,
        Some(why) => NotRun::by_nature(why).into(),
    });
    timed("fuzzers, each for some seconds", &mut || {
        if machines::is_on_path("c++") {
            fuzz::briefly().into()
        } else {
            NotRun::by_nature(
                "libFuzzer needs a compiler for C++; `cargo xtask setup --all` installs one",
            )
            .into()
        }
    });
    timed("kernel tests on other kernels", &mut || match args.no_vm {
        true => NotRun::by_nature("--no-vm").into(),
        false => machines::kernels(),
    });
    timed("the package on a Debian system", &mut || match args.no_vm {
        true => NotRun::by_nature("--no-vm").into(),
        false => machines::system(),
    });

    println!("\ncargo xtask test:");
    for suite in &suites {
        println!("  {suite}");
    }
    let failed: Vec<_> =
        suites.iter().filter(|suite| suite.outcome.is_failure()).map(|suite| suite.name).collect();
    if !failed.is_empty() {
        bail!("not as it should be: {}", failed.join("; "));
    }
    Ok(())
}

/// Why no kernel test can run here, if none can.
fn lacking(sudo: bool) -> Option<String> {
    if !geteuid().is_root() {
        // What root lacks, if anything, the tests say.
        return (!sudo).then(|| {
            "they need root: `cargo xtask test --sudo` runs the test programs through sudo"
                .to_owned()
        });
    }
    let missing: Vec<_> = sandbox::requirements().iter().map(ToString::to_string).collect();
    (!missing.is_empty()).then(|| missing.join(" "))
}

/// Everything that cargo tests, with the kernel tests if they can run.
fn cargo_test(toolchain: &Toolchain, sudo: bool, with_kernel: bool) -> Result<()> {
    let nodewall = program::build(false)?;
    let mutant = program::mutant(toolchain)?;
    let environment = [("NODEWALL_BIN", &nodewall), ("NODEWALL_MUTANT_OBJECT", &mutant)];

    let mut command = outer::cargo();
    if sudo {
        command
            .arg("--config")
            .arg(runner(&environment.map(|(name, path)| (name, path.as_path()))));
    }
    command.args(["test", "--no-fail-fast"]).envs(environment);
    if !with_kernel {
        // Else the default members, which are all but the kernel side.
        command.args(["--workspace", "--exclude", "filter-ebpf", "--exclude", "nodewall-tests"]);
    }
    outer::run(&mut command)
}

/// Cargo's setting that runs what it built through sudo, which drops the environment.
fn runner(environment: &[(&str, &Path)]) -> OsString {
    let mut words = vec!["sudo".to_owned(), "env".to_owned()];
    words.extend(environment.iter().map(|(name, path)| format!("{name}={}", path.display())));
    // A list of strings is the same in TOML as Rust shows it, but for characters that no path of cargo's has.
    format!("target.'cfg(unix)'.runner={words:?}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_hands_the_environment_on() {
        let setting = runner(&[("A", Path::new("/a b"))]);
        assert_eq!(setting, r#"target.'cfg(unix)'.runner=["sudo", "env", "A=/a b"]"#);
    }
}
