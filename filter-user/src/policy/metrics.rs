//! `[metrics]`: where they are served.

use std::net::SocketAddr;

use super::error::ErrorKind;
use super::model::METRICS as DEFAULT;
use super::report::Report;
use super::schema::METRICS;
use super::section::Entry;
use super::suggest::shown;
use super::warning::WarningKind;

/// The address to listen on; `None`: metrics are not served.
pub(super) fn read(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let section = entry.section(
        &METRICS,
        report,
        "a table, as in `[metrics]` with `listen = \"127.0.0.1:9551\"`",
    )?;
    let Some(listen) = section.get("listen") else { return Some(DEFAULT) };
    match listen.as_bool() {
        Some(false) => return None,
        Some(true) => {
            let expected = "false, or an address with a port, as in \"127.0.0.1:9551\"";
            let kind = ErrorKind::WrongType { found: "true", expected };
            report.error(listen.at, listen.field, kind);
            return None;
        }
        None => {}
    }
    let text =
        listen.string(report, "an address with a port, as in \"127.0.0.1:9551\", or false")?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => {
            if !address.ip().to_canonical().is_loopback() {
                let kind = WarningKind::MetricsExposed { listen: address };
                report.warn(listen.at, listen.field, kind);
            }
            Some(address)
        }
        _ => {
            report.error(listen.at, listen.field, ErrorKind::Listen { found: shown(text) });
            None
        }
    }
}
