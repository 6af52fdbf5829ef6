//! `cargo xtask fuzz`: libFuzzer on the readers of what comes from outside.
//!
//! The flags are those of cargo-fuzz, which would bring no more than they: the
//! stable compiler takes them, and nothing has to be installed but a compiler
//! for C++, in which libFuzzer is written.

mod build;
mod report;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::outer::workspace;
use crate::setup;
use build::Fuzzer;
use report::Report;

/// Below the workspace: inputs of each target that are kept, small and few.
const CORPUS: &str = "fuzz/corpus";
/// Likewise: inputs that were findings once.
const REGRESSIONS: &str = "fuzz/regressions";
/// Likewise: what a run makes.
const RUNS: &str = "target/fuzzing";

/// Seconds.
const BRIEFLY: u32 = 5;
/// More than it takes, and less than would hurt.
const MEMORY_MB: u32 = 2048;
/// Seconds for one input. They take microseconds; the machine may be busy.
const PATIENCE: u32 = 30;

/// Runs the fuzzers, each on a processor of its own, and fails with a finding.
///
/// They begin with the inputs of fuzz/corpus, of fuzz/regressions, and of earlier runs (target/fuzzing). A finding is
/// in target/fuzzing/found: put it into fuzz/regressions/TARGET, where `cargo test --package fuzz` calls the target with
/// it from then on, and mend what it found.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask fuzz                            each target for a minute
  cargo xtask fuzz verdict --seconds 3600     one for an hour
  cargo xtask fuzz --planted                  each must find the bug that is planted in its way
  cargo xtask fuzz --seconds 0 --keep         puts what earlier runs have found worth keeping into fuzz/corpus")]
pub struct Args {
    /// Targets [default: all].
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// For how long each of them runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Plant a bug in the way of each; fail where it is not found.
    #[arg(long)]
    planted: bool,
    /// At the end make fuzz/corpus anew: the fewest inputs that reach all that these runs have reached.
    #[arg(long, conflicts_with = "planted")]
    keep: bool,
}

/// All of them, for so long that a test run can wait for it.
pub fn briefly() -> Result<()> {
    run(&Args { targets: Vec::new(), seconds: BRIEFLY, planted: false, keep: false })
}

/// Builds them, runs them, and prints a line for each.
pub fn run(args: &Args) -> Result<()> {
    let toolchain = setup::ensure()?;
    let fuzzers = build::fuzzers(&toolchain, &args.targets, args.planted)?;
    let runs = workspace().join(RUNS);
    let reports = in_parallel(&fuzzers, |fuzzer| fuzz(fuzzer, &runs, args));
    let mut failed = Vec::new();
    println!("\ncargo xtask fuzz:");
    for (fuzzer, report) in fuzzers.iter().zip(reports) {
        let report = report?;
        println!("  {:<8} {report}", fuzzer.name);
        if report.finding.is_some() != args.planted {
            failed.push(fuzzer.name.as_str());
        }
    }
    match (failed.is_empty(), args.planted) {
        (true, _) => {}
        (false, true) => bail!("the planted bug was not found: {}", failed.join(", ")),
        (false, false) => bail!("something was found: {}", failed.join(", ")),
    }
    if args.keep {
        for fuzzer in &fuzzers {
            keep(fuzzer, &runs)?;
        }
    }
    Ok(())
}

/// Each at a time on as many processors as there are.
fn in_parallel<T: Send>(
    fuzzers: &[Fuzzer],
    each: impl Fn(&Fuzzer) -> Result<T> + Sync,
) -> Vec<Result<T>> {
    let next = Mutex::new(fuzzers.iter().enumerate());
    let done = Mutex::new(Vec::new());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..processors.min(fuzzers.len()) {
            scope.spawn(|| {
                loop {
                    let Some((index, fuzzer)) = next.lock().ok().and_then(|mut next| next.next())
                    else {
                        return;
                    };
                    let result = each(fuzzer);
                    if let Ok(mut done) = done.lock() {
                        done.push((index, result));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Runs one, and reads what it says.
fn fuzz(fuzzer: &Fuzzer, runs: &Path, args: &Args) -> Result<Report> {
    let kind = if args.planted { "planted" } else { "corpus" };
    let grown = runs.join(kind).join(&fuzzer.name);
    if args.planted && grown.exists() {
        fs::remove_dir_all(&grown).with_context(|| format!("cannot clear {}", grown.display()))?;
    }
    let found = runs.join(if args.planted { "planted-found" } else { "found" });
    for dir in [&grown, &found] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let log = runs.join(format!("{}-{kind}.log", fuzzer.name));
    let output = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
    let mut command = libfuzzer(fuzzer);
    match args.seconds {
        // Only what there is.
        0 => command.arg("-runs=0"),
        seconds => command.arg(format!("-max_total_time={seconds}")),
    };
    command
        .arg(format!("-artifact_prefix={}/{}-", found.display(), fuzzer.name))
        .args(["-print_final_stats=1", "-reload=0"])
        .arg(&grown)
        .args(kept(fuzzer))
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("cannot share the log")?)
        .stderr(output);
    eprintln!("fuzz: {} for {} s; see {}", fuzzer.name, args.seconds, log.display());
    let status = command.status().with_context(|| format!("cannot start {}", fuzzer.name))?;
    let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let report = Report::read(&String::from_utf8_lossy(&text));
    if report.finding.is_none() && !status.success() {
        bail!("the fuzzer {} failed ({status}): see {}", fuzzer.name, log.display());
    }
    Ok(report)
}

/// What the tree keeps for it.
fn kept(fuzzer: &Fuzzer) -> Vec<PathBuf> {
    let dirs = [CORPUS, REGRESSIONS].map(|dir| workspace().join(dir).join(&fuzzer.name));
    dirs.into_iter().filter(|dir| dir.is_dir()).collect()
}

fn libfuzzer(fuzzer: &Fuzzer) -> Command {
    let mut command = Command::new(&fuzzer.program);
    command
        .arg(format!("-rss_limit_mb={MEMORY_MB}"))
        .arg(format!("-timeout={PATIENCE}"))
        // Slower ones are findings, and no others.
        .arg(format!("-report_slow_units={PATIENCE}"))
        .env("RUST_BACKTRACE", "1");
    command
}

/// Makes the corpus anew of it and of what earlier runs have found.
fn keep(fuzzer: &Fuzzer, runs: &Path) -> Result<()> {
    let new = runs.join("kept").join(&fuzzer.name);
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("cannot clear {}", new.display()))?;
    }
    fs::create_dir_all(&new).with_context(|| format!("cannot make {}", new.display()))?;
    let old = workspace().join(CORPUS).join(&fuzzer.name);
    let status = libfuzzer(fuzzer)
        // By what is reached, not how often: so they stay few.
        .args(["-set_cover_merge=1", "-use_counters=0"])
        .args([&new, &old, &runs.join("corpus").join(&fuzzer.name)])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", fuzzer.name))?;
    if !status.success() {
        bail!("libFuzzer could not make the corpus of {} smaller ({status})", fuzzer.name);
    }
    fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    fs::create_dir_all(&old).with_context(|| format!("cannot make {}", old.display()))?;
    let mut count = 0;
    for input in fs::read_dir(&new).with_context(|| format!("cannot read {}", new.display()))? {
        let input = input.with_context(|| format!("cannot read {}", new.display()))?;
        fs::copy(input.path(), old.join(input.file_name()))
            .with_context(|| format!("cannot write to {}", old.display()))?;
        count += 1;
    }
    eprintln!("fuzz: {} inputs are kept in {}", count, old.display());
    Ok(())
}
