//! The policy: what its file says, read and judged.
//!
//! [`load`] and [`parse`] turn TOML text and the set files that it names into
//! a [`Policy`], in which nothing is left to look up, or into everything that
//! is wrong with it, each with file, line, column and field. [`diff()`] tells
//! what changes between two. Nothing here knows of the kernel.

#![forbid(unsafe_code)]

mod address;
mod conflicts;
pub(crate) mod describe;
mod diff;
mod document;
mod duration;
mod error;
mod field;
mod interfaces;
mod list;
mod log;
mod metrics;
mod model;
mod name;
mod ports;
mod position;
mod protocols;
mod rate;
mod read;
mod report;
mod rules;
mod schema;
mod section;
mod set_file;
mod sets;
mod sources;
mod suggest;
#[cfg(test)]
mod tests;
mod warning;

use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use self::address::{AddressError, parse as parse_network};
pub use self::diff::{Change, ChangeKind, Listed, diff};
pub use self::error::{ErrorKind, Errors, KeyHint, PolicyError};
pub use self::model::{
    Attach, FlowTables, Icmp, Limits, Log, Mode, OnStop, Period, Policy, PortRange, Prefixes,
    Protocol, Rate, Rule, Source, Tables,
};
pub(crate) use self::name::is_valid_interface;
pub use self::ports::PortError;
pub use self::protocols::shown as protocol_name;
pub use self::rate::{RateError, Unit};
pub use self::read::{ReadError, read_file};
pub(crate) use self::suggest::without_controls;
pub use self::warning::{Warning, WarningKind};

use self::field::Field;
use self::position::Lines;
use self::report::Report;

/// A policy that may be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What it means.
    pub policy: Policy,
    /// What its author should think again about, in the order of the file.
    pub warnings: Vec<Warning>,
    /// The files that its sets were read from, by the name of the set.
    pub set_files: Vec<SetFile>,
}

/// A file that a set is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetFile {
    /// The set's name.
    pub name: String,
    /// Absolute.
    pub path: PathBuf,
}

/// Reads and judges the policy file at `path` and the set files that it
/// names, whose paths are relative to its directory.
///
/// # Errors
///
/// Everything that is wrong, or that the file cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Errors> {
    parse(&read_text(path)?, path)
}

/// The text of the policy file at `path`, not judged.
///
/// # Errors
///
/// When the file cannot be read, or is no text.
pub fn read_text(path: &Path) -> Result<String, Errors> {
    let whole = |kind| PolicyError {
        file: path.to_owned(),
        line: None,
        column: None,
        field: None,
        set: None,
        kind,
    };
    let bytes = read_file(path).map_err(|error| Errors(vec![whole(ErrorKind::Policy(error))]))?;
    match read::text(&bytes) {
        Ok(_) => Ok(String::from_utf8(bytes).unwrap_or_default()),
        Err(before) => {
            let position = Lines::new(before).position(before.len());
            let mut error = whole(ErrorKind::NotUtf8);
            error.line = Some(position.line);
            error.column = Some(position.column);
            Err(Errors(vec![error]))
        }
    }
}

/// Judges `text` as the policy file `path`, which itself is not read: errors
/// name it, and the set files' paths are relative to its directory.
///
/// # Errors
///
/// Everything that is wrong.
pub fn parse(text: &str, path: &Path) -> Result<Loaded, Errors> {
    parse_with(text, path, &mut read_file)
}

/// [`parse`], with set files read by `read`, which is given absolute paths:
/// so can a controller put what it remembers in the place of a file that has
/// become unreadable or bad ([`PolicyError::set`] tells which).
///
/// # Errors
///
/// Everything that is wrong.
pub fn parse_with(
    text: &str,
    path: &Path,
    read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, ReadError>,
) -> Result<Loaded, Errors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::new(path, text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    let (policy, set_files) = if syntax.is_empty() {
        let folder = path.parent().unwrap_or(Path::new(""));
        document::read(document.get_ref(), folder, read, &mut report)
    } else {
        // What could be made of the rest would be guesses.
        report_syntax(syntax, &mut report);
        Default::default()
    };
    let warnings = report.finish()?;
    Ok(Loaded { policy, warnings, set_files })
}

/// One error a line: the parser finds the same slip again and again in what follows it.
fn report_syntax(mut errors: Vec<toml::de::Error>, report: &mut Report<'_>) {
    let at = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    errors.sort_by_key(at);
    let mut last = None;
    for error in errors {
        let at = at(&error);
        let line = report.line(at);
        if last.replace(line) != Some(line) {
            report.error(at, Field::Top, ErrorKind::Syntax { message: error.message().to_owned() });
        }
    }
}
