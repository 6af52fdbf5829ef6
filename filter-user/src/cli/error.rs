//! Why a command failed, and the exit code that says so.

use std::io::{self, Write as _};

use thiserror::Error;

use crate::{
    capture::CaptureError,
    control::{ClientError, Failure, FailureCode, Problem},
    daemon::DaemonError,
    dataplane::ProbeError,
    packet::PacketError,
};

/// The exit codes of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// It was done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// Usage, or a policy that is not valid.
    Usage = 2,
    /// The daemon is not running.
    NotRunning = 3,
    /// Refused, or no permission.
    Refused = 4,
}

/// Why a command failed.
#[derive(Debug, Error)]
pub(super) enum CliError {
    /// The daemon is not reached, or says no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The daemon did not start.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A file that is not valid, with everything that is wrong with it.
    #[error("the file is not valid")]
    Invalid(Vec<Problem>),
    /// The list of bans cannot be read.
    #[error("{file} {reason}")]
    Read {
        /// Its name.
        file: String,
        /// Why.
        reason: crate::policy::ReadError,
    },
    /// A text that is no packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A capture, or the rest of one, cannot be read.
    #[error("{file}: {reason}")]
    Capture {
        /// Its name.
        file: String,
        /// Why.
        reason: CaptureError,
    },
    /// A question and nobody to answer it.
    #[error(
        "`detach` leaves every interface unguarded, and there is no terminal to ask on: add `--yes`"
    )]
    NobodyToAsk,
    /// The answer was no.
    #[error("nothing was detached")]
    NotConfirmed,
    /// No daemon to detach.
    #[error("no nodewall daemon listens on {}, and nothing is pinned that one has left: there is nothing to detach (`--socket` and `--pins` name those of another instance)", .0.display())]
    NothingToDetach(std::path::PathBuf),
    /// An interface that should be guarded, and is not.
    #[error("interface {name} is not guarded: {why}")]
    NotGuarded {
        /// Its name.
        name: String,
        /// The daemon's words.
        why: String,
    },
    /// The doctor found something that must be mended, and has said what.
    #[error("this host cannot run nodewall as it is")]
    Unfit,
    /// Standard output or the terminal is broken.
    #[error("the output could not be written ({0}): see that there is room where it goes")]
    Output(#[from] io::Error),
}

impl From<ProbeError> for CliError {
    fn from(error: ProbeError) -> Self {
        DaemonError::from(error).into()
    }
}

impl CliError {
    /// The exit code.
    pub(super) fn exit(&self) -> Exit {
        let of_code = |code| match code {
            FailureCode::Failed => Exit::Failed,
            FailureCode::Invalid => Exit::Usage,
            FailureCode::Refused => Exit::Refused,
        };
        match self {
            Self::Client(ClientError::NotRunning(_)) | Self::NothingToDetach(_) => Exit::NotRunning,
            Self::Client(ClientError::NotPermitted(_)) => Exit::Refused,
            Self::Client(ClientError::Failure(failure)) => of_code(failure.code),
            Self::Daemon(error) => of_code(error.code()),
            Self::Invalid(_) | Self::NobodyToAsk | Self::Packet(_) => Exit::Usage,
            // Whoever reads has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Client(_)
            | Self::Read { .. }
            | Self::Capture { .. }
            | Self::NotConfirmed
            | Self::NotGuarded { .. }
            | Self::Unfit
            | Self::Output(_) => Exit::Failed,
        }
    }

    /// Prints it to standard error: sentences, or one JSON object a line.
    pub(super) fn print(&self, json: bool) {
        // What the doctor found was printed already.
        if self.exit() == Exit::Done || matches!(self, Self::Unfit) {
            return;
        }
        let problems = match self {
            Self::Client(ClientError::Failure(failure)) => failure.errors.clone(),
            Self::Daemon(error) => Failure::from(error).errors,
            Self::Packet(error) => Failure::from(error.clone()).errors,
            Self::Invalid(problems) => problems.clone(),
            other => vec![Problem::new(other)],
        };
        let mut err = io::stderr().lock();
        for problem in problems {
            // There is nowhere left to say that this failed.
            let _ = if json {
                writeln!(err, "{}", serde_json::to_string(&problem).unwrap_or_default())
            } else {
                writeln!(err, "error: {problem}")
            };
        }
    }
}
