//! The tables at the end.

use std::path::Path;

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};

use super::boot::{Boot, Outcome};
use super::budget;
use super::console::Measures;
use super::kernels::Unpacked;

/// One kernel's run.
pub struct Run {
    /// What was booted.
    pub unpacked: Unpacked,
    /// How it went; an error where no guest could be started.
    pub boot: Result<Boot>,
}

impl Run {
    /// Whether everything is as it should be.
    pub fn passed(&self) -> bool {
        self.failures().is_empty()
    }

    /// In one sentence, how it ended.
    pub fn verdict(&self) -> String {
        match self.failures().as_slice() {
            [] if self.unpacked.kernel.is_supported() => "passed".to_owned(),
            [] => "refuses, as it should".to_owned(),
            failures => failures.join("; "),
        }
    }

    fn failures(&self) -> Vec<String> {
        let boot = match &self.boot {
            Err(error) => return vec![format!("did not start: {error:#}")],
            Ok(boot) => boot,
        };
        let mut failures = Vec::new();
        if !matches!(boot.outcome, Outcome::Passed) {
            failures.push(boot.outcome.to_string());
        }
        let [passed, failed] = boot.transcript.totals();
        if failures.is_empty() && self.unpacked.kernel.is_supported() && passed + failed == 0 {
            failures.push("failed: no test ran".to_owned());
        }
        let programs = &boot.transcript.programs;
        failures.extend(
            programs.iter().flat_map(|(program, found)| {
                budget::exceeded(self.unpacked.kernel, program, found)
            }),
        );
        failures
    }

    /// `6.1: 262 passed, 0 failed, 1 skipped`, and a line for each that was skipped, with its reason.
    pub fn tests(&self) -> String {
        let Ok(Boot { transcript, .. }) = &self.boot else {
            return format!("{}: no test ran", self.unpacked.kernel.name());
        };
        let [passed, failed] = transcript.totals();
        let skipped: Vec<_> =
            transcript.skipped().map(|(name, why)| format!("{name}: {why}")).collect();
        let mut text = format!(
            "{}: {passed} passed, {failed} failed, {} skipped",
            self.unpacked.kernel.name(),
            skipped.len()
        );
        for line in skipped {
            text.push_str(&format!("\n      skipped {line}"));
        }
        text
    }

    /// The verdict, and after a failure the last lines of the console, which is whole in the file `log`.
    pub fn summary(&self, log: &Path) -> String {
        let name = self.unpacked.kernel.name();
        let mut text = format!("{name:<5} {}\n", self.verdict());
        if let Ok(boot) = &self.boot
            && !self.passed()
            && !boot.tail.is_empty()
        {
            text.push_str(&format!(
                "{name:<5} the last lines of its console until then; all of it is in {}\n",
                log.display()
            ));
            for line in &boot.tail {
                text.push_str(&format!("{name:<5} | {line}\n"));
            }
        }
        text
    }
}

/// Kernel, version, whether it booted, tests, seconds, verdict.
pub fn kernels(runs: &[Run]) -> String {
    const HEADER: [&str; 8] =
        ["kernel", "version", "boots", "passed", "failed", "skipped", "seconds", "verdict"];
    let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
    for run in runs {
        let Unpacked { kernel, version, .. } = &run.unpacked;
        let mut row = vec![kernel.name().to_owned(), version.clone()];
        match &run.boot {
            Ok(Boot { transcript, took, .. }) => {
                let boots = transcript.user_space;
                row.push(boots.map_or("no".to_owned(), |seconds| format!("in {seconds:.1} s")));
                row.extend(transcript.totals().map(|tests| tests.to_string()));
                row.push(transcript.skipped().count().to_string());
                row.push(format!("{:.1}", took.as_secs_f64()));
            }
            Err(_) => row.extend(["no", "-", "-", "-", "-"].map(str::to_owned)),
        }
        row.push(run.verdict());
        rows.push(row);
    }
    aligned(&rows)
}

/// What each kernel made of each program, and the budget for it; nothing if no test said so.
pub fn programs(runs: &[Run]) -> Option<String> {
    let mut rows = vec![vec!["program".to_owned(), "kernel".to_owned()]];
    rows[0].extend(Measures::default().all().map(|(name, _)| format!("{name} (budget)")));
    let boots = runs.iter().filter_map(|run| Some((run, run.boot.as_ref().ok()?)));
    for (run, boot) in boots {
        let kernel = run.unpacked.kernel;
        for (program, found) in &boot.transcript.programs {
            let budget = budget::budget(kernel, program).unwrap_or_default();
            let mut row = vec![program.clone(), kernel.name().to_owned()];
            let pairs = found.all().into_iter().zip(budget.all());
            row.extend(pairs.map(|((_, found), (_, budget))| format!("{found} ({budget})")));
            rows.push(row);
        }
    }
    rows[1..].sort();
    (rows.len() > 1).then(|| aligned(&rows))
}

/// Columns under each other, without lines, never folded.
fn aligned(rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.add_rows(rows);
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::console::Transcript;
    use super::super::kernels::Kernel;
    use super::*;

    /// A guest of 6.1 that ended well, with this on its console.
    fn run(console: &str) -> Run {
        let mut transcript = Transcript::default();
        for line in console.lines() {
            transcript.line(line);
        }
        let (took, tail) = (Duration::ZERO, vec![]);
        let boot = Ok(Boot { outcome: Outcome::Passed, transcript, took, tail });
        let unpacked = Unpacked {
            kernel: Kernel::V6_1,
            version: "6.1.0".to_owned(),
            image: PathBuf::new(),
            modules: PathBuf::new(),
            note: None,
        };
        Run { unpacked, boot }
    }

    #[test]
    fn a_program_over_its_budget_fails_the_run() {
        let within = budget::budget(Kernel::V6_1, "nodewall").expect("it has one");
        let console = |insns: u64| {
            let Measures { xlated, jited, stack, .. } = within;
            format!(
                "VMCOMMAND measures\ntest verified ... VERIFIED program=nodewall insns={insns} xlated={xlated} jited={jited} stack={stack}\nok"
            )
        };
        let run_within = run(&console(within.insns));
        assert_eq!((run_within.passed(), run_within.verdict().as_str()), (true, "passed"));
        let over = run(&console(within.insns + 1));
        assert!(!over.passed());
        let words =
            format!("nodewall has {} insns, and the budget is {}", within.insns + 1, within.insns);
        assert_eq!(over.verdict(), words);
        let table = programs(&[over]).expect("a table");
        assert!(table.contains(&format!("{} ({})", within.insns + 1, within.insns)), "{table}");
    }

    #[test]
    fn what_was_skipped_is_named_with_its_reason() {
        let one = run("VMCOMMAND e2e\ntest a ... ok\ntest b ... skipped: no clock\nok");
        assert_eq!(one.tests(), "6.1: 1 passed, 0 failed, 1 skipped\n      skipped b: no clock");
        assert!(!run("VMCOMMAND e2e").passed(), "no test ran");
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "bb".to_owned(), "c".to_owned()],
            vec!["aaa".into(), "b".into(), "ccc".into()],
        ];
        let lines: Vec<_> = aligned(&rows).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].find("bb"), lines[1].find('b'));
        assert_eq!(lines[0].find('c'), lines[1].find('c'));
    }
}
