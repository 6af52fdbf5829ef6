//! `cargo xtask bench`: what the filter costs, as ratios to the bare programs
//! on the same processor in the same run.
#![forbid(unsafe_code)]

mod apply;
mod cases;
mod controller;
mod egress;
mod iperf;
mod memory;
mod rates;
mod report;
mod throughput;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;

/// Measures the filter side by side with the bare programs.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Args {
    /// Rounds; every row is the median of as many.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Frames in each flood.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(10_000..=100_000_000))]
    frames: u32,
    /// Also writes what was measured to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The `nodewall` binary whose start, memory and changes of policy are measured.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Sends through this object instead of the embedded one, to compare builds.
    #[arg(long)]
    object: Option<PathBuf>,
    /// Only the floods whose name holds this text.
    #[arg(long)]
    case: Option<String>,
    /// Leaves out what runs other programs (iperf3, xdp-filter) and the daemon.
    #[arg(long)]
    only_floods: bool,
    /// Counts flows, as for the flow log, meanwhile.
    #[arg(long)]
    flow_log: bool,
    /// Leaves out the floods.
    #[arg(long, conflicts_with = "only_floods")]
    no_floods: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let missing = sandbox::requirements();
    if !missing.is_empty() {
        for sentence in missing {
            eprintln!("{sentence}");
        }
        bail!("the benchmark makes network namespaces: run it as root");
    }
    let mut report = report::Report::new();
    let object = args.object.map(std::fs::read).transpose()?;
    let floods = rates::Floods {
        rounds: args.rounds,
        frames: args.frames,
        peers: !args.only_floods,
        object: object.as_deref(),
        only: args.case.as_deref(),
        flow_log: args.flow_log,
    };
    if !args.no_floods {
        floods.measure(&mut report)?;
    }
    if !args.only_floods {
        memory::measure(&mut report)?;
        throughput::measure(args.rounds, object.as_deref(), &mut report)?;
        egress::measure(args.rounds, object.as_deref(), &mut report)?;
        if let Some(binary) = &args.binary {
            controller::measure(args.rounds, binary, &mut report)?;
            apply::measure(args.rounds, binary, &mut report)?;
        }
    }
    report.print();
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    Ok(())
}
