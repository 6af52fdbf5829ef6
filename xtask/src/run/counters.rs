//! What the daemon counts, as its command line tells it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use sandbox::Instance;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The answer to `nodewall status --json`, as far as it is shown here.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// Counts switches of policy.
    pub generation: u64,
    /// Those that are guarded.
    pub interfaces: Vec<Interface>,
    totals: Vec<Total>,
}

/// An interface and how it is guarded.
#[derive(Debug, Clone, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `native` or `generic`; absent where it is not guarded.
    pub attach: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Total {
    verdict: String,
    reason: String,
    packets: u64,
}

/// The answer to `nodewall rules --json`, as far as it is shown here.
#[derive(Debug, Clone, Deserialize)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Deserialize)]
struct Rule {
    name: String,
    counters: Vec<Total>,
}

impl Status {
    /// What it is now.
    pub fn read(instance: &Instance) -> Result<Self> {
        ask(instance, "status")
    }

    /// Packets with this reason, on all interfaces.
    pub fn packets(&self, reason: &str) -> u64 {
        self.totals.iter().filter(|total| total.reason == reason).map(|total| total.packets).sum()
    }

    /// Packets with this verdict.
    pub fn judged(&self, verdict: &str) -> u64 {
        self.totals.iter().filter(|total| total.verdict == verdict).map(|total| total.packets).sum()
    }

    /// A table of the reasons that occurred, what passed first.
    pub fn table(&self) -> String {
        let mut sums = BTreeMap::new();
        for total in self.totals.iter().filter(|total| total.packets > 0) {
            // `pass` sorts behind `drop`.
            let key = (total.verdict == "drop", total.reason.as_str());
            *sums.entry(key).or_insert(0) += total.packets;
        }
        let rows = sums.into_iter().map(|((dropped, reason), packets)| {
            let verdict = if dropped { "drop" } else { "pass" };
            vec![verdict.to_owned(), reason.to_owned(), packets.to_string()]
        });
        table(&["verdict", "reason", "packets"], 2, rows)
    }
}

impl Rules {
    /// What they are now.
    pub fn read(instance: &Instance) -> Result<Self> {
        ask(instance, "rules")
    }

    /// A table of the rules: what each let pass, and what it dropped.
    pub fn table(&self) -> String {
        let rows = self.rules.iter().map(|rule| {
            let of = |verdict: &str| {
                let counters = rule.counters.iter().filter(|counter| counter.verdict == verdict);
                counters.map(|counter| counter.packets).sum::<u64>()
            };
            let refusals = rule.counters.iter().filter(|counter| counter.verdict == "drop");
            let refusals: Vec<_> = refusals
                .filter(|counter| counter.packets > 0)
                .map(|counter| format!("{} {}", counter.reason, counter.packets))
                .collect();
            vec![
                rule.name.clone(),
                of("pass").to_string(),
                of("drop").to_string(),
                refusals.join(", "),
            ]
        });
        table(&["rule", "passed", "dropped", "of these"], 1, rows)
    }
}

/// Columns from `numbers` on hold numbers, as long as a cell looks like one.
fn table(header: &[&str], numbers: usize, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let align = |column: usize, text: &str| {
        let is_number = column >= numbers && text.bytes().all(|byte| byte.is_ascii_digit());
        match is_number {
            true => CellAlignment::Right,
            false => CellAlignment::Left,
        }
    };
    table.set_header(header.iter().map(Cell::new));
    for row in rows {
        let cells = row.iter().enumerate();
        table.add_row(
            cells.map(|(column, text)| Cell::new(text).set_alignment(align(column, text))),
        );
    }
    let lines = table.lines().map(|line| format!(" {}\n", line.trim_end()));
    lines.collect()
}

fn ask<T: DeserializeOwned>(instance: &Instance, command: &str) -> Result<T> {
    let output = instance.ctl(&[command, "--json"])?;
    if output.code != Some(0) {
        bail!("`nodewall {command} --json` failed: {}", output.stderr.trim());
    }
    serde_json::from_str(&output.stdout)
        .with_context(|| format!("`nodewall {command} --json` says something unexpected"))
}
