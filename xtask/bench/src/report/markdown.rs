//! The tables as a document has them, each under the name of its place.

use std::fmt::Write as _;

use super::{Entry, Figure, Flood, Goal, Report, Row, Scaled, measures};

/// The name of each table's place, and the table.
pub fn tables(report: &Report) -> Vec<(&'static str, String)> {
    vec![
        ("summary", summary(report)),
        ("machine", machine(report)),
        ("measures", measures_table(report)),
        ("floods", floods(&report.floods)),
        ("scaled", scaled(&report.scaled)),
        ("steps", steps(report)),
        ("rows", rows(&report.rows)),
        ("left-out", left_out(report)),
    ]
}

fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// Of the floods, those that a reader in a hurry sees.
const SUMMARY: [&str; 6] = [
    "SYN to a closed port, 64k sources",
    "banned, sources drawn from 1,000,000 bans",
    "SYN from 64k sources that none of 10,000 rules names",
    "SYN from one source over its limit",
    "SYN from 64k sources over their limits",
    "ACK out of state to an open port, 64k sources",
];

fn summary(report: &Report) -> String {
    let rows = report.floods.iter().filter(|flood| SUMMARY.contains(&flood.name.as_str()));
    let rows = rows.filter_map(|flood| {
        let ours = measures::nodewall(flood)?;
        let peers = flood.entries.iter().skip(2);
        let best = peers.max_by(|one, other| one.mpps.median.total_cmp(&other.mpps.median));
        Some(vec![
            flood.name.clone(),
            format!("{:.2} Mpps", ours.mpps.median),
            format!("{:.2}", ours.ratio.median),
            best.map_or(String::new(), |best| {
                format!("{:.2} Mpps ({})", best.mpps.median, best.who)
            }),
        ])
    });
    table(&["", "nodewall", "of the bare `XDP_DROP`", "the fastest other"], rows)
}

fn machine(report: &Report) -> String {
    let lines = report.machine.lines.iter().map(|(what, is)| vec![what.clone(), is.clone()]);
    table(&["", ""], lines) + "\n" + &report.method + "\n"
}

fn measures_table(report: &Report) -> String {
    let rows = measures::of(report).into_iter().map(|measure| {
        vec![
            measure.goal,
            measure.found,
            (if measure.met { "met" } else { "**missed**" }).to_owned(),
        ]
    });
    table(&["measure", "found", ""], rows)
}

fn floods(floods: &[Flood]) -> String {
    let mut text = String::new();
    let mut section = "";
    for flood in floods {
        if flood.section != section {
            section = &flood.section;
            let _ = writeln!(text, "### {section}\n");
        }
        let _ = writeln!(text, "**{}**\n", flood.name);
        let rows = flood.entries.iter().map(|entry| of_entry(flood, entry));
        text.push_str(&table(&["", "Mpps", "of the ceiling", "ns"], rows));
        text.push('\n');
    }
    text
}

fn of_entry(flood: &Flood, entry: &Entry) -> Vec<String> {
    let faster = measures::faster(flood).any(|peer| peer.who == entry.who);
    let mark = if faster { " (**faster than nodewall**)" } else { "" };
    let goal = match entry.goal {
        Some(goal) if entry.ratio.median >= goal => format!(", goal {goal:.2}"),
        Some(goal) => format!(", **goal {goal:.2} missed**"),
        None => String::new(),
    };
    vec![
        format!("{}{mark}", entry.who),
        spread(&entry.mpps),
        format!("{:.2}{goal}", entry.ratio.median),
        entry.nanoseconds.map_or(String::new(), |value| format!("{value:.0}")),
    ]
}

/// The median, and between which all rounds lie.
fn spread(figure: &Figure) -> String {
    format!("{:.2} ({:.2} to {:.2})", figure.median, figure.least, figure.most)
}

fn scaled(all: &[Scaled]) -> String {
    let rows = all.iter().map(|Scaled { name, who, one, two, times }| {
        vec![name.clone(), who.clone(), spread(one), spread(two), spread(times)]
    });
    table(&["flood", "", "one processor, Mpps", "two, Mpps", "times"], rows)
}

fn steps(report: &Report) -> String {
    let rows = report.steps.iter().map(|step| {
        vec![
            step.name.clone(),
            format!("{:.1}", step.nanoseconds.median),
            format!("{:+.1} ({:+.1} to {:+.1})", step.more.median, step.more.least, step.more.most),
            step.jited.to_string(),
        ]
    });
    table(&["the program with", "ns", "more than the line above", "bytes of machine code"], rows)
}

fn rows(all: &[Row]) -> String {
    let rows = all.iter().map(|Row { name, figure, unit, ratio, against, goal }| {
        let held = match (ratio, against) {
            (Some(ratio), Some(against)) => format!("{ratio:.2} of {against}"),
            _ => String::new(),
        };
        let (goal, met) = match goal {
            Some(Goal::RatioAtLeast(goal)) => {
                (format!("{goal:.2}"), ratio.is_some_and(|ratio| ratio >= *goal))
            }
            Some(Goal::Below(goal)) => (format!("below {goal} {unit}"), figure.median < *goal),
            None => (String::new(), true),
        };
        let goal = if met { goal } else { format!("**{goal} missed**") };
        vec![name.trim().to_owned(), format!("{} {unit}", spread(figure)), held, goal]
    });
    table(&["what", "median (least to most)", "ratio", "goal"], rows)
}

fn left_out(report: &Report) -> String {
    if report.left_out.is_empty() {
        return "Everything was measured.\n".to_owned();
    }
    let lines: Vec<_> = report.left_out.iter().map(|line| format!("- {line}\n")).collect();
    format!("Not measured in this run:\n\n{}", lines.concat())
}
