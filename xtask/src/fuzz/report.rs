//! What a fuzzer says of its run.

use std::fmt::{self, Display, Formatter};

/// A run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    executions: u64,
    per_second: u64,
    /// Inputs in its corpus and their length together, as libFuzzer writes it: `312/2111b`.
    corpus: String,
    /// What it found.
    pub finding: Option<Finding>,
}

/// A finding.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, in a line.
    what: String,
    /// The file that it is in.
    file: String,
}

impl Report {
    /// From its log.
    pub fn read(log: &str) -> Self {
        let mut report = Self::default();
        let mut what = None;
        for line in log.lines() {
            let number = |prefix: &str| {
                line.strip_prefix(prefix).and_then(|number| number.trim().parse().ok())
            };
            if let Some(executions) = number("stat::number_of_executed_units:") {
                report.executions = executions;
            } else if let Some(per_second) = number("stat::average_exec_per_sec:") {
                report.per_second = per_second;
            } else if let Some((_, rest)) = line.split_once(" corp: ") {
                report.corpus = rest.split(' ').next().unwrap_or_default().to_owned();
            } else if let Some((_, file)) = line.split_once("Test unit written to ") {
                let what = what.take().unwrap_or_else(|| "see the log".to_owned());
                report.finding = Some(Finding { what, file: file.to_owned() });
            } else if what.as_deref() == Some("") {
                // A panic's message follows the line that says where it was.
                what = Some(line.to_owned());
            } else if line.starts_with("thread '") && line.contains("panicked at") {
                what = Some(String::new());
            } else if what.is_none() && line.contains("ERROR: ") {
                what = line.split_once("ERROR: ").map(|(_, what)| what.to_owned());
            }
        }
        report
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { executions, per_second, corpus, finding } = self;
        write!(formatter, "{executions} executions, {per_second}/s, corpus {corpus}, ")?;
        match finding {
            None => formatter.write_str("no finding"),
            Some(Finding { what, file }) => write!(formatter, "FOUND {what}: {file}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = "\
#16384\tpulse  cov: 1259 ft: 5249 corp: 304/1976b lim: 17 exec/s: 2048 rss: 358Mb
#17332\tDONE   cov: 1296 ft: 5307 corp: 312/2111b lim: 21 exec/s: 1925 rss: 358Mb
Done 17332 runs in 9 second(s)
stat::number_of_executed_units: 17332
stat::average_exec_per_sec:     1925
";

    #[test]
    fn a_run_is_told_in_a_line() {
        let report = Report::read(DONE);
        let line = "17332 executions, 1925/s, corpus 312/2111b, no finding";
        assert_eq!(report.to_string(), line);
    }

    #[test]
    fn a_finding_is_what_the_panic_says() {
        let log = format!(
            "{DONE}thread '<unnamed>' (12) panicked at fuzz/src/state.rs:9:5:\nit owes too much\nnote: run with\n\
             ==12== ERROR: libFuzzer: deadly signal\nartifact_prefix='x/'; Test unit written to x/crash-1\n"
        );
        let finding = Report::read(&log).finding;
        let (what, file) = ("it owes too much".to_owned(), "x/crash-1".to_owned());
        assert_eq!(finding, Some(Finding { what, file }));
    }

    #[test]
    fn what_is_no_panic_is_a_finding_too() {
        let log =
            "==1== ERROR: libFuzzer: timeout after 30 seconds\nTest unit written to x/timeout-1\n";
        let finding = Report::read(log).finding.map(|finding| finding.what);
        assert_eq!(finding.as_deref(), Some("libFuzzer: timeout after 30 seconds"));
    }
}
