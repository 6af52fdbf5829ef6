//! Collects what is wrong and what is doubtful while a policy is read.

use std::path::{Path, PathBuf};

use super::error::{ErrorKind, Errors, PolicyError};
use super::field::Field;
use super::position::{Lines, Position};
use super::warning::{Warning, WarningKind};

/// Errors that are listed; the others are counted.
const LISTED: usize = 100;

/// A place in a set's file.
pub(super) struct SetPlace<'a> {
    pub file: &'a Path,
    pub set: &'a str,
    /// `None`: the whole file.
    pub position: Option<Position>,
    /// The byte offset of the set in the policy, which gives the order.
    pub at: usize,
}

/// What was found so far. Nothing stops at the first error.
pub(super) struct Report<'t> {
    file: PathBuf,
    lines: Lines<'t>,
    /// With the byte offsets in the policy that they are sorted by.
    errors: Vec<(usize, PolicyError)>,
    warnings: Vec<(usize, Warning)>,
    unlisted: usize,
}

impl<'t> Report<'t> {
    pub fn new(file: &Path, text: &'t str) -> Self {
        Self {
            file: file.to_owned(),
            lines: Lines::new(text),
            errors: Vec::new(),
            warnings: Vec::new(),
            unlisted: 0,
        }
    }

    /// The line of byte `at`, from 1.
    pub fn line(&self, at: usize) -> u32 {
        self.lines.position(at).line
    }

    /// Whether further errors are only counted: what they say need not be worked out.
    pub fn is_full(&self) -> bool {
        self.errors.len() >= LISTED
    }

    /// Something wrong at byte `at` of the policy.
    pub fn error(&mut self, at: usize, field: Field<'_>, kind: impl Into<ErrorKind>) {
        let position = self.lines.position(at);
        self.add(at, None, Some(position), field, None, kind.into());
    }

    /// The set file that the policy names at `place.at` cannot be read.
    pub fn set_file_error(&mut self, place: &SetPlace<'_>, field: Field<'_>, kind: ErrorKind) {
        let position = self.lines.position(place.at);
        self.add(place.at, None, Some(position), field, Some(place.set), kind);
    }

    /// Something wrong inside of a set's file.
    pub fn error_in_set(
        &mut self,
        place: &SetPlace<'_>,
        field: Field<'_>,
        kind: impl Into<ErrorKind>,
    ) {
        self.add(place.at, Some(place.file), place.position, field, Some(place.set), kind.into());
    }

    fn add(
        &mut self,
        at: usize,
        file: Option<&Path>,
        position: Option<Position>,
        field: Field<'_>,
        set: Option<&str>,
        kind: ErrorKind,
    ) {
        if self.is_full() {
            self.unlisted += 1;
            return;
        }
        let error = PolicyError {
            file: file.unwrap_or(&self.file).to_owned(),
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            field: path(field),
            set: set.map(str::to_owned),
            kind,
        };
        self.errors.push((at, error));
    }

    /// Something doubtful at byte `at` of the policy.
    pub fn warn(&mut self, at: usize, field: Field<'_>, kind: WarningKind) {
        let Position { line, column } = self.lines.position(at);
        let warning = Warning {
            file: self.file.clone(),
            line: Some(line),
            column: Some(column),
            field: path(field),
            kind,
        };
        self.warnings.push((at, warning));
    }

    /// Something doubtful inside of a set's file.
    pub fn warn_in_set(&mut self, place: &SetPlace<'_>, field: Field<'_>, kind: WarningKind) {
        let warning = Warning {
            file: place.file.to_owned(),
            line: place.position.map(|position| position.line),
            column: place.position.map(|position| position.column),
            field: path(field),
            kind,
        };
        self.warnings.push((place.at, warning));
    }

    /// Something doubtful about the whole policy.
    pub fn warn_whole(&mut self, kind: WarningKind) {
        let warning =
            Warning { file: self.file.clone(), line: None, column: None, field: None, kind };
        self.warnings.push((0, warning));
    }

    /// The warnings, or the errors if there are any, in the order of the file.
    pub fn finish(self) -> Result<Vec<Warning>, Errors> {
        let Self { file, lines: _, mut errors, mut warnings, unlisted } = self;
        if errors.is_empty() {
            warnings.sort_by_key(|(at, _)| *at);
            return Ok(warnings.into_iter().map(|(_, warning)| warning).collect());
        }
        errors.sort_by_key(|(at, _)| *at);
        let mut errors: Vec<_> = errors.into_iter().map(|(_, error)| error).collect();
        if unlisted > 0 {
            let kind = ErrorKind::More { count: unlisted };
            errors.push(PolicyError {
                file,
                line: None,
                column: None,
                field: None,
                set: None,
                kind,
            });
        }
        Err(Errors(errors))
    }
}

fn path(field: Field<'_>) -> Option<String> {
    match field {
        Field::Top => None,
        _ => Some(field.to_string()),
    }
}
