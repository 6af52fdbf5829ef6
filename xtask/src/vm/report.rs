//! The tables at the end.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};

use super::boot::{Boot, Outcome};
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
        self.boot
            .as_ref()
            .is_ok_and(|boot| matches!(boot.outcome, Outcome::Passed) && !self.is_hollow(boot))
    }

    /// A guest that ran no test proves nothing.
    fn is_hollow(&self, boot: &Boot) -> bool {
        let [passed, failed, _] = boot.transcript.totals();
        self.unpacked.kernel.is_supported() && passed + failed == 0
    }

    /// In one sentence, how it ended.
    pub fn verdict(&self) -> String {
        match &self.boot {
            Err(error) => format!("did not start: {error:#}"),
            Ok(boot) if !matches!(boot.outcome, Outcome::Passed) => boot.outcome.to_string(),
            Ok(boot) if self.is_hollow(boot) => "failed: no test ran".to_owned(),
            Ok(_) if self.unpacked.kernel.is_supported() => "passed".to_owned(),
            Ok(_) => "refuses, as it should".to_owned(),
        }
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
        ["kernel", "version", "boots", "passed", "failed", "ignored", "seconds", "verdict"];
    let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
    for run in runs {
        let Unpacked { kernel, version, .. } = &run.unpacked;
        let mut row = vec![kernel.name().to_owned(), version.clone()];
        match &run.boot {
            Ok(Boot { transcript, took, .. }) => {
                let boots = transcript.user_space;
                row.push(boots.map_or("no".to_owned(), |seconds| format!("in {seconds:.1} s")));
                row.extend(transcript.totals().map(|tests| tests.to_string()));
                row.push(format!("{:.1}", took.as_secs_f64()));
            }
            Err(_) => row.extend(["no", "-", "-", "-", "-"].map(str::to_owned)),
        }
        row.push(run.verdict());
        rows.push(row);
    }
    aligned(&rows)
}

/// The verified instructions of each program on each kernel; nothing if no test printed any.
pub fn verified(runs: &[Run]) -> Option<String> {
    let counts = |run: &Run| {
        run.boot.as_ref().map(|boot| boot.transcript.verified.clone()).unwrap_or_default()
    };
    let programs: BTreeSet<_> = runs.iter().flat_map(|run| counts(run).into_keys()).collect();
    if programs.is_empty() {
        return None;
    }
    let mut rows = vec![vec!["verified instructions".to_owned()]];
    rows[0].extend(programs.iter().cloned());
    for run in runs.iter().filter(|run| run.unpacked.kernel.is_supported()) {
        let counts = counts(run);
        let mut row = vec![run.unpacked.kernel.name().to_owned()];
        row.extend(
            programs
                .iter()
                .map(|program| counts.get(program).map_or("-".to_owned(), u64::to_string)),
        );
        rows.push(row);
    }
    Some(aligned(&rows))
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
    use super::*;

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
