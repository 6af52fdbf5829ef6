//! What is printed of a replay: each record as it is judged, and sums.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, StdoutLock, Write},
    time::Duration,
};

use serde::Serialize;

use crate::{
    cli::output::{Output, or_dash},
    control::{NOT_JUDGED, OutcomeEntry, ReplayOutcome, VERSION},
};

/// Sums, and where they are printed.
pub(super) struct Report<'a, W: Write = BufWriter<StdoutLock<'static>>> {
    out: &'a mut Output<W>,
    outcomes: Vec<Counted>,
    records: u64,
    /// Of the first and the latest record, in nanoseconds.
    times: Option<(u64, u64)>,
}

/// An outcome, and how many records had it.
struct Counted {
    outcome: ReplayOutcome,
    /// As it is printed behind a record's number.
    json: String,
    packets: u64,
}

/// One line of the sums.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Sum {
    verdict: Option<String>,
    reason: String,
    monitored: Option<String>,
    rule: Option<String>,
    packets: u64,
}

impl<'a, W: Write> Report<'a, W> {
    pub(super) fn new(out: &'a mut Output<W>) -> io::Result<Self> {
        if out.json {
            write!(out, "{{\"v\":{VERSION},\"packets\":[")?;
        }
        Ok(Self { out, outcomes: Vec::new(), records: 0, times: None })
    }

    /// Notes the time of a record.
    pub(super) fn see(&mut self, time: Option<u64>) {
        let Some(time) = time else { return };
        let (first, last) = self.times.get_or_insert((time, time));
        (*first, *last) = ((*first).min(time), (*last).max(time));
    }

    /// The place of an outcome, a new one if it is new.
    pub(super) fn place(&mut self, outcome: ReplayOutcome) -> io::Result<usize> {
        if let Some(at) = self.outcomes.iter().position(|counted| counted.outcome == outcome) {
            return Ok(at);
        }
        // Of an object whatever is behind its opening brace.
        let json = serde_json::to_string(&outcome.outcome)?.split_off(1);
        self.outcomes.push(Counted { outcome, json, packets: 0 });
        Ok(self.outcomes.len() - 1)
    }

    /// The next record had the outcome of that place.
    pub(super) fn row(&mut self, place: usize) -> io::Result<()> {
        let Some(counted) = self.outcomes.get_mut(place) else { return Ok(()) };
        counted.packets += 1;
        self.records += 1;
        if self.out.json {
            let comma = if self.records > 1 { "," } else { "" };
            write!(self.out, "{comma}{{\"n\":{},{}", self.records, counted.json)?;
        }
        Ok(())
    }

    /// Prints the sums. `took`: how long the judging did.
    pub(super) fn finish(self, took: Duration) -> io::Result<()> {
        let sums = self.sums();
        if self.out.json {
            let sums = serde_json::to_string(&sums)?;
            return self.out.line(format_args!("],\"summary\":{sums}}}"));
        }
        let rows: Vec<[String; 4]> = sums
            .iter()
            .map(|Sum { verdict, reason, monitored, rule, packets }| {
                let reason = match monitored {
                    Some(monitored) => format!("{reason} ({monitored})"),
                    None => reason.clone(),
                };
                let (verdict, rule) = (or_dash(verdict.as_deref()), or_dash(rule.as_deref()));
                [verdict, reason, rule, packets.to_string()]
            })
            .collect();
        self.out.table(["VERDICT", "REASON", "RULE", "PACKETS"], 1, &rows)?;
        let unjudged: Vec<String> = ["sent", "truncated", "short", "long"]
            .into_iter()
            .filter_map(|because| {
                let of = |counted: &&Counted| counted.outcome.because.as_deref() == Some(because);
                let counted = self.outcomes.iter().find(of)?;
                let what = match because {
                    "sent" => "that this host sent",
                    "truncated" => "that the capture has only the beginning of",
                    "short" => "too short for a frame",
                    _ => "too long for a frame",
                };
                Some(format!("{} {what}", counted.packets))
            })
            .collect();
        if !unjudged.is_empty() {
            self.out.line(format_args!("not judged: {}", unjudged.join(", ")))?;
        }
        let records = self.records;
        let plural = if records == 1 { "" } else { "s" };
        let span = self.times.map_or(String::new(), |(first, last)| {
            format!(" over {}", humantime::format_duration(rounded(last - first)))
        });
        let rate = match took.as_secs_f64() {
            seconds if seconds > 0.1 => {
                format!(", {:.0} a second", records as f64 / seconds)
            }
            _ => String::new(),
        };
        self.out.line(format_args!(
            "{records} record{plural}{span}, judged in {}{rate}",
            humantime::format_duration(Duration::from_millis(took.as_millis() as u64))
        ))
    }

