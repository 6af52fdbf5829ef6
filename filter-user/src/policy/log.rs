//! `[log]`: what is told of single packets.

use super::model::Log;
use super::rate;
use super::report::Report;
use super::schema::LOG;
use super::section::Entry;

/// What is logged.
pub(super) fn read(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Log {
    let expected = "a table, as in `[log]` with `drops = { rate = \"50/s\" }`";
    let mut log = Log::default();
    let Some(section) = entry.section(&LOG, report, expected) else { return log };
    if let Some(entry) = section.get("drops") {
        log.drops = rate::read_or_false(&entry, report);
    }
    log
}
