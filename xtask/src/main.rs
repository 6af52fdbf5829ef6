//! Everything a developer or CI runs: `cargo xtask COMMAND`.

#![forbid(unsafe_code)]

mod artifacts;
mod bench;
mod build;
mod dist;
mod fuzz;
mod lint;
mod outer;
mod packages;
mod program;
mod promtool;
mod run;
mod setup;
mod standalone;
mod test;
mod vm;

use std::process::ExitCode;

use clap::Parser;

/// Builds, runs and tests nodewall.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    Setup(setup::Args),
    Build(build::Args),
    Run(run::Args),
    Test(test::Args),
    Bench(bench::Args),
    Fuzz(fuzz::Args),
    Lint(lint::Args),
    Vm(vm::Args),
    Dist(dist::Args),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Setup(args) => setup::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Dist(args) => dist::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
