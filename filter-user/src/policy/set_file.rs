//! Set files: one address or prefix a line, `#` starts a comment anywhere.

use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::address;
use super::error::ErrorKind;
use super::field::Field;
use super::list::{self, LISTED};
use super::position::{Lines, Position};
use super::read;
use super::report::{Report, SetPlace};
use super::suggest::shown;
use super::warning::WarningKind;

/// The set that a file is for.
pub(super) struct Target<'a> {
    pub name: &'a str,
    pub field: Field<'a>,
    /// Where the policy names the file, in bytes.
    pub at: usize,
}

/// The prefixes that the content of the file at `path` lists, sorted, each
/// once; `None` if any line is bad, which is reported with its line.
pub(super) fn parse(
    bytes: &[u8],
    path: &Path,
    target: &Target<'_>,
    report: &mut Report<'_>,
) -> Option<Arc<[IpNet]>> {
    let place = |position| SetPlace { file: path, set: target.name, position, at: target.at };
    let text = match read::text(bytes) {
        Ok(text) => text,
        Err(before) => {
            let position = Lines::new(before).position(before.len());
            report.error_in_set(&place(Some(position)), target.field, ErrorKind::NotUtf8);
            return None;
        }
    };
    let mut nets = Vec::new();
    let mut whole = true;
    let mut with_host_bits = 0;
    for (line, number) in text.lines().zip(1..) {
        let content = line.split_once('#').map_or(line, |(content, _)| content);
        let word = content.trim();
        if word.is_empty() {
            continue;
        }
        let position = || {
            let before = content.chars().take_while(|c| c.is_whitespace()).count();
            Position { line: number, column: u32::try_from(before + 1).unwrap_or(u32::MAX) }
        };
        match parse_line(word) {
            Ok((network, host_bits)) => {
                nets.push(network);
                if host_bits {
                    with_host_bits += 1;
                    if with_host_bits <= LISTED {
                        let kind = WarningKind::HostBits { written: shown(word), network };
                        report.warn_in_set(&place(Some(position())), target.field, kind);
                    }
                }
            }
            Err(kind) => {
                report.error_in_set(&place(Some(position())), target.field, kind);
                whole = false;
            }
        }
    }
    if let Some(count) = with_host_bits.checked_sub(LISTED).filter(|count| *count > 0) {
        report.warn_in_set(&place(None), target.field, WarningKind::MoreHostBits { count });
    }
    whole.then(|| list::sorted(nets))
}

fn parse_line(word: &str) -> Result<(IpNet, bool), ErrorKind> {
    if word.starts_with('@') {
        return Err(ErrorKind::SetInFile { name: shown(word) });
    }
    Ok(address::parse(word)?)
}
