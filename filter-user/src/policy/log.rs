//! `[log]`: what is told of single packets, and of flows.

use std::path::{Path, PathBuf};

use super::error::ErrorKind;
use super::model::Log;
use super::rate;
use super::report::Report;
use super::schema::LOG;
use super::section::Entry;

/// What is logged.
pub(super) fn read(entry: &Entry<'_, '_>, folder: &Path, report: &mut Report<'_>) -> Log {
    let expected = "a table, as in `[log]` with `drops = { rate = \"50/s\" }`";
    let mut log = Log::default();
    let Some(section) = entry.section(&LOG, report, expected) else { return log };
    if let Some(entry) = section.get("drops") {
        log.drops = rate::read_or_false(&entry, report);
    }
    if let Some(entry) = section.get("flows") {
        log.flows = read_flows(&entry, folder, report);
    }
    log
}

/// A file, its path relative to the policy's; or `false`.
fn read_flows(entry: &Entry<'_, '_>, folder: &Path, report: &mut Report<'_>) -> Option<PathBuf> {
    if entry.as_bool() == Some(false) {
        return None;
    }
    let expected = "false, or a file as in `flows = \"/var/log/nodewall/flows.log\"`";
    let path = Path::new(entry.string(report, expected)?);
    if path.file_name().is_none() {
        let found = "a path that names no file";
        report.error(entry.at, entry.field, ErrorKind::WrongType { found, expected });
        return None;
    }
    Some(folder.join(path))
}
