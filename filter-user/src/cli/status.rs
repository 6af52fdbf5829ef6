//! `status`.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use super::{
    args,
    error::CliError,
    output::{Output, or_dash},
};
use crate::{
    control::{
        Client, ClientError, Command, ConnectionsEntry, EventsEntry, FlowLogEntry, InterfaceEntry,
        Status, TableEntry,
    },
    daemon,
};

pub(super) fn status(socket: &Path, args: &args::Status, out: &mut Output) -> Result<(), CliError> {
    let mut client = match Client::connect(socket) {
        Err(error @ ClientError::NotRunning(_)) => {
            show_pinned(args, out)?;
            out.flush()?;
            return Err(error.into());
        }
        client => client?,
    };
    let status: Status = client.ask(Command::Status)?;
    if out.json {
        return Ok(out.json(&status)?);
    }
    Ok(show(&status, out)?)
}

/// What is attached without a daemon.
fn show_pinned(args: &args::Status, out: &mut Output) -> Result<(), CliError> {
    let interfaces = match args.directories.pins() {
        Some(pins) => daemon::attached(pins)?,
        None => Vec::new(),
    };
    if out.json {
        return Ok(out.json(&serde_json::json!({ "interfaces": interfaces }))?);
    }
    if interfaces.is_empty() {
        return Ok(out.line("nothing is guarded")?);
    }
    out.line("the filter is on without a daemon, with the policy that was in force last")?;
    out.line("\ninterfaces")?;
    Ok(out.table(["NAME", "ATTACH", "WHY"], 0, &interface_rows(&interfaces))?)
}

fn interface_rows(interfaces: &[InterfaceEntry]) -> Vec<[String; 3]> {
    let row = |entry: &InterfaceEntry| {
        let attach = entry.attach.as_deref().unwrap_or("not guarded");
        [entry.name.clone(), attach.to_owned(), or_dash(entry.why.as_deref())]
    };
    interfaces.iter().map(row).collect()
}

