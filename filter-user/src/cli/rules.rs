//! `rules`.

use std::{
    io::{self, Write},
    path::Path,
};

use super::{
    error::CliError,
    output::{Output, or_dash},
};
use crate::control::{Client, Command, LimitEntry, Rules};

pub(super) fn rules(socket: &Path, out: &mut Output) -> Result<(), CliError> {
    let rules: Rules = Client::connect(socket)?.ask(Command::Rules)?;
    if out.json {
        return Ok(out.json(&rules)?);
    }
    Ok(show(&rules, out)?)
}

fn show<W: Write>(rules: &Rules, out: &mut Output<W>) -> io::Result<()> {
    let mut rows = Vec::new();
    for rule in &rules.rules {
        let row = |verdict: &str, reason: &str, scope: Option<&str>, packets: u64, bytes: u64| {
            let [name, mode] = [&rule.name, &rule.mode].map(String::clone);
            let [verdict, reason] = [verdict, reason].map(str::to_owned);
            [name, mode, verdict, reason, or_dash(scope), packets.to_string(), bytes.to_string()]
        };
        if rule.counters.is_empty() {
            rows.push(row("-", "-", None, 0, 0));
        }
        for entry in &rule.counters {
            let scope = entry.scope.as_deref();
            rows.push(row(&entry.verdict, &entry.reason, scope, entry.packets, entry.bytes));
        }
        for entry in &rule.monitored {
            let reason = format!("({})", entry.reason);
            rows.push(row(
                "would drop",
                &reason,
                entry.scope.as_deref(),
                entry.packets,
                entry.bytes,
            ));
        }
    }
    out.table(["RULE", "MODE", "VERDICT", "REASON", "SCOPE", "PACKETS", "BYTES"], 2, &rows)?;
    let mut rows = Vec::new();
    for rule in &rules.rules {
        for LimitEntry { scope, limit, used } in &rule.limits {
            let [name, scope, limit] = [&rule.name, scope, limit].map(String::clone);
            rows.push([name, scope, limit, format!("{used} %")]);
        }
    }
    if !rows.is_empty() {
        out.line("\nlimits, by the source or network that is nearest to each")?;
        out.table(["RULE", "SCOPE", "LIMIT", "USED"], 1, &rows)?;
    }
    let held = rules.rules.iter().filter_map(|rule| Some((&rule.name, rule.connections?)));
    let rows: Vec<_> = held
        .filter(|(_, connections)| *connections > 0)
        .map(|(name, connections)| [name.clone(), connections.to_string()])
        .collect();
    if !rows.is_empty() {
        out.line("\nconnections that are held")?;
        out.table(["RULE", "CONNECTIONS"], 1, &rows)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{CounterEntry, RuleEntry};

    #[test]
    fn a_rule_that_has_done_nothing_has_a_row_too() -> io::Result<()> {
        let rule = |name: &str, counters| RuleEntry {
            name: name.to_owned(),
            mode: "enforce".to_owned(),
            connections: None,
            counters,
            monitored: Vec::new(),
            limits: Vec::new(),
        };
        let counter = CounterEntry {
            verdict: "drop".to_owned(),
            reason: "packet_rate".to_owned(),
            scope: Some("per_source".to_owned()),
            packets: 3,
            bytes: 180,
        };
        let mut out = Output::kept(false);
        show(
            &Rules { rules: vec![rule("ssh", vec![counter]), rule("idle", Vec::new())] },
            &mut out,
        )?;
        let text = out.text();
        assert!(
            text.contains("  ssh   enforce  drop     packet_rate  per_source        3    180\n"),
            "{text}"
        );
        assert!(
            text.contains("  idle  enforce  -        -            -                 0      0\n"),
            "{text}"
        );
        Ok(())
    }
}
