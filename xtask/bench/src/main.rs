//! `cargo xtask bench`: what the filter costs, beside the bare programs and
//! beside others that do the same job, on the same processor in the same run.
#![forbid(unsafe_code)]

mod apply;
mod bans;
mod cases;
mod contest;
mod contestant;
mod controller;
mod egress;
mod iperf;
mod memory;
mod peers;
mod processor;
mod report;
mod scale;
mod steps;
mod throughput;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Parser;

use report::Report;

/// Measures the filter side by side with the bare programs and with xdp-filter, nftables and iptables.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", after_help = EXAMPLES)]
struct Args {
    /// A short run with one round of short floods: shows that all works, its figures say little.
    #[arg(long)]
    quick: bool,
    /// Rounds; every row is the median of as many.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50), default_value_if("quick", "true", "1"), default_value_t = 7)]
    rounds: u32,
    /// How long each flood is, in milliseconds.
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=10_000), default_value_if("quick", "true", "50"), default_value_t = 200)]
    length: u64,
    /// Writes all figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the chart of the floods to this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Puts the tables into docs/BENCH.md and README.md, and writes docs/bench.json and docs/bench.svg.
    #[arg(long)]
    write: bool,
    /// Measures nothing, and shows what a run wrote with `--json`.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Only the floods whose name holds this text.
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Only these parts, with commas between them.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Leaves out all filters but nodewall.
    #[arg(long)]
    no_peers: bool,
    /// Counts flows, as for the flow log, meanwhile.
    #[arg(long)]
    flow_log: bool,
    /// The `nodewall` binary whose start, memory and changes of policy are measured.
    #[arg(long, hide = true)]
    binary: Option<PathBuf>,
    /// Sends through this object instead of the embedded one, to compare builds.
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,
    /// Where the objects are that leave steps out.
    #[arg(long, hide = true)]
    steps: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  cargo xtask bench --quick                             all of it, shortly
  cargo xtask bench --write                             the run of docs/BENCH.md
  cargo xtask bench --case bans --json bans.json        some floods
  cargo xtask bench --only steps                        what each step of the program costs
  cargo xtask bench --from docs/bench.json --write      the document anew, from its figures";

/// A part of the run.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The floods, with all who meet them.
    Floods,
    /// Two processors at once.
    Scale,
    /// The closed port, step by step.
    Steps,
    /// TCP through the filter (iperf3).
    Throughput,
    /// Start, changes of policy, bans, memory.
    Controller,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let report = match &args.from {
        Some(path) => Report::read(path)?,
        None => measure(&args)?,
    };
    report.print();
    if let Some(path) = &args.json {
        report.write_json(path)?;
    }
    if let Some(path) = &args.svg {
        report.write_chart(path)?;
    }
    if args.write {
        // `cargo xtask bench` runs it at the root of the workspace.
        report.write_json("docs/bench.json".as_ref())?;
        report.write_chart("docs/bench.svg".as_ref())?;
        report.write_document("docs/BENCH.md".as_ref())?;
        report.write_document("README.md".as_ref())?;
    }
    Ok(())
}

fn measure(args: &Args) -> Result<Report> {
    let missing = sandbox::requirements();
    if !missing.is_empty() {
        for sentence in missing {
            eprintln!("{sentence}");
        }
        bail!("the benchmark makes network namespaces: run it as root");
    }
    let length = Duration::from_millis(args.length);
    let scratch = tempfile::tempdir()?;
    let object = args.object.as_ref().map(std::fs::read).transpose()?;
    let object = object.as_deref();
    let floods = contest::Floods {
        rounds: args.rounds,
        length,
        peers: !args.no_peers,
        object,
        only: args.case.as_deref(),
        flow_log: args.flow_log,
        scratch: scratch.path(),
    };
    let mut report = Report::new(format!(
        "Medians of {} rounds in which everybody has a turn; each flood lasts {} ms.",
        args.rounds, args.length
    ));
    let is_wanted = |part| match &args.case {
        Some(_) => part == Part::Floods,
        None => args.only.is_empty() || args.only.contains(&part),
    };
    if is_wanted(Part::Floods) {
        floods.measure(&mut report)?;
    }
    if is_wanted(Part::Scale) {
        scale::measure(&floods, &mut report)?;
    }
    if let (true, Some(objects)) = (is_wanted(Part::Steps), &args.steps) {
        steps::measure(args.rounds, objects, &mut report)?;
    }
    if is_wanted(Part::Throughput) {
        throughput::measure(args.rounds, object, &mut report)?;
        egress::measure(args.rounds, object, &mut report)?;
    }
    if is_wanted(Part::Controller) {
        memory::measure(&mut report)?;
        if let Some(binary) = &args.binary {
            controller(args.rounds, binary, &mut report)?;
        }
    }
    Ok(report)
}

fn controller(rounds: u32, binary: &Path, report: &mut Report) -> Result<()> {
    controller::measure(rounds, binary, report)?;
    apply::measure(rounds, binary, report)?;
    bans::measure(rounds, binary, report)
}
