//! A report in the text format of Prometheus.

use std::{collections::BTreeMap, time::UNIX_EPOCH};

use filter_common::Reason;
use prometheus::{
    Encoder as _, Error, TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use super::{
    Report,
    family::{self, Family, Kind},
    report,
};
use crate::dataplane::AttachMode;

/// The report as text. A metric of which there is nothing to tell is left out.
///
/// # Errors
///
/// Never, but for the encoder's own checks.
pub fn encode(report: &Report) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let told = [
        about_the_policy(report),
        about_interfaces(report),
        about_rules(&report.rules),
        about_connections(report),
        about_tables(report),
        about_sets(report),
    ];
    let mut told: Vec<Samples> = told.into_iter().flatten().collect();
    told.push(Samples::one(family::EVENTS_LOST, report.events_lost));
    let told: Vec<MetricFamily> = told
        .into_iter()
        .filter(|samples| !samples.metrics.is_empty())
        .map(MetricFamily::from)
        .collect();
    TextEncoder.encode(&told, &mut text)?;
    Ok(text)
}

/// The samples of one metric.
struct Samples {
    family: Family,
    metrics: Vec<Metric>,
}

impl Samples {
    const fn new(family: Family) -> Self {
        Self { family, metrics: Vec::new() }
    }

    /// Of a metric without labels.
    fn one(family: Family, value: u64) -> Self {
        let mut samples = Self::new(family);
        samples.push(&[], value);
        samples
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    fn push(&mut self, labels: &[&str], value: u64) {
        self.push_exact(labels, value as f64);
    }

    fn push_exact(&mut self, labels: &[&str], value: f64) {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{}", self.family.name);
        let labels = self.family.labels.iter().zip(labels).map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        });
        let mut metric = Metric::from_label(labels.collect());
        match self.family.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.metrics.push(metric);
    }
}

impl From<Samples> for MetricFamily {
    fn from(Samples { family, metrics }: Samples) -> Self {
        let mut told = Self::default();
        told.set_name(family.name.to_owned());
        told.set_help(family.help.to_owned());
        told.set_field_type(match family.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        });
        told.set_metric(metrics);
        told
    }
}

fn about_the_policy(report: &Report) -> Vec<Samples> {
    let mut build = Samples::new(family::BUILD_INFO);
    build.push(&[report.version], 1);
    let mut started = Samples::new(family::START_TIME);
    let since = report.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    started.push_exact(&[], since.as_secs_f64());
    vec![
        build,
        started,
        Samples::one(family::GENERATION, report.generation),
        Samples::one(family::MONITOR_MODE, report.monitor.into()),
        Samples::one(family::MATCHES_DISK, report.matches_disk.into()),
        Samples::one(family::PENDING, report.pending.into()),
    ]
}

fn about_interfaces(report: &Report) -> Vec<Samples> {
    let mut attached = Samples::new(family::ATTACHED);
    let mut fallback = Samples::new(family::FALLBACK);
    for entry in &report.interfaces {
        for mode in [AttachMode::Native, AttachMode::Generic].map(AttachMode::name) {
            let runs = entry.attach.as_deref() == Some(mode);
            attached.push(&[&entry.name, mode], runs.into());
        }
        let generic = entry.attach.as_deref() == Some(AttachMode::Generic.name());
        fallback.push(&[&entry.name], (generic && entry.why.is_some()).into());
    }
    let mut packets = Samples::new(family::PACKETS);
    let mut bytes = Samples::new(family::BYTES);
    let mut monitored: BTreeMap<Reason, u64> = BTreeMap::new();
    for (interface, counters) in &report.counters {
        for found in counters {
            if found.monitored {
                *monitored.entry(found.reason).or_default() += found.counter.packets;
                continue;
            }
            let labels = [interface, found.reason.verdict().name(), found.reason.name()];
            packets.push(&labels, found.counter.packets);
            bytes.push(&labels, found.counter.bytes);
        }
    }
    let mut shadowed = Samples::new(family::MONITORED);
    for (reason, count) in monitored {
        shadowed.push(&[reason.name()], count);
    }
    vec![attached, fallback, packets, bytes, shadowed]
}

