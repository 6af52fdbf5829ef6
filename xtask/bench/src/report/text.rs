//! The table as a terminal shows it.

use std::fmt::Write as _;

use super::{Entry, Flood, Goal, Report, Row, Scaled, Step, measures};

/// Everything, at the end of a run.
pub fn whole(report: &Report) -> String {
    let mut text = String::new();
    for (what, is) in &report.machine.lines {
        let _ = writeln!(text, "{what}: {is}");
    }
    let _ = writeln!(text, "{}", report.method);
    let mut section = "";
    for found in &report.floods {
        if found.section != section {
            section = &found.section;
            let _ = writeln!(text, "\n== {section}");
        }
        text.push_str(&flood(found));
    }
    part(&mut text, "Two processors", &report.scaled, scaled);
    part(&mut text, "The closed port, step by step", &report.steps, step);
    part(&mut text, "Throughput, controller, memory", &report.rows, row);
    part(&mut text, "Measures", &measures::of(report), |measure| {
        let met = if measure.met { "met" } else { "MISSED" };
        format!("{:<76} {met}: {}", measure.goal, measure.found)
    });
    part(&mut text, "Not measured", &report.left_out, Clone::clone);
    text
}

fn part<T>(text: &mut String, title: &str, items: &[T], line: impl Fn(&T) -> String) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n== {title}");
    for item in items {
        let _ = writeln!(text, "{}", line(item));
    }
}

pub fn flood(flood: &Flood) -> String {
    let mut text = format!("{}\n", flood.name);
    for Entry { who, mpps, ratio, nanoseconds, goal } in &flood.entries {
        let nanoseconds = nanoseconds.map_or(String::new(), |value| format!("{value:4.0} ns"));
        let goal =
            goal.map_or(String::new(), |goal| said(ratio.median >= goal, &format!("{goal:.2}")));
        let _ = writeln!(
            text,
            "  {who:<54} {:6.2} Mpps ({:5.2} to {:5.2}) {:5.2} of the ceiling {nanoseconds:>8}  {goal}",
            mpps.median, mpps.least, mpps.most, ratio.median
        );
    }
    text
}

pub fn scaled(Scaled { name, who, one, two, times }: &Scaled) -> String {
    format!(
        "{name:<44} {who:<16} {:6.2} Mpps, both {:6.2} Mpps: {:.2} times ({:.2} to {:.2})",
        one.median, two.median, times.median, times.least, times.most
    )
}

pub fn step(Step { name, nanoseconds, more, jited }: &Step) -> String {
    format!(
        "{name:<60} {:6.1} ns  {:+6.1} ns ({:+.1} to {:+.1})  {jited} bytes",
        nanoseconds.median, more.median, more.least, more.most
    )
}

pub fn row(Row { name, figure, unit, ratio, against, goal }: &Row) -> String {
    let held = match (ratio, against) {
        (Some(ratio), Some(against)) => format!("{ratio:5.2} of {against}"),
        _ => String::new(),
    };
    let goal = match goal {
        Some(Goal::RatioAtLeast(goal)) => {
            said(ratio.is_some_and(|ratio| ratio >= *goal), &format!("{goal:.2}"))
        }
        Some(Goal::Below(goal)) => said(figure.median < *goal, &format!("below {goal} {unit}")),
        None => String::new(),
    };
    format!(
        "{name:<68} {:8.2} {unit:<5} ({:.2} to {:.2})  {held:<28} {goal}",
        figure.median, figure.least, figure.most
    )
}

fn said(met: bool, goal: &str) -> String {
    format!("goal {goal}: {}", if met { "met" } else { "MISSED" })
}