    /// By verdict, those with the most packets first.
    fn sums(&self) -> Vec<Sum> {
        type Key = (Option<String>, String, Option<String>, Option<String>);
        let mut by_key: BTreeMap<Key, u64> = BTreeMap::new();
        for Counted { outcome, packets, .. } in &self.outcomes {
            let OutcomeEntry { verdict, reason, monitored, rule, .. } = outcome.outcome.clone();
            *by_key.entry((verdict, reason, monitored, rule)).or_default() += packets;
        }
        let sum = |((verdict, reason, monitored, rule), packets)| Sum {
            verdict,
            reason,
            monitored,
            rule,
            packets,
        };
        let mut sums: Vec<Sum> =
            by_key.into_iter().filter(|(_, packets)| *packets > 0).map(sum).collect();
        let order = |sum: &Sum| match sum.verdict.as_deref() {
            Some("pass") => 0,
            Some(_) => 1,
            None => 2,
        };
        // What is equal keeps the order of its names.
        sums.sort_by_key(|sum| (order(sum), std::cmp::Reverse(sum.packets)));
        debug_assert!(sums.iter().all(|sum| sum.verdict.is_some() || sum.reason == NOT_JUDGED));
        sums
    }
}

/// As precise as people read it.
fn rounded(nanoseconds: u64) -> Duration {
    match nanoseconds {
        0..1_000_000_000 => Duration::from_micros(nanoseconds / 1000),
        1_000_000_000..60_000_000_000 => Duration::from_millis(nanoseconds / 1_000_000),
        _ => Duration::from_secs(nanoseconds / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use filter_common::{Outcome, Reason, Scope};

    use super::*;
    use crate::replay::{NotJudged, Row};

    fn reported(json: bool) -> io::Result<String> {
        let mut out = Output::kept(json);
        let mut report = Report::new(&mut out)?;
        let by_rule = |reason, scope| Outcome { scope, ..Outcome::by_rule(reason, 0) };
        for (row, times) in [
            (Row::Judged(Outcome::of(Reason::PortClosed)), 3),
            (Row::Judged(by_rule(Reason::Rule, None)), 1),
            (Row::Judged(by_rule(Reason::PacketRate, Some(Scope::PerSource))), 1),
            (Row::Judged(by_rule(Reason::PacketRate, Some(Scope::Total))), 1),
            (Row::Judged(Outcome::of(Reason::Denied).under(true)), 1),
            (Row::Not(NotJudged::Sent), 2),
            (Row::Not(NotJudged::Truncated), 1),
        ] {
            for n in 0..times {
                report.see(Some(5_000_000_000 * n));
                let place = report.place(ReplayOutcome::new(&row, |_| "p2p".to_owned()))?;
                report.row(place)?;
            }
        }
        report.finish(Duration::from_millis(20))?;
        Ok(out.text())
    }

    #[test]
    fn the_sums_are_a_table() -> io::Result<()> {
        assert_eq!(
            reported(false)?,
            "  VERDICT  REASON            RULE  PACKETS\n\
             \x20 pass     monitor (denied)  -           1\n\
             \x20 pass     rule              p2p         1\n\
             \x20 drop     port_closed       -           3\n\
             \x20 drop     packet_rate       p2p         2\n\
             \x20 -        not_judged        -           3\n\
             not judged: 2 that this host sent, 1 that the capture has only the beginning of\n\
             10 records over 10s, judged in 20ms\n"
        );
        Ok(())
    }

    #[test]
    fn json_has_each_record_and_the_sums() -> io::Result<()> {
        let json: serde_json::Value = serde_json::from_str(&reported(true)?)?;
        let packets = json["packets"].as_array().cloned().unwrap_or_default();
        assert_eq!((json["v"].clone(), packets.len()), (1.into(), 10));
        assert_eq!(packets[4]["n"], 5);
        assert_eq!(packets[4]["scope"], "per_source");
        assert_eq!(
            (&packets[9]["verdict"], &packets[9]["reason"]),
            (&serde_json::Value::Null, &"not_judged".into())
        );
        let summary = json["summary"].as_array().cloned().unwrap_or_default();
        assert_eq!(summary.len(), 5);
        assert_eq!(
            (&summary[3]["reason"], &summary[3]["packets"]),
            (&"packet_rate".into(), &2.into())
        );
        Ok(())
    }
}