fn about_rules(rules: &[report::Rule]) -> Vec<Samples> {
    let mut packets = Samples::new(family::RULE_PACKETS);
    let mut monitored = Samples::new(family::RULE_MONITORED);
    let mut connections = Samples::new(family::RULE_CONNECTIONS);
    for rule in rules {
        connections.push(&[&rule.name], rule.connections);
        for found in &rule.counters {
            let (reason, scope) = (found.reason, found.scope.map_or("", |scope| scope.name()));
            if found.monitored {
                monitored.push(&[&rule.name, reason.name(), scope], found.counter.packets);
            } else {
                let labels = [&rule.name, reason.verdict().name(), reason.name(), scope];
                packets.push(&labels, found.counter.packets);
            }
        }
    }
    vec![packets, monitored, connections]
}

fn about_connections(report: &Report) -> Vec<Samples> {
    let connections = &report.connections;
    vec![
        Samples::one(family::CONNECTIONS_SURPLUS, connections.surplus),
        Samples::one(family::CONNECTIONS_DESTROYED, connections.destroyed),
        Samples::one(family::CONNECTIONS_IDLE, connections.idle),
        Samples::one(family::CONNECTIONS_CORRECTED, connections.drift),
        Samples::one(family::CONTENDED, report.contended),
    ]
}

fn about_tables(report: &Report) -> Vec<Samples> {
    let mut entries = Samples::new(family::TABLE_ENTRIES);
    let mut capacity = Samples::new(family::TABLE_CAPACITY);
    let mut lost = Samples::new(family::TABLE_LOST);
    for table in &report.tables {
        entries.push(&[&table.name], table.entries);
        capacity.push(&[&table.name], table.capacity);
        if let Some(full) = table.full {
            lost.push(&[&table.name], full);
        }
    }
    vec![
        Samples::one(family::BANS, report.bans),
        Samples::one(family::BANS_SAVED, report.bans_saved.into()),
        entries,
        capacity,
        lost,
    ]
}

