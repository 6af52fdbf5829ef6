//! What the project holds itself to over several rows.

use super::{Entry, Flood, Report};

/// One of them.
pub struct Measure {
    /// What is to be.
    pub goal: String,
    /// What is.
    pub found: String,
    pub met: bool,
}

/// Rows that may differ by so much and are still flat.
const FLAT: f64 = 0.15;
/// Two processors to one.
const TIMES: f64 = 1.8;

/// Those for which everything was measured.
pub fn of(report: &Report) -> Vec<Measure> {
    let mut all = Vec::new();
    for (found, goal) in with_goals(report) {
        let ratio = found.1.ratio.median;
        all.push(Measure {
            goal: format!("{}: {goal:.2} of the ceiling", found.0.name),
            found: format!("{ratio:.2}"),
            met: ratio >= goal,
        });
    }
    let flat = [
        ("from 10 to 10,000 rules", "SYN from 64k sources that none of ", " rules names"),
        ("from 100 to 1,000,000 bans, one source", "banned, one source among ", " bans"),
    ];
    for (what, start, end) in flat {
        let of_row = |flood: &Flood| flood.name.starts_with(start) && flood.name.ends_with(end);
        let ratios: Vec<f64> = report
            .floods
            .iter()
            .filter(|flood| of_row(flood))
            .filter_map(|flood| Some(nodewall(flood)?.ratio.median))
            .collect();
        if ratios.len() > 1 {
            let most = ratios.iter().copied().fold(f64::MIN, f64::max);
            let least = ratios.iter().copied().fold(f64::MAX, f64::min);
            let shown: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            all.push(Measure {
                goal: format!("flat within 15 % {what}"),
                found: shown.join(", "),
                met: 1.0 - least / most <= FLAT,
            });
        }
    }
    for scaled in report.scaled.iter().filter(|scaled| scaled.who == "nodewall") {
        let bare =
            report.scaled.iter().find(|bare| bare.name == scaled.name && bare.who != scaled.who);
        all.push(Measure {
            goal: format!("two processors 1.8 times one: {}", scaled.name),
            found: format!(
                "{:.2} (the bare drop {:.2})",
                scaled.times.median,
                bare.map_or(f64::NAN, |bare| bare.times.median)
            ),
            met: scaled.times.median >= TIMES,
        });
    }
    all.extend(no_peer_faster(report));
    all
}

fn no_peer_faster(report: &Report) -> Option<Measure> {
    let beside: Vec<_> = report.floods.iter().filter(|flood| flood.entries.len() > 2).collect();
    if beside.is_empty() {
        return None;
    }
    let faster: Vec<String> = beside
        .iter()
        .flat_map(|flood| faster(flood).map(|peer| format!("{}: {}", flood.name, peer.who)))
        .collect();
    Some(Measure {
        goal: format!(
            "no peer that does the same job is faster, in {} rows with peers",
            beside.len()
        ),
        found: if faster.is_empty() { "none is".to_owned() } else { faster.join("; ") },
        met: faster.is_empty(),
    })
}

/// Those peers whose median is better than nodewall's.
pub fn faster(flood: &Flood) -> impl Iterator<Item = &Entry> {
    let ours = nodewall(flood).map_or(f64::MAX, |ours| ours.mpps.median);
    flood.entries.iter().skip(2).filter(move |entry| entry.mpps.median > ours)
}

/// How the filter did.
pub fn nodewall(flood: &Flood) -> Option<&Entry> {
    flood.entries.iter().find(|entry| entry.who == "nodewall")
}

fn with_goals(report: &Report) -> impl Iterator<Item = ((&Flood, &Entry), f64)> {
    report.floods.iter().flat_map(|flood| {
        flood.entries.iter().filter_map(move |entry| Some(((flood, entry), entry.goal?)))
    })
}
