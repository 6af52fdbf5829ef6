//! Two processors at once, each with a generator and a link of its own. Two
//! processors of a virtual machine may be two threads of one core, so the bare
//! drop is measured likewise: what the filter itself loses is the ratio of both.

use std::thread;

use anyhow::Result;

use crate::{
    cases::{self, Case},
    contest::Floods,
    contestant::{Contestant, Who},
    report::{Figure, Report, Scaled},
};
use bench::flood::Instruments;

/// Cases that share nothing, and those whose sources share their tables.
const CASES: [&str; 4] = [
    "SYN to a closed port, 64k sources",
    "banned, sources drawn from 10,000 bans",
    "SYN from one source over its limit",
    "SYN from 64k sources over their limits",
];

/// One processor, then both, round by round.
pub fn measure(floods: &Floods<'_>, report: &mut Report) -> Result<()> {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        report.leave_out_all("two processors at once", "this machine has one");
        return Ok(());
    }
    let mut instruments = [Instruments::load()?, Instruments::load()?];
    for case in cases::all().into_iter().filter(|case| CASES.contains(&case.name.as_str())) {
        if let Err(error) = scale(&case, &mut instruments, floods, report) {
            report.leave_out(&case, "two processors at once", &error);
        }
    }
    Ok(())
}

fn scale(
    case: &Case,
    instruments: &mut [Instruments],
    floods: &Floods<'_>,
    report: &mut Report,
) -> Result<()> {
    for generator in &mut *instruments {
        generator.set_sources(&case.sources)?;
    }
    let mut field = Vec::new();
    for who in [Who::Bare("bare_drop"), Who::Nodewall] {
        let contestant = Contestant::new(who, case, 2, &mut instruments[0], floods)?;
        field.push((contestant, [Vec::new(), Vec::new()]));
    }
    for _ in 0..floods.rounds {
        for (contestant, [one, two]) in &mut field {
            one.push(contestant.rate(&mut instruments[..1], floods.length)?);
            two.push(contestant.rate(instruments, floods.length)?);
        }
    }
    for (contestant, [one, two]) in field {
        let times = two.iter().zip(&one).map(|(two, one)| two / one).collect();
        report.add_scaled(Scaled {
            name: case.name.clone(),
            who: contestant.name.to_owned(),
            one: Figure::of(one),
            two: Figure::of(two),
            times: Figure::of(times),
        });
    }
    Ok(())
}
