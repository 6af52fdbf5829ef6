//! Times, such as `"10m"`.

use std::time::Duration;

use super::error::ErrorKind;
use super::report::Report;
use super::section::Entry;
use super::suggest::shown;

const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(366 * 86_400);

/// The time at `entry`; reports what is none.
pub(super) fn read(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Option<Duration> {
    let text = entry.string(report, "a time, such as \"10m\"")?;
    match humantime::parse_duration(text) {
        Ok(time) if (LEAST..=MOST).contains(&time) => Some(time),
        _ => {
            report.error(entry.at, entry.field, ErrorKind::Duration { found: shown(text) });
            None
        }
    }
}
