//! How a suite went.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// A group of tests.
pub struct Suite {
    /// What it is.
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// How it went.
#[derive(Debug)]
pub enum Outcome {
    /// All passed.
    Passed,
    /// It ran as a part of the one before.
    Included,
    /// Something failed; what, in a few words.
    Failed(String),
    /// It did not run.
    NotRun(NotRun),
}

/// Why a suite did not run.
#[derive(Debug)]
pub struct NotRun {
    why: String,
    /// Set-up should have removed the reason.
    is_fault: bool,
}

impl NotRun {
    /// The machine, or whoever runs it, is not made for it.
    pub fn by_nature(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_fault: false }
    }

    /// Set-up should have removed the reason, and did not.
    pub fn by_fault(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_fault: true }
    }
}

impl From<NotRun> for Outcome {
    fn from(reason: NotRun) -> Self {
        Self::NotRun(reason)
    }
}

impl From<anyhow::Result<()>> for Outcome {
    fn from(result: anyhow::Result<()>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }
}

impl Outcome {
    /// Whether the whole has failed with it.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::NotRun(NotRun { is_fault: true, .. }))
    }
}

impl Display for Suite {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, outcome, took } = self;
        let seconds = took.as_secs();
        match outcome {
            Outcome::Passed => write!(formatter, "passed   {name}: {seconds} s"),
            Outcome::Included => write!(formatter, "         {name}: among these"),
            Outcome::Failed(why) => write!(formatter, "FAILED   {name}: {seconds} s; {why}"),
            Outcome::NotRun(NotRun { why, is_fault: false }) => {
                write!(formatter, "not run  {name}: {why}")
            }
            Outcome::NotRun(NotRun { why, is_fault: true }) => {
                write!(formatter, "NOT RUN  {name}, which set-up should have seen to: {why}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_set_up_should_have_done_is_a_failure() {
        assert!(!Outcome::from(NotRun::by_nature("no veth")).is_failure());
        assert!(Outcome::from(NotRun::by_fault("no qemu")).is_failure());
        assert!(Outcome::from(Err(anyhow::anyhow!("x"))).is_failure());
        assert!(!Outcome::Included.is_failure());
    }
}
