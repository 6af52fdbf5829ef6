//! The policy file.

use std::path::Path;

use super::Finding;
use crate::policy::{self, Errors, Loaded, Mode, Policy};

const CHECK: &str = "policy";

/// The policy, where it is valid, and what is to be said of it.
pub(super) fn examine(file: &Path) -> (Option<Policy>, Vec<Finding>) {
    let shown = file.display();
    let check = format!("nodewall check {shown}");
    match policy::load(&std::path::absolute(file).unwrap_or_else(|_| file.to_owned())) {
        Ok(Loaded { policy, warnings, .. }) => {
            let mut findings: Vec<Finding> = warnings
                .iter()
                .map(|warning| Finding::warning(CHECK, warning.to_string()).mend(check.clone()))
                .collect();
            findings.push(match policy.mode {
                Mode::Enforce => Finding::ok(CHECK, format!("{shown} is valid")),
                Mode::Monitor => Finding::note(
                    CHECK,
                    format!("{shown} is valid, in monitor mode: nothing is dropped"),
                )
                .mend("write `mode = \"enforce\"` when what it counts is what it should drop"),
            });
            (Some(policy), findings)
        }
        Err(Errors(errors)) => {
            let mend = |error: String| Finding::failure(CHECK, error).mend(check.clone());
            (None, errors.iter().map(|error| mend(error.to_string())).collect())
        }
    }
}
