//! What `status` and `rules` tell.

use humantime::format_rfc3339_seconds;

use super::{Owner, apply::sha256};
use crate::{
    control::{
        CounterEntry, MonitoredEntry, PolicyEntry, RuleEntry, RuleMonitoredEntry, Rules, Status,
        TableEntry, TotalEntry,
    },
    daemon::DaemonError,
    policy::read_file,
};

impl Owner {
    pub(super) fn status(&mut self) -> Result<Status, DaemonError> {
        self.plane.bans().expire()?;
        let (mut totals, mut monitored) = (Vec::new(), Vec::new());
        let mut names: Vec<(&str, u32)> = self.interface_numbers.iter().collect();
        names.sort_unstable();
        for (name, number) in names {
            for found in self.plane.interface_counters(number)? {
                let (interface, reason) = (name.to_owned(), found.reason.name().to_owned());
                let (packets, bytes) = (found.counter.packets, found.counter.bytes);
                if found.monitored {
                    monitored.push(MonitoredEntry { interface, reason, packets, bytes });
                } else {
                    let verdict = found.reason.verdict().name().to_owned();
                    totals.push(TotalEntry { interface, verdict, reason, packets, bytes });
                }
            }
        }
        let in_force = &self.in_force;
        let on_disk = read_file(&self.own_file).ok();
        Ok(Status {
            generation: self.generation,
            mode: in_force.loaded.policy.mode.to_string(),
            policy: PolicyEntry {
                file: in_force.file.display().to_string(),
                sha256: in_force.sha256.clone(),
                matches_disk: on_disk.is_some_and(|bytes| sha256(&bytes) == in_force.sha256),
                pending_until: None,
                own_file: self.own_file.display().to_string(),
            },
            interfaces: self.guarded.list(),
            totals,
            monitored,
            tables: self.tables(),
            sets: self.sets.entries(&in_force.loaded),
            contended: self.plane.contended()?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: format_rfc3339_seconds(self.started).to_string(),
            uptime: self.began.elapsed().as_secs(),
        })
    }

    fn tables(&self) -> Vec<TableEntry> {
        let [(bans, bans_room), (wide, wide_room)] = self.plane.bans_ref().fill();
        let (sources, sources_room) = self.plane.sources();
        let rules = &self.rule_numbers;
        let table = |name: &str, entries: u64, capacity: u32| TableEntry {
            name: name.to_owned(),
            entries,
            capacity: capacity.into(),
        };
        vec![
            table("bans", bans.into(), bans_room),
            table("ban_prefixes", wide.into(), wide_room),
            table("sources", sources as u64, sources_room),
            table("rules", rules.count().into(), rules.capacity()),
        ]
    }

    pub(super) fn rules(&self) -> Result<Rules, DaemonError> {
        let mut rules = Vec::new();
        for rule in &self.in_force.loaded.policy.rules {
            let (mut counters, mut monitored) = (Vec::new(), Vec::new());
            let found = match self.rule_numbers.get(&rule.name) {
                Some(number) => self.plane.rule_counters(number)?,
                None => Vec::new(),
            };
            for found in found {
                let reason = found.reason.name().to_owned();
                let scope = found.scope.map(|scope| scope.name().to_owned());
                let (packets, bytes) = (found.counter.packets, found.counter.bytes);
                if found.monitored {
                    monitored.push(RuleMonitoredEntry { reason, scope, packets, bytes });
                } else {
                    let verdict = found.reason.verdict().name().to_owned();
                    counters.push(CounterEntry { verdict, reason, scope, packets, bytes });
                }
            }
            let name = rule.name.clone();
            rules.push(RuleEntry {
                name,
                mode: rule.mode.to_string(),
                connections: None,
                counters,
                monitored,
            });
        }
        Ok(Rules { rules })
    }
}
