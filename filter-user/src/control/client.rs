//! The side of the command line: blocking, one request after the other.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{Command, Failure, LONGEST_LINE, Request, Response, VERSION};

/// For an answer; a switch to the largest policy takes seconds at worst.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
}

/// Why there is no result.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "no nodewall daemon listens on {}: start one with `nodewall run`, or name its socket with `--socket`", .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket may not be opened.
    #[error("this user may not open the control socket {}: use sudo, or run as root", .0.display())]
    NotPermitted(PathBuf),
    /// The connection broke.
    #[error("the connection to the daemon at {} failed: {reason}; try again, and look into the daemon's log", .socket.display())]
    Connection {
        /// Where.
        socket: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// What came back is no answer.
    #[error("the daemon at {} did not answer in the control protocol {VERSION} ({reason}): use a command line of the daemon's version", .socket.display())]
    Protocol {
        /// Where.
        socket: PathBuf,
        /// Why.
        reason: String,
    },
    /// The daemon says why not.
    #[error("the daemon did not do it")]
    Failure(Failure),
}

impl Client {
    /// Connects to the daemon that listens at `socket`.
    ///
    /// # Errors
    ///
    /// When none does, or this user may not.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let failed = |reason: io::Error| match reason.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotADirectory => ClientError::NotRunning(socket.to_owned()),
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted(socket.to_owned()),
            _ => ClientError::Connection { socket: socket.to_owned(), reason },
        };
        let stream = UnixStream::connect(socket).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self { stream: BufReader::new(stream), socket: socket.to_owned() })
    }

    /// Asks, and waits for the answer. `T` is what [`Command`] says.
    ///
    /// # Errors
    ///
    /// What the daemon says, or that it says nothing.
    pub fn ask<T: DeserializeOwned>(&mut self, command: Command) -> Result<T, ClientError> {
        let mut line =
            serde_json::to_string(&Request::from(command)).map_err(|error| self.broken(error))?;
        line.push('\n');
        // A daemon that refuses the caller answers before it has read a request.
        let sent = self.stream.get_mut().write_all(line.as_bytes());
        self.receive(sent)
    }

    /// Sends what follows a request, and does not wait for the answer, so that
    /// the daemon has the next when it is through with the one before.
    ///
    /// # Errors
    ///
    /// What the daemon says in the place of taking it, or that it is gone.
    pub fn send_more(&mut self, more: &impl Serialize) -> Result<(), ClientError> {
        let mut line = serde_json::to_string(more).map_err(|error| self.broken(error))?;
        line.push('\n');
        match self.stream.get_mut().write_all(line.as_bytes()) {
            Ok(()) => Ok(()),
            // It may have said why.
            Err(error) => self.receive::<serde::de::IgnoredAny>(Err(error)).map(drop),
        }
    }

    /// Waits for the answer to what was [sent](Self::send_more).
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn answer<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        self.receive(Ok(()))
    }

    /// Waits for the next answer to a request that has many, however long that takes.
    ///
    /// # Errors
    ///
    /// What the daemon says, or that it ended.
    pub fn wait_for_more<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let set = self.stream.get_mut().set_read_timeout(None);
        self.receive(set)
    }

    /// The next answer. `sent`: what became of asking for it.
    fn receive<T: DeserializeOwned>(&mut self, sent: io::Result<()>) -> Result<T, ClientError> {
        let mut line = String::new();
        let limit = LONGEST_LINE as u64 + 1;
        let received = self.stream.by_ref().take(limit).read_line(&mut line);
        if line.is_empty() {
            let ended =
                || io::Error::new(io::ErrorKind::UnexpectedEof, "it was closed without an answer");
            let reason = received.err().or(sent.err()).unwrap_or_else(ended);
            return Err(ClientError::Connection { socket: self.socket.clone(), reason });
        }
        let response: Response<T> =
            serde_json::from_str(&line).map_err(|error| self.broken(error))?;
        match response {
            Response { failure: Some(failure), .. } => Err(ClientError::Failure(failure)),
            Response { result: Some(result), .. } => Ok(result),
            Response { .. } => Err(self.broken("neither a result nor a failure")),
        }
    }

    /// Waits until the daemon closes the connection, as it does at its end.
    pub fn wait_for_end(mut self) {
        let mut rest = Vec::new();
        // However it ends, it ends.
        let _ = self.stream.by_ref().take(1).read_to_end(&mut rest);
    }

    /// The daemon does not keep to the protocol.
    #[must_use]
    pub fn broken(&self, reason: impl std::fmt::Display) -> ClientError {
        ClientError::Protocol { socket: self.socket.clone(), reason: reason.to_string() }
    }
}
