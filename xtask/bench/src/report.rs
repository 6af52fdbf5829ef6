//! The table that a run ends with.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// All that a run has measured.
#[derive(Serialize)]
pub struct Report {
    machine: String,
    rows: Vec<Row>,
    /// What could not be measured, and why.
    left_out: Vec<String>,
}

/// One figure.
#[derive(Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Its median.
    pub value: f64,
    /// The smallest and the largest of the rounds.
    pub spread: (f64, f64),
    /// What the value counts.
    pub unit: &'static str,
    /// The median of the ratios to what it is held against, round by round.
    pub ratio: Option<f64>,
    /// What it is held against.
    pub against: Option<&'static str>,
    /// What the project holds itself to: a ratio, or else a value.
    pub goal: Option<Goal>,
}

/// The bound of a row.
#[derive(Clone, Copy, Serialize)]
pub enum Goal {
    /// The ratio is to be this or more.
    RatioAtLeast(f64),
    /// The value is to be below this.
    Below(f64),
}

impl Report {
    pub fn new() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| {
                line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned())
            })
            .unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            machine: format!("{processor}, {processors} processors, Linux {kernel}"),
            rows: Vec::new(),
            left_out: Vec::new(),
        }
    }

    pub fn add(&mut self, row: Row) {
        eprintln!("{}", row.line());
        self.rows.push(row);
    }

    pub fn leave_out(&mut self, why: impl Into<String>) {
        self.left_out.push(why.into());
    }

    pub fn print(&self) {
        println!("\n{}\n", self.machine);
        for row in &self.rows {
            println!("{}", row.line());
        }
        for why in &self.left_out {
            println!("not measured: {why}");
        }
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }
}

impl Row {
    fn line(&self) -> String {
        let Self { name, value, spread, unit, ratio, against, goal } = self;
        let ratio = match (ratio, against) {
            (Some(ratio), Some(against)) => format!("{ratio:5.2} of {against}"),
            _ => String::new(),
        };
        let goal = match goal {
            Some(Goal::RatioAtLeast(goal)) => {
                let met =
                    if self.ratio.is_some_and(|ratio| ratio >= *goal) { "met" } else { "MISSED" };
                format!("goal {goal:.2}: {met}")
            }
            Some(Goal::Below(goal)) => {
                let met = if value < goal { "met" } else { "MISSED" };
                format!("goal below {goal} {unit}: {met}")
            }
            None => String::new(),
        };
        format!(
            "{name:<68} {value:8.2} {unit:<5} ({:.2} to {:.2})  {ratio:<28} {goal}",
            spread.0, spread.1
        )
    }
}

/// The median of some figures, and the least and greatest of them.
pub fn median(mut values: Vec<f64>) -> (f64, (f64, f64)) {
    values.sort_by(f64::total_cmp);
    let middle = values.get(values.len() / 2).copied().unwrap_or_default();
    let ends = (values.first().copied(), values.last().copied());
    (middle, (ends.0.unwrap_or_default(), ends.1.unwrap_or_default()))
}
