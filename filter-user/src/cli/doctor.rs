//! `doctor`.

use std::io::{self, Write};

use serde::Serialize;

use super::{args, error::CliError, output::Output};
use crate::doctor::{self, Finding, Level};

/// What `doctor --json` prints.
#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

pub(super) fn doctor(args: &args::Doctor, out: &mut Output) -> Result<(), CliError> {
    let findings = doctor::examine(&args.config);
    let fails = findings.iter().any(|finding| finding.level == Level::Failure);
    if out.json {
        out.json(&Findings { findings })?;
    } else {
        show(&findings, out)?;
    }
    out.flush()?;
    if fails { Err(CliError::Unfit) } else { Ok(()) }
}

/// The worst last, where it is read first on a terminal.
fn show<W: Write>(findings: &[Finding], out: &mut Output<W>) -> io::Result<()> {
    let mut findings: Vec<&Finding> = findings.iter().collect();
    findings.sort_by_key(|finding| finding.level);
    for Finding { check, level, what, mend } in &findings {
        out.line(format_args!("{:<8} {check}: {what}", level.name()))?;
        if let Some(mend) = mend {
            out.line(format_args!("         -> {mend}"))?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let summary = match (count(Level::Failure), count(Level::Warning)) {
        (0, 0) => "this host can run nodewall, and well".to_owned(),
        (0, warnings) => format!("this host can run nodewall; warnings: {warnings}"),
        (failures, warnings) => format!(
            "this host cannot run nodewall as it is; failures: {failures}, warnings: {warnings}"
        ),
    };
    out.line(format_args!("\n{summary}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_last_with_what_mends_it() -> io::Result<()> {
        let finding = |level, mend: Option<&str>| Finding {
            check: "jit",
            level,
            what: "it is so".to_owned(),
            mend: mend.map(str::to_owned),
        };
        let mut out = Output::kept(false);
        show(&[finding(Level::Failure, Some("mend it")), finding(Level::Ok, None)], &mut out)?;
        assert_eq!(
            out.text(),
            "ok       jit: it is so\nfailure  jit: it is so\n         -> mend it\n\n\
             this host cannot run nodewall as it is; failures: 1, warnings: 0\n"
        );
        let mut out = Output::kept(false);
        show(&[finding(Level::Note, None)], &mut out)?;
        assert!(out.text().ends_with("this host can run nodewall, and well\n"));
        Ok(())
    }
}
