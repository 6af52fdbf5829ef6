//! What `status` and `rules` tell.

use std::collections::HashMap;

use filter_common::{Scope, Verdict, tables::SourceKey};
use humantime::format_rfc3339_seconds;
use ipnet::IpNet;

use super::{Owner, apply::sha256, usage};
use crate::{
    control::{
        BanFileEntry, ConnectionsEntry, CounterEntry, EventsEntry, MonitoredEntry, PolicyEntry,
        RuleEntry, RuleMonitoredEntry, Rules, SourceReport, Sources, Status, TableEntry,
        TotalEntry,
    },
    daemon::DaemonError,
    dataplane::Fill,
    policy::read_file,
};

/// How full the tables are that must be read from end to end to tell.
#[derive(Debug)]
pub(super) struct Walked {
    pub slots: u64,
    pub fragments: (u32, u32),
    pub flows: [Fill; 4],
}

impl Owner {
    pub(super) fn status(&mut self) -> Result<Status, DaemonError> {
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
        let refused = totals.iter().filter(|entry| entry.verdict == Verdict::Drop.name());
        let refused = refused.map(|entry| entry.packets);
        let refused: u64 = refused.chain(monitored.iter().map(|entry| entry.packets)).sum();
        let (shown, lost) = self.drop_log.counts();
        let events = EventsEntry { shown, not_shown: refused.saturating_sub(shown), lost };
        let in_force = &self.in_force;
        Ok(Status {
            generation: self.generation,
            mode: in_force.loaded.policy.mode.to_string(),
            policy: self.policy_entry(),
            interfaces: self.guarded.list(),
            totals,
            monitored,
            tables: self.tables(&self.walk()?)?,
            sets: self.sets.entries(&in_force.loaded),
            ban_file: BanFileEntry {
                file: self.ban_file.path().display().to_string(),
                problem: self.ban_file.problem().map(str::to_owned),
                lost: self.ban_file.lost().map(str::to_owned),
            },
            contended: self.plane.contended()?,
            connections: self.connections()?,
            metrics: self.metrics.entry(),
            events,
            flow_log: self.flow_log.as_ref().and_then(|log| log.entry()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: format_rfc3339_seconds(self.started).to_string(),
            uptime: self.began.elapsed().as_secs(),
        })
    }

    /// The policy in force, and whether a reload would load it.
    pub(super) fn policy_entry(&self) -> PolicyEntry {
        let in_force = &self.in_force;
        let on_disk = read_file(&self.own_file).ok();
        PolicyEntry {
            file: in_force.file.display().to_string(),
            sha256: in_force.sha256.clone(),
            matches_disk: on_disk.is_some_and(|bytes| sha256(&bytes) == in_force.sha256),
            pending_until: self.pending_until(),
            instead: self.change.instead.clone(),
            own_file: self.own_file.display().to_string(),
        }
    }

    /// Counts the entries of tables that keep no count of their own.
    pub(super) fn walk(&self) -> Result<Walked, DaemonError> {
        Ok(Walked {
            slots: self.plane.slots_ref().entries()?,
            fragments: self.plane.fragments()?,
            flows: self.plane.flows(),
        })
    }

    pub(super) fn tables(&self, walked: &Walked) -> Result<Vec<TableEntry>, DaemonError> {
        let [(bans, bans_room), (wide, wide_room)] = self.plane.bans_ref().fill();
        let (sources, sources_room) = self.plane.sources()?;
        let (fragments, fragments_room) = walked.fragments;
        let rules = &self.rule_numbers;
        let table = |name: &str, entries: u64, capacity: u32| TableEntry {
            name: name.to_owned(),
            entries,
            capacity: capacity.into(),
            full: None,
        };
        let mut tables = vec![
            table("bans", bans.into(), bans_room),
            table("ban_prefixes", wide.into(), wide_room),
            TableEntry {
                full: Some(self.plane.evicted()?),
                ..table("sources", sources, sources_room)
            },
            TableEntry {
                full: Some(self.plane.fragments_full()?),
                ..table("fragments", fragments.into(), fragments_room)
            },
            TableEntry {
                full: Some(self.plane.slots_ref().full()?),
                ..table("slots", walked.slots, self.plane.slots_ref().capacity())
            },
            table("rules", rules.count().into(), rules.capacity()),
        ];
        let flows = walked.flows.iter();
        tables.extend(flows.map(|fill| table(fill.name, fill.entries, fill.capacity)));
        Ok(tables)
    }

    fn connections(&self) -> Result<ConnectionsEntry, DaemonError> {
        let slots = self.plane.slots_ref();
        let held = slots.held()?;
        let total = |key: &&SourceKey| key.scope == Scope::Total as u32;
        Ok(ConnectionsEntry {
            held: held.keys().filter(total).map(|key| held[key]).sum(),
            counted_by: if slots.is_attached() { "kernel" } else { "sweeps" }.to_owned(),
            surplus: slots.surplus()?,
            destroyed: self.recount.destroyed,
            idle: self.recount.idle,
            drift: self.recount.drift,
        })
    }

    /// Who is here: those that hold the most connections first, then those that
    /// were refused the most.
    pub(super) fn sources(&self, top: Option<u32>) -> Result<Sources, DaemonError> {
        let names: HashMap<u32, &str> =
            self.rule_numbers.iter().map(|(name, number)| (number, name)).collect();
        let prefixes = self.in_force.loaded.policy.prefixes;
        let rules = &self.in_force.loaded.policy.rules;
        let mut sources: Vec<SourceReport> = self
            .usage()?
            .into_iter()
            .filter(|(key, _)| key.scope == Scope::PerSource as u32)
            .filter_map(|(SourceKey { rule, source, .. }, owed)| {
                let length =
                    if source.is_ipv4() { prefixes.source_ipv4 } else { prefixes.source_ipv6 };
                let prefix = IpNet::new(source.into(), length).ok()?;
                let name = *names.get(&rule)?;
                let limits = rules.iter().find(|rule| rule.name == name).map(|rule| {
                    let scope = Scope::PerSource;
                    usage::entries(scope, usage::used(rule.limits(scope), &owed))
                });
                Some(SourceReport {
                    source: prefix.trunc(),
                    rule: name.to_owned(),
                    connections: owed.connections,
                    refused: owed.rates.refused,
                    limits: limits.unwrap_or_default(),
                })
            })
            .collect();
        sources.sort_by(|a, b| {
            let order = |s: &SourceReport| std::cmp::Reverse((s.connections, s.refused));
            order(a).cmp(&order(b)).then_with(|| (a.source, &a.rule).cmp(&(b.source, &b.rule)))
        });
        sources.truncate(top.map_or(usize::MAX, |top| top as usize));
        Ok(Sources { sources })
    }

    pub(super) fn rules(&self) -> Result<Rules, DaemonError> {
        let mut rules = Vec::new();
        let usage = self.usage()?;
        let mut nearest = self.nearest(&usage);
        let connections = |rule: Option<u32>| {
            rule.and_then(|rule| usage.get(&usage::total_key(rule)))
                .map_or(0, |all| all.connections)
        };
        for rule in &self.in_force.loaded.policy.rules {
            let (mut counters, mut monitored) = (Vec::new(), Vec::new());
            let number = self.rule_numbers.get(&rule.name);
            let found = match number {
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
                connections: Some(connections(number)),
                counters,
                monitored,
                limits: number.and_then(|number| nearest.remove(&number)).unwrap_or_default(),
            });
        }
        Ok(Rules { rules })
    }
}
