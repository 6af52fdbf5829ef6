//! What a run has measured, and the forms in which it is shown.

mod chart;
mod document;
mod machine;
mod markdown;
mod measures;
mod text;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::cases::Case;
use machine::Machine;

/// All that a run has measured.
#[derive(Serialize, Deserialize)]
pub struct Report {
    machine: Machine,
    /// Rounds, and how long each flood was.
    method: String,
    floods: Vec<Flood>,
    scaled: Vec<Scaled>,
    steps: Vec<Step>,
    rows: Vec<Row>,
    /// What could not be measured, and why.
    left_out: Vec<String>,
}

/// One case, and how everybody did.
#[derive(Serialize, Deserialize)]
pub struct Flood {
    /// Of which part of the table it is.
    pub section: String,
    /// The flood.
    pub name: String,
    /// The bare program first.
    pub entries: Vec<Entry>,
}

/// How one did.
#[derive(Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    pub who: String,
    /// Millions of packets a second.
    pub mpps: Figure,
    /// To the bare program in the same round.
    pub ratio: Figure,
    /// Of the program alone, on hot caches.
    pub nanoseconds: Option<f64>,
    /// What the project holds itself to.
    pub goal: Option<f64>,
}

/// One processor, and two at once.
#[derive(Serialize, Deserialize)]
pub struct Scaled {
    /// The flood.
    pub name: String,
    /// Who met it.
    pub who: String,
    /// Millions of packets a second.
    pub one: Figure,
    /// The sum of both.
    pub two: Figure,
    /// Two to one in the same round.
    pub times: Figure,
}

/// The program up to some point, see [`crate::steps`].
#[derive(Serialize, Deserialize)]
pub struct Step {
    /// What it does that the one before does not.
    pub name: String,
    /// What it takes for a packet.
    pub nanoseconds: Figure,
    /// More than the one before, in the same round.
    pub more: Figure,
    /// Bytes of machine code.
    pub jited: u32,
}

/// One other figure.
#[derive(Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// All rounds.
    pub figure: Figure,
    /// What the value counts.
    pub unit: String,
    /// The median of the ratios to what it is held against, round by round.
    pub ratio: Option<f64>,
    /// What it is held against.
    pub against: Option<String>,
    /// What the project holds itself to: a ratio, or else a value.
    pub goal: Option<Goal>,
}

/// The bound of a row.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub enum Goal {
    /// The ratio is to be this or more.
    RatioAtLeast(f64),
    /// The value is to be below this.
    Below(f64),
}

/// The rounds of one measurement.
#[derive(Clone, Serialize, Deserialize)]
pub struct Figure {
    /// The one in the middle.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// As they were measured.
    pub rounds: Vec<f64>,
}

impl Figure {
    /// Of at least one round.
    pub fn of(rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
        let (median, least) = (at(sorted.len() / 2), at(0));
        Self { median, least, most: at(sorted.len().saturating_sub(1)), rounds }
    }
}

impl Row {
    /// What was measured in all rounds.
    pub fn of(name: &str, rounds: Vec<f64>, unit: &str) -> Self {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        Self { name, figure: Figure::of(rounds), unit, ratio: None, against: None, goal: None }
    }

    /// It is to be below this.
    pub fn below(self, goal: f64) -> Self {
        Self { goal: Some(Goal::Below(goal)), ..self }
    }

    /// Its ratio to something is to be this or more.
    pub fn at_least(self, goal: f64, ratios: Vec<f64>, against: &str) -> Self {
        Self {
            ratio: Some(Figure::of(ratios).median),
            against: Some(against.to_owned()),
            goal: Some(Goal::RatioAtLeast(goal)),
            ..self
        }
    }
}

impl Report {
    pub fn new(method: String) -> Self {
        Self {
            machine: Machine::this(),
            method,
            floods: Vec::new(),
            scaled: Vec::new(),
            steps: Vec::new(),
            rows: Vec::new(),
            left_out: Vec::new(),
        }
    }

    pub fn add(&mut self, row: Row) {
        eprintln!("{}", text::row(&row));
        self.rows.push(row);
    }

    pub fn add_flood(&mut self, flood: Flood) {
        eprint!("{}", text::flood(&flood));
        self.floods.push(flood);
    }

    pub fn add_scaled(&mut self, scaled: Scaled) {
        eprintln!("{}", text::scaled(&scaled));
        self.scaled.push(scaled);
    }

    pub fn add_step(&mut self, step: Step) {
        eprintln!("{}", text::step(&step));
        self.steps.push(step);
    }

    pub fn leave_out(&mut self, case: &Case, who: &str, error: &anyhow::Error) {
        self.leave_out_all(&format!("{}: {who}", case.name), &format!("{error:#}"));
    }

    pub fn leave_out_all(&mut self, what: &str, why: &str) {
        let sentence = format!("{what}: {why}");
        eprintln!("not measured: {sentence}");
        self.left_out.push(sentence);
    }

    pub fn print(&self) {
        println!("{}", text::whole(self));
    }

    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what `--json` writes", path.display()))
    }

    /// Writes the figures as JSON.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        write(path, &(serde_json::to_string_pretty(self)? + "\n"))
    }

    /// Writes the chart.
    pub fn write_chart(&self, path: &Path) -> Result<()> {
        write(path, &chart::draw(&self.floods))
    }

    /// Puts the tables into a document, in the place of those that it has.
    pub fn write_document(&self, path: &Path) -> Result<()> {
        let before = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let after = document::fill(&before, &markdown::tables(self))
            .with_context(|| format!("{} cannot be filled", path.display()))?;
        write(path, &after)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