fn about_sets(report: &Report) -> Vec<Samples> {
    let mut errors = Samples::new(family::SET_READ_ERRORS);
    let mut in_force = Samples::new(family::SET_IN_FORCE);
    for set in &report.sets {
        errors.push(&[&set.name], set.read_errors);
        in_force.push(&[&set.name], set.in_force.into());
    }
    vec![errors, in_force]
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
        time::{Duration, UNIX_EPOCH},
    };

    use filter_common::{Scope, tables::Counter};

    use super::*;
    use crate::{
        control::{InterfaceEntry, TableEntry},
        dataplane::{InterfaceCounter, RuleCounter},
        telemetry::metrics::{Connections, families},
    };

    const COUNTED: Counter = Counter { packets: 3, bytes: 180 };

    /// One of everything.
    fn report() -> Report {
        let interface = |name: &str, attach: Option<&str>, why: Option<&str>| InterfaceEntry {
            name: name.to_owned(),
            attach: attach.map(str::to_owned),
            why: why.map(str::to_owned),
        };
        let seen = |reason, monitored| InterfaceCounter { reason, monitored, counter: COUNTED };
        let refused = RuleCounter {
            reason: Reason::PacketRate,
            scope: Some(Scope::PerSource),
            monitored: false,
            counter: COUNTED,
        };
        Report {
            version: "0.1.0",
            started: UNIX_EPOCH + Duration::from_millis(1_500),
            generation: 7,
            monitor: false,
            matches_disk: true,
            pending: false,
            interfaces: vec![
                interface("eth0", Some("native"), None),
                interface("eth1", Some("generic"), Some("the driver has no native XDP")),
                interface("wg0", None, Some("gone")),
            ],
            counters: vec![(
                "eth0".to_owned(),
                vec![seen(Reason::PortClosed, false), seen(Reason::PortClosed, true)],
            )],
            rules: vec![report::Rule {
                name: "p2p".to_owned(),
                connections: 5,
                counters: vec![
                    RuleCounter { reason: Reason::Rule, scope: None, ..refused },
                    refused,
                    RuleCounter { monitored: true, ..refused },
                ],
            }],
            sets: vec![report::Set { name: "peers".to_owned(), in_force: false, read_errors: 2 }],
            bans: 4,
            bans_saved: true,
            tables: vec![TableEntry {
                name: "sources".to_owned(),
                entries: 1,
                capacity: 262_144,
                full: Some(9),
            }],
            connections: Connections { surplus: 1, destroyed: 2, idle: 3, drift: 4 },
            contended: 6,
            events_lost: 8,
        }
    }

    fn text(report: &Report) -> String {
        match encode(report) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn each_sample_has_the_name_and_labels_of_the_contract() {
        let text = text(&report());
        for line in [
            "nodewall_build_info{version=\"0.1.0\"} 1",
            "nodewall_start_time_seconds 1.5",
            "nodewall_generation 7",
            "nodewall_policy_matches_disk 1",
            "nodewall_attached{interface=\"eth0\",mode=\"native\"} 1",
            "nodewall_attached{interface=\"eth0\",mode=\"generic\"} 0",
            "nodewall_attached{interface=\"wg0\",mode=\"native\"} 0",
            "nodewall_attached{interface=\"wg0\",mode=\"generic\"} 0",
            "nodewall_attach_fallback{interface=\"eth0\"} 0",
            "nodewall_attach_fallback{interface=\"eth1\"} 1",
            "nodewall_packets_total{interface=\"eth0\",verdict=\"drop\",reason=\"port_closed\"} 3",
            "nodewall_bytes_total{interface=\"eth0\",verdict=\"drop\",reason=\"port_closed\"} 180",
            "nodewall_monitored_packets_total{reason=\"port_closed\"} 3",
            "nodewall_rule_packets_total{rule=\"p2p\",verdict=\"pass\",reason=\"rule\",scope=\"\"} 3",
            "nodewall_rule_packets_total{rule=\"p2p\",verdict=\"drop\",reason=\"packet_rate\",scope=\"per_source\"} 3",
            "nodewall_rule_monitored_packets_total{rule=\"p2p\",reason=\"packet_rate\",scope=\"per_source\"} 3",
            "nodewall_rule_connections{rule=\"p2p\"} 5",
            "nodewall_connections_corrected_total 4",
            "nodewall_bans 4",
            "nodewall_bans_saved 1",
            "nodewall_table_entries{table=\"sources\"} 1",
            "nodewall_table_capacity{table=\"sources\"} 262144",
            "nodewall_table_lost_total{table=\"sources\"} 9",
            "nodewall_set_read_errors_total{set=\"peers\"} 2",
            "nodewall_set_in_force{set=\"peers\"} 0",
            "nodewall_events_lost_total 8",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
    }

    #[test]
    fn each_metric_is_told_with_its_help_and_type() {
        let text = text(&report());
        let told: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let names: Vec<String> = families()
            .iter()
            .map(|family| {
                format!("{} {}", family.name, format!("{:?}", family.kind).to_lowercase())
            })
            .collect();
        let mut sorted = (told.clone(), names.clone());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        assert_eq!(sorted.0, sorted.1);
        for family in families() {
            let help = format!("# HELP {} {}\n", family.name, family.help);
            assert!(text.contains(&help), "{help}{text}");
        }
    }

    #[test]
    fn what_is_not_there_has_no_samples() {
        let text = text(&Report { sets: Vec::new(), rules: Vec::new(), ..report() });
        assert!(!text.contains("nodewall_set_"), "{text}");
        assert!(!text.contains("nodewall_rule_"), "{text}");
    }

    #[test]
    fn labels_are_escaped() {
        let mut report = report();
        report.interfaces[0].name = "a\"b\\c\nd".to_owned();
        let text = text(&report);
        let line = "nodewall_attached{interface=\"a\\\"b\\\\c\\nd\",mode=\"native\"} 1";
        assert!(text.lines().any(|found| found == line), "{text}");
    }

    #[test]
    fn promtool_has_nothing_to_object() -> std::io::Result<()> {
        let Some(promtool) = crate::telemetry::promtool() else {
            println!("skipped: there is no promtool (cargo xtask setup --all)");
            return Ok(());
        };
        let mut child = Command::new(promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text(&report()).as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success() && said.is_empty(), "{said}");
        Ok(())
    }
}
