//! `check`, `apply`, `reload` and `diff`.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    args,
    error::CliError,
    output::{Output, warn},
};
use crate::{
    compile::{Numbers, compile},
    control::{Applied, Client, Command, Difference, Note, PolicyText, Problem},
    daemon::DaemonError,
    policy::{self, Change, Errors, Policy},
};

/// What `check --json` prints.
#[derive(Serialize)]
struct Checked {
    valid: bool,
    file: String,
    mode: String,
    rules: usize,
    changes: Vec<Change>,
    warnings: Vec<Note>,
}

/// Judges a file without a daemon.
pub(super) fn check(args: &args::Check, out: &mut Output) -> Result<(), CliError> {
    let file = absolute(&args.file);
    let loaded = policy::load(&file).map_err(invalid)?;
    // What does not fit into tables is not valid either.
    compile(&loaded.policy, &mut Numbers::of_rules(), &mut Numbers::of_interfaces())
        .map_err(DaemonError::from)?;
    let checked = Checked {
        valid: true,
        file: file.display().to_string(),
        mode: loaded.policy.mode.to_string(),
        rules: loaded.policy.rules.len(),
        changes: policy::diff(&Policy::default(), &loaded.policy),
        warnings: loaded.warnings.iter().map(Note::from).collect(),
    };
    if out.json {
        return Ok(out.json(&checked)?);
    }
    warn(&checked.warnings);
    let rules = counted(checked.rules, "rule");
    out.line(format_args!(
        "{} is valid: {}, {rules}; an empty policy, and:",
        checked.file, checked.mode
    ))?;
    Ok(list(&checked.changes, out)?)
}

/// Puts a file in force.
pub(super) fn apply(socket: &Path, args: &args::Apply, out: &mut Output) -> Result<(), CliError> {
    let policy = args.file.as_deref().map(read).transpose()?;
    let confirm_ms = args.confirm.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let command = Command::Apply { policy, confirm_ms, force: args.force };
    let applied: Applied = Client::connect(socket)?.ask(command)?;
    show_applied(&applied, "applied", out)
}

/// Puts the daemon's own file in force.
pub(super) fn reload(socket: &Path, args: &args::Reload, out: &mut Output) -> Result<(), CliError> {
    let command = Command::Apply { policy: None, confirm_ms: None, force: args.force };
    let applied: Applied = Client::connect(socket)?.ask(command)?;
    show_applied(&applied, "applied", out)
}

/// Keeps what was applied last.
pub(super) fn confirm(socket: &Path, out: &mut Output) -> Result<(), CliError> {
    let applied: Applied = Client::connect(socket)?.ask(Command::Confirm)?;
    if out.json {
        return Ok(out.json(&applied)?);
    }
    warn(&applied.warnings);
    let Applied { file, generation, .. } = applied;
    Ok(out.line(format_args!("confirmed {file}, generation {generation}"))?)
}

/// Takes back what was applied last.
pub(super) fn rollback(
    socket: &Path,
    args: &args::Rollback,
    out: &mut Output,
) -> Result<(), CliError> {
    let applied: Applied = Client::connect(socket)?.ask(Command::Rollback { force: args.force })?;
    show_applied(&applied, "went back to", out)
}

fn show_applied(applied: &Applied, what: &str, out: &mut Output) -> Result<(), CliError> {
    if out.json {
        return Ok(out.json(applied)?);
    }
    warn(&applied.warnings);
    list(&applied.changes, out)?;
    let Applied { changes, generation, file, until_reload, .. } = applied;
    if changes.is_empty() {
        out.line(format_args!(
            "no change: {file} means what is in force, generation {generation}"
        ))?;
    } else {
        let changes = counted(changes.len(), "change");
        out.line(format_args!("{what} {file}: {changes}, generation {generation}"))?;
    }
    if let Some(until) = &applied.pending_until {
        out.line(format_args!(
            "it is taken back at {until}, unless `nodewall confirm` comes before"
        ))?;
    }
    if *until_reload {
        out.line("it holds until the next reload or start, which load the daemon's own file")?;
    }
    Ok(())
}

/// Compares, and changes nothing.
pub(super) fn diff(socket: &Path, args: &args::Diff, out: &mut Output) -> Result<(), CliError> {
    let policy = args.file.as_deref().map(read).transpose()?;
    let difference: Difference = Client::connect(socket)?.ask(Command::Diff { policy })?;
    if out.json {
        return Ok(out.json(&difference)?);
    }
    warn(&difference.warnings);
    list(&difference.changes, out)?;
    if difference.changes.is_empty() {
        out.line(format_args!("no change: {} means what is in force", difference.file))?;
    }
    Ok(())
}

fn list(changes: &[Change], out: &mut Output) -> io::Result<()> {
    changes.iter().try_for_each(|change| out.line(change))
}

/// The text of a policy file, for the daemon to judge.
fn read(file: &Path) -> Result<PolicyText, CliError> {
    let file = absolute(file);
    let text = policy::read_text(&file).map_err(invalid)?;
    Ok(PolicyText { file, text })
}

pub(super) fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

pub(super) fn invalid(Errors(errors): Errors) -> CliError {
    CliError::Invalid(errors.iter().map(Problem::from).collect())
}

/// `1 rule`, `2 rules`.
fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
