//! What the daemon answers.

use serde::{Deserialize, Serialize};

use super::{Problem, VERSION};

/// The answer to one request: a result, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response<T> {
    /// [`VERSION`].
    pub v: u32,
    /// What was asked for; its type goes with the command.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub result: Option<T>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl<T> Response<T> {
    /// It was done.
    pub const fn done(result: T) -> Self {
        Self { v: VERSION, result: Some(result), failure: None }
    }

    /// It was not done.
    pub const fn failed(failure: Failure) -> Self {
        Self { v: VERSION, result: None, failure: Some(failure) }
    }
}

/// Why something was not done. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure it is.
    pub code: FailureCode,
    /// At least one.
    pub errors: Vec<Problem>,
}

impl Failure {
    /// One with one sentence.
    pub fn new(code: FailureCode, error: impl std::fmt::Display) -> Self {
        Self { code, errors: vec![Problem::new(error)] }
    }
}

/// Kinds of failure, as the exit codes of the command line tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// It was tried, and failed: exit code 1.
    Failed,
    /// The request or the policy in it is not valid: exit code 2.
    Invalid,
    /// It is not allowed: exit code 4.
    Refused,
}
