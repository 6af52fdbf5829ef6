//! Floods: each case against everybody who does its job, side by side, round
//! by round.

use std::{path::Path, slice, time::Duration};

use anyhow::Result;

use crate::{
    cases::{self, Case, Fate},
    contestant::{Contestant, Who},
    report::{Entry, Figure, Flood, Report},
};
use bench::flood::Instruments;

/// How it is measured.
#[derive(Clone, Copy)]
pub struct Floods<'a> {
    /// Rounds.
    pub rounds: u32,
    /// How long each flood is, about.
    pub length: Duration,
    /// Whether others are measured too.
    pub peers: bool,
    /// Another object than the embedded one.
    pub object: Option<&'a [u8]>,
    /// Only cases whose name holds this.
    pub only: Option<&'a str>,
    /// Whether flows are counted.
    pub flow_log: bool,
    /// A directory of this run's own.
    pub scratch: &'a Path,
}

impl Floods<'_> {
    /// Every case. What one machine does to one of them, noise included, it
    /// does to all, because each round has all of them.
    pub fn measure(&self, report: &mut Report) -> Result<()> {
        let mut instruments = Instruments::load()?;
        let wanted = |case: &Case| self.only.is_none_or(|text| case.name.contains(text));
        for case in cases::all().into_iter().filter(wanted) {
            instruments.set_sources(&case.sources)?;
            self.case(&case, &mut instruments, report)?;
        }
        Ok(())
    }

    fn case(&self, case: &Case, instruments: &mut Instruments, report: &mut Report) -> Result<()> {
        let bare = match case.fate {
            Fate::Drops => Who::Bare("bare_drop"),
            Fate::Passes => Who::Bare("bare_pass"),
        };
        let peers = case.peers.iter().filter(|_| self.peers).map(Who::Peer);
        let mut field = Vec::new();
        for who in [bare, Who::Nodewall].into_iter().chain(peers) {
            match Contestant::new(who, case, 1, instruments, self) {
                Ok(contestant) => field.push((contestant, Vec::new())),
                // Without the ceiling there is nothing to hold the others against.
                Err(error) if field.is_empty() => return Err(error),
                Err(error) => report.leave_out(case, who.name(), &error),
            }
        }
        for _ in 0..self.rounds {
            // Who fails once, fails: what is left is of whole rounds.
            field.retain_mut(|(contestant, rates): &mut (Contestant, Vec<f64>)| {
                let rate = contestant.rate(slice::from_mut(instruments), self.length);
                rate.map(|rate| rates.push(rate))
                    .inspect_err(|error| report.leave_out(case, contestant.name, error))
                    .is_ok()
            });
        }
        let Some(ceiling) = field.first().map(|(_, rates)| rates.clone()) else { return Ok(()) };
        let mut entries = Vec::new();
        for (contestant, rates) in &mut field {
            let ratios = rates.iter().zip(&ceiling).map(|(rate, bare)| rate / bare).collect();
            entries.push(Entry {
                who: contestant.name.to_owned(),
                mpps: Figure::of(rates.clone()),
                ratio: Figure::of(ratios),
                nanoseconds: contestant.nanoseconds(instruments)?,
                goal: case.goal.filter(|_| contestant.is_nodewall()),
            });
        }
        report.add_flood(Flood {
            section: case.section.to_owned(),
            name: case.name.clone(),
            entries,
        });
        Ok(())
    }
}
