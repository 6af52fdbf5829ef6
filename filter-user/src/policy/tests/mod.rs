//! The policy, judged by what its author would read.
//!
//! In the texts of these tests a `¦` marks where the error or warning must
//! point; it is taken out before the text is parsed.

mod addresses;
mod conflicts;
mod contract;
mod differences;
mod keys;
mod limits;
mod meaning;
mod metrics;
mod rules;
mod scale;
mod set_files;
mod sets;

use std::path::Path;

use super::{Errors, Loaded, PolicyError, ReadError, Warning, parse_with};

const FILE: &str = "/etc/nodewall/nodewall.toml";

/// Parses `text` as [`FILE`], where no set file exists.
fn parse(text: &str) -> Result<Loaded, Errors> {
    parse_with(text, Path::new(FILE), &mut |_| Err(ReadError::Missing))
}

/// What `text` means, without a warning.
#[track_caller]
fn good(text: &str) -> super::Policy {
    let loaded = loaded(text);
    assert!(loaded.warnings.is_empty(), "{text}\n{:?}", loaded.warnings);
    loaded.policy
}

#[track_caller]
fn loaded(text: &str) -> Loaded {
    parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

#[track_caller]
fn errors(text: &str) -> Vec<PolicyError> {
    match parse(text) {
        Ok(loaded) => panic!("no error in\n{text}\nbut {loaded:?}"),
        Err(Errors(errors)) => errors,
    }
}

/// The text without its marks, and the line and column of each.
fn marks(text: &str) -> (String, Vec<(u32, u32)>) {
    let mut marks = Vec::new();
    let (mut line, mut column) = (1, 1);
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '¦' => {
                marks.push((line, column));
                continue;
            }
            '\n' => (line, column) = (line + 1, 1),
            _ => column += 1,
        }
        plain.push(c);
    }
    (plain, marks)
}

/// One fault: the text with its mark, the field, and a piece of the sentence.
type Fault = (&'static str, &'static str, &'static str);

/// Each text has exactly the one error that its mark, field and sentence say.
#[track_caller]
fn each_is_refused(faults: &[Fault]) {
    for (marked, field, sentence) in faults {
        let (text, marks) = marks(marked);
        let errors = errors(&text);
        assert_eq!(errors.len(), 1, "{marked}\n{}", Errors(errors));
        let error = &errors[0];
        assert_eq!(error.file, Path::new(FILE), "{marked}");
        let place = (error.line.unwrap_or(0), error.column.unwrap_or(0));
        assert_eq!(vec![place], marks, "{marked}\n{error}");
        assert_eq!(error.field.as_deref().unwrap_or(""), *field, "{marked}\n{error}");
        assert!(error.kind.to_string().contains(sentence), "{marked}\n{error}");
    }
}

/// Each text is valid and has exactly the one warning that its mark, field and sentence say.
#[track_caller]
fn each_is_warned_of(faults: &[Fault]) {
    for (marked, field, sentence) in faults {
        let (text, marks) = marks(marked);
        let warnings = loaded(&text).warnings;
        let warnings: Vec<_> =
            warnings.into_iter().filter(|warning| warning.line.is_some()).collect();
        let [warning] = warnings.as_slice() else {
            panic!("not one warning in {marked}\n{}", listed(&warnings));
        };
        assert_eq!(warning.file, Path::new(FILE), "{marked}");
        let place = (warning.line.unwrap_or(0), warning.column.unwrap_or(0));
        assert_eq!(vec![place], marks, "{marked}\n{warning}");
        assert_eq!(warning.field.as_deref().unwrap_or(""), *field, "{marked}\n{warning}");
        assert!(warning.kind.to_string().contains(sentence), "{marked}\n{warning}");
    }
}

fn listed(warnings: &[Warning]) -> String {
    warnings.iter().map(|warning| format!("{warning}\n")).collect()
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn nets(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts.iter().map(|text| net(text)).collect()
}
