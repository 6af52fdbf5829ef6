//! Errors and warnings as they travel and are printed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::{PolicyError, Warning};

/// One thing that is wrong. Displays as ``FILE:LINE:COLUMN: field `F`: SENTENCE``,
/// as far as the parts are known; what is not known is null in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A sentence.
    pub error: String,
    /// The policy or set file that it is in.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    /// Such as `rule[2].ports[0]`, counted from 0.
    pub field: Option<String>,
}

impl Problem {
    /// One that is in no file.
    pub fn new(error: impl fmt::Display) -> Self {
        Self { error: error.to_string(), file: None, line: None, column: None, field: None }
    }
}

impl From<&PolicyError> for Problem {
    fn from(error: &PolicyError) -> Self {
        Self {
            error: error.kind.to_string(),
            file: Some(error.file.display().to_string()),
            line: error.line,
            column: error.column,
            field: error.field.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, file, line, column, field } = self;
        write_place(f, file.as_deref(), *line, *column, field.as_deref())?;
        f.write_str(error)
    }
}

/// One thing to think again about; the form is that of [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// A sentence.
    pub warning: String,
    /// The policy or set file that it is in.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    /// Such as `sources.trusted[0]`, counted from 0.
    pub field: Option<String>,
}

impl Note {
    /// One that is in no file.
    pub fn new(warning: impl fmt::Display) -> Self {
        Self { warning: warning.to_string(), file: None, line: None, column: None, field: None }
    }
}

impl From<&Warning> for Note {
    fn from(warning: &Warning) -> Self {
        Self {
            warning: warning.kind.to_string(),
            file: Some(warning.file.display().to_string()),
            line: warning.line,
            column: warning.column,
            field: warning.field.clone(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { warning, file, line, column, field } = self;
        write_place(f, file.as_deref(), *line, *column, field.as_deref())?;
        f.write_str(warning)
    }
}

fn write_place(
    f: &mut fmt::Formatter<'_>,
    file: Option<&str>,
    line: Option<u32>,
    column: Option<u32>,
    field: Option<&str>,
) -> fmt::Result {
    let Some(file) = file else { return Ok(()) };
    write!(f, "{file}:")?;
    for number in line.into_iter().chain(column) {
        write!(f, "{number}:")?;
    }
    if let Some(field) = field {
        write!(f, " field `{field}`:")?;
    }
    f.write_str(" ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_problem_reads_like_the_policy_error_that_it_was() {
        let text = "mode = \"never\"\n[[rule]]\nname = \"a\"\nports = [\"tcp/0\"]\n";
        let Err(errors) = crate::policy::parse(text, Path::new("/etc/p.toml")) else {
            panic!("a bad policy was taken");
        };
        assert!(errors.0.len() > 1);
        for error in &errors.0 {
            assert_eq!(Problem::from(error).to_string(), error.to_string());
            let json = |value| serde_json::to_value(value);
            assert_eq!(json(&Problem::from(error)).ok(), serde_json::to_value(error).ok());
        }
    }

    #[test]
    fn what_is_not_known_is_null() {
        let json = serde_json::to_string(&Problem::new("it broke")).unwrap_or_default();
        assert_eq!(
            json,
            r#"{"error":"it broke","file":null,"line":null,"column":null,"field":null}"#
        );
    }
}
