//! What a scrape of the metrics is told. It must cost little however large the
//! policy is, for the owner does nothing else meanwhile.

use std::time::{Duration, Instant};

use super::{Owner, report::Walked, usage::total_key};
use crate::{
    daemon::DaemonError,
    policy::Mode,
    telemetry::metrics::{Connections, Report, Rule},
};

/// After a walk through the tables that took a while, so many such whiles pass
/// until the next one: a scrape in between is told what it found.
const REST: u32 = 50;

/// The last walk through the tables that keep no count of their own.
#[derive(Debug)]
pub(super) struct LastWalk {
    found: Walked,
    ended: Instant,
    took: Duration,
}

impl Owner {
    /// Listens where the policy in force says.
    pub(super) fn follow_metrics(&mut self) {
        self.metrics.listen(self.in_force.loaded.policy.metrics);
    }

    pub(super) fn metrics_report(&mut self) -> Result<Report, DaemonError> {
        let last_walk = self.walk_now_and_then()?;
        let tables = self.tables(&last_walk.found)?;
        self.last_walk = Some(last_walk);
        let mut numbers: Vec<(&str, u32)> = self.interface_numbers.iter().collect();
        numbers.sort_unstable();
        let counters = numbers
            .into_iter()
            .map(|(name, number)| Ok((name.to_owned(), self.plane.all_interface_counters(number)?)))
            .collect::<Result<_, DaemonError>>()?;
        let policy = &self.in_force.loaded.policy;
        let rules = policy.rules.iter().filter_map(|rule| {
            let number = self.rule_numbers.get(&rule.name)?;
            Some(self.rule_metrics(&rule.name, number))
        });
        let rules = rules.collect::<Result<_, _>>()?;
        let monitor = policy.mode == Mode::Monitor;
        let banned = self.plane.bans_ref().fill().map(|(bans, _)| u64::from(bans));
        let entry = self.policy_entry();
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            generation: self.generation,
            monitor,
            matches_disk: entry.matches_disk,
            pending: entry.pending_until.is_some(),
            interfaces: self.guarded.list(),
            counters,
            rules,
            sets: self.sets.metrics(&self.in_force.loaded),
            bans: banned.into_iter().sum(),
            bans_saved: self.ban_file.problem().is_none(),
            tables,
            connections: Connections {
                surplus: self.plane.slots_ref().surplus()?,
                destroyed: self.recount.destroyed,
                idle: self.recount.idle,
                drift: self.recount.drift,
            },
            contended: self.plane.contended()?,
            events_lost: self.drop_log.counts().1,
        })
    }

    fn rule_metrics(&self, name: &str, number: u32) -> Result<Rule, DaemonError> {
        Ok(Rule {
            name: name.to_owned(),
            connections: self.plane.slots_ref().held_under(&total_key(number))?,
            counters: self.plane.all_rule_counters(number)?,
        })
    }

    fn walk_now_and_then(&mut self) -> Result<LastWalk, DaemonError> {
        match self.last_walk.take() {
            Some(last) if last.ended.elapsed() < last.took * REST => Ok(last),
            _ => {
                let began = Instant::now();
                let found = self.walk()?;
                Ok(LastWalk { found, ended: Instant::now(), took: began.elapsed() })
            }
        }
    }
}