fn show<W: Write>(status: &Status, out: &mut Output<W>) -> io::Result<()> {
    let Status { generation, mode, policy, version, pid, uptime, contended, ban_file, .. } = status;
    let up = humantime::format_duration(Duration::from_secs(*uptime));
    out.line(format_args!(
        "nodewall {version}, process {pid}, {mode}, generation {generation}, up {up}"
    ))?;
    out.line(format_args!("policy {}, sha256 {}", policy.file, policy.sha256))?;
    if let Some(until) = &policy.pending_until {
        out.line(format_args!(
            "NOT CONFIRMED: it is taken back at {until}, unless `nodewall confirm` comes before"
        ))?;
    }
    if let Some(why) = &policy.instead {
        out.line(format_args!("it is not the daemon's file, because {why}"))?;
    }
    if !policy.matches_disk {
        out.line(format_args!(
            "{} differs: a reload or a start would load another policy",
            policy.own_file
        ))?;
    }

    for (what, told) in
        [("not every ban is saved", &ban_file.problem), ("bans were lost", &ban_file.lost)]
    {
        if let Some(told) = told {
            out.line(format_args!("{what}: {told}"))?;
        }
    }
    match (&status.metrics.listen, &status.metrics.problem) {
        (_, Some(problem)) => out.line(problem)?,
        (Some(listen), None) => out.line(format_args!("metrics on http://{listen}/metrics"))?,
        (None, None) => out.line("metrics are off")?,
    }

    out.line("\ninterfaces")?;
    out.table(["NAME", "ATTACH", "WHY"], 0, &interface_rows(&status.interfaces))?;

    out.line("\ntotals")?;
    let rows: Vec<_> = status
        .totals
        .iter()
        .map(|entry| {
            let [interface, verdict, reason] =
                [&entry.interface, &entry.verdict, &entry.reason].map(String::clone);
            [interface, verdict, reason, entry.packets.to_string(), entry.bytes.to_string()]
        })
        .collect();
    out.table(["INTERFACE", "VERDICT", "REASON", "PACKETS", "BYTES"], 2, &rows)?;
    if *contended > 0 {
        out.line(format_args!("  {contended} of these were refused because other processors were faster, eight times over"))?;
    }

    if !status.monitored.is_empty() {
        out.line("\nlet through by monitor mode")?;
        let rows: Vec<_> = status
            .monitored
            .iter()
            .map(|entry| {
                let [interface, reason] = [&entry.interface, &entry.reason].map(String::clone);
                [interface, reason, entry.packets.to_string(), entry.bytes.to_string()]
            })
            .collect();
        out.table(["INTERFACE", "WOULD DROP AS", "PACKETS", "BYTES"], 2, &rows)?;
    }

    let ConnectionsEntry { held, counted_by, surplus, destroyed, idle, drift } =
        &status.connections;
    out.line(format_args!("\nconnections\n  {held} held, counted by {counted_by}"))?;
    for (count, what) in [
        (surplus, "came when a limit was reached already"),
        (destroyed, "of these were closed"),
        (idle, "were closed because they were idle"),
        (drift, "had to be added or taken off, because the count was not the sockets'"),
    ] {
        if *count > 0 {
            out.line(format_args!("  {count} {what}"))?;
        }
    }

    let EventsEntry { shown, not_shown, lost } = status.events;
    if shown + not_shown > 0 {
        out.line(format_args!(
            "\ndrops in `nodewall log`\n  {shown} shown, {not_shown} counted alone"
        ))?;
    }
    if lost > 0 {
        out.line(format_args!(
            "  {lost} of these should have been shown, but were not read in time"
        ))?;
    }

    if let Some(FlowLogEntry { file, records, skipped, problem }) = &status.flow_log {
        out.line(format_args!("\nflow log\n  {records} flows written to {file}"))?;
        if *skipped > 0 {
            out.line(format_args!(
                "  {skipped} packets are left out: `[tables] flow_log` has no room for their flows"
            ))?;
        }
        if let Some(problem) = problem {
            out.line(format_args!("  {problem}"))?;
        }
    }

    out.line("\ntables")?;
    let rows: Vec<_> = status
        .tables
        .iter()
        .map(|entry| {
            let TableEntry { name, entries, capacity, full } = entry;
            let full = full.map_or_else(|| "-".to_owned(), |full| full.to_string());
            [name.clone(), entries.to_string(), capacity.to_string(), full]
        })
        .collect();
    out.table(["NAME", "ENTRIES", "CAPACITY", "LOST"], 3, &rows)?;

    if !status.sets.is_empty() {
        out.line("\nsets from files")?;
        let rows: Vec<_> = status
            .sets
            .iter()
            .map(|entry| {
                let problem = entry
                    .problem
                    .as_ref()
                    .map(|problem| format!("earlier content kept: {problem}"));
                [
                    entry.name.clone(),
                    entry.file.clone(),
                    problem.unwrap_or_else(|| "in force".to_owned()),
                ]
            })
            .collect();
        out.table(["NAME", "FILE", "STATE"], 0, &rows)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{BanFileEntry, EventsEntry, InterfaceEntry, PolicyEntry, TotalEntry};

    fn example() -> Status {
        Status {
            generation: 2,
            mode: "enforce".to_owned(),
            policy: PolicyEntry {
                file: "/etc/nodewall/nodewall.toml".to_owned(),
                sha256: "ab".repeat(32),
                matches_disk: true,
                pending_until: None,
                instead: None,
                own_file: "/etc/nodewall/nodewall.toml".to_owned(),
            },
            interfaces: vec![
                InterfaceEntry {
                    name: "eth0".to_owned(),
                    attach: Some("native".to_owned()),
                    why: None,
                },
                InterfaceEntry {
                    name: "wg0".to_owned(),
                    attach: None,
                    why: Some("gone".to_owned()),
                },
            ],
            totals: vec![TotalEntry {
                interface: "eth0".to_owned(),
                verdict: "drop".to_owned(),
                reason: "port_closed".to_owned(),
                packets: 12,
                bytes: 720,
            }],
            monitored: Vec::new(),
            tables: vec![TableEntry {
                name: "bans".to_owned(),
                entries: 1,
                capacity: 1_000_000,
                full: None,
            }],
            sets: Vec::new(),
            ban_file: BanFileEntry {
                file: "/var/lib/nodewall/bans".to_owned(),
                problem: Some("the disk is full".to_owned()),
                lost: None,
            },
            contended: 0,
            connections: crate::control::ConnectionsEntry {
                held: 0,
                counted_by: "kernel".to_owned(),
                surplus: 0,
                destroyed: 0,
                idle: 0,
                drift: 0,
            },
            metrics: crate::control::MetricsEntry {
                listen: Some("127.0.0.1:9551".to_owned()),
                problem: None,
            },
            events: EventsEntry { shown: 3, not_shown: 9, lost: 0 },
            flow_log: None,
            version: "0.1.0".to_owned(),
            pid: 7,
            started: "2026-01-01T00:00:00Z".to_owned(),
            uptime: 61,
        }
    }

    #[test]
    fn people_see_columns() -> io::Result<()> {
        let mut out = Output::kept(false);
        show(&example(), &mut out)?;
        let text = out.text();
        assert!(
            text.starts_with("nodewall 0.1.0, process 7, enforce, generation 2, up 1m 1s\n"),
            "{text}"
        );
        assert!(text.contains("  eth0  native       -\n  wg0   not guarded  gone\n"), "{text}");
        assert!(text.contains("  eth0       drop     port_closed       12    720\n"), "{text}");
        assert!(!text.contains("differs"), "{text}");
        assert!(text.contains("\nnot every ban is saved: the disk is full\n"), "{text}");
        assert!(!text.contains("lost"), "{text}");
        Ok(())
    }

    #[test]
    fn json_has_the_names_of_the_contract_and_null_for_what_is_absent() -> io::Result<()> {
        let mut out = Output::kept(true);
        out.json(&example())?;
        let value: serde_json::Value = serde_json::from_str(&out.text())?;
        assert_eq!(value["v"], 1);
        assert_eq!(
            value["interfaces"][1],
            serde_json::json!({"name": "wg0", "attach": null, "why": "gone"})
        );
        assert_eq!(value["policy"]["pending_until"], serde_json::Value::Null);
        assert_eq!(value["totals"][0]["reason"], "port_closed");
        assert_eq!(value["tables"][0]["capacity"], 1_000_000);
        Ok(())
    }
}
