//! Serves the control socket: to whom it may concern, and so that no client
//! can keep another waiting or take the daemon's memory.

mod lines;
mod peer;
mod places;

use std::{path::Path, sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, SemaphorePermit},
    task::spawn_blocking,
    time::timeout,
};
use tracing::{debug, warn};

pub use self::lines::{Line, Lines};
pub(crate) use self::peer::Access;
use self::{
    peer::Peer,
    places::{Places, Seat},
};
use super::{
    events::DropLog,
    follow,
    owner::OwnerHandle,
    questions::{self, Questions},
};
use crate::{
    control::{
        Command, Failure, FailureCode, IDLE, LONGEST_LINE, PolicyText, Request, Response, VERSION,
    },
    policy::{self, ReadError},
};

/// The longest request that needs no leave, in bytes: 10,000 bans, nearly all
/// policies.
pub(super) const SMALL: usize = 256 << 10;
/// Longer requests that are held at a time, by root and by all others.
const LARGE: usize = 2;
/// The longest request that is parsed between two others, in bytes.
const QUICK: usize = 32 << 10;
/// Answers that wait for their readers, by root and by all others, in KiB.
const ANSWERS: u32 = 64 << 10;
/// How long an answer waits for others to be read.
const BEHIND_OTHERS: Duration = Duration::from_secs(5);

/// What the connections share.
struct Server {
    owner: OwnerHandle,
    log: Arc<DropLog>,
    places: Arc<Places>,
    root: Share,
    others: Share,
    /// Those who may only read ask one after the other: however many they are,
    /// whoever changes something waits for one of them at most.
    reader: Semaphore,
    questions: Questions,
}

/// What of the daemon's memory may be taken.
struct Share {
    large: Semaphore,
    answers: Semaphore,
    /// Captures that are replayed.
    replays: Semaphore,
}

impl Share {
    fn new() -> Self {
        Self {
            large: Semaphore::new(LARGE),
            answers: Semaphore::new(ANSWERS as usize),
            replays: Semaphore::new(1),
        }
    }
}

/// Accepts connections for as long as the runtime lives.
pub(super) async fn serve(listener: UnixListener, owner: OwnerHandle, log: Arc<DropLog>) {
    let server = Arc::new(Server {
        owner,
        log,
        places: Arc::default(),
        root: Share::new(),
        others: Share::new(),
        reader: Semaphore::new(1),
        questions: Questions::default(),
    });
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&server).meet(stream))),
            Err(error) => {
                warn!("a connection to the control socket could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Why nothing more comes of a connection.
enum End {
    /// The peer is gone, too slow, or was told.
    Quiet,
    /// To be told.
    Failure(Failure),
}

impl Server {
    /// One connection, to its end.
    async fn meet(self: Arc<Self>, stream: UnixStream) {
        let peer = Peer::of(&stream);
        let mut lines = Lines::new(stream);
        let peer = match peer {
            Ok(peer) => Arc::new(peer),
            Err(error) => {
                let text = format!("the daemon cannot tell who is asking ({error}): try again");
                send(&mut lines, failed(Failure::new(FailureCode::Refused, text))).await;
                return;
            }
        };
        let Some(seat) = self.places.take(peer.user, peer.is_root()) else {
            let text = "too many others wait for answers of the daemon: try again in a moment";
            send(&mut lines, failed(Failure::new(FailureCode::Failed, text))).await;
            return;
        };
        let end = tokio::select! {
            end = self.converse(&mut lines, &peer, &seat) => end,
            () = seat.left() => {
                debug!(user = peer.user, "a connection gave way to another");
                return;
            }
        };
        if let Err(End::Failure(failure)) = end {
            // What follows of the line is no request.
            send(&mut lines, failed(failure)).await;
        }
    }

    async fn converse(&self, lines: &mut Lines, peer: &Arc<Peer>, seat: &Seat) -> Result<(), End> {
        let asked = Arc::clone(peer);
        let access = match peer.is_root() {
            true => Access::Change,
            false => spawn_blocking(move || asked.access()).await.unwrap_or(Access::Nothing),
        };
        if access == Access::Nothing {
            debug!(user = peer.user, "refused on the control socket");
            return Err(End::Failure(peer.refusal(access)));
        }
        let share = if peer.is_root() { &self.root } else { &self.others };
        loop {
            let (line, large) = share.read(lines, access).await?;
            seat.set_busy(true);
            let command = match understand(line, access).await {
                Ok(command) if access != Access::Change && !command.is_read() => {
                    Err(peer.refusal(access))
                }
                understood => understood,
            };
            let command = match command {
                Ok(command) => command,
                Err(failure) => {
                    seat.set_busy(false);
                    if !send(lines, failed(failure)).await {
                        return Err(End::Quiet);
                    }
                    continue;
                }
            };
            if let Command::Log { last, follow } = command {
                // Who follows is not silent: it must not give way.
                if !follow::serve(lines, &self.log, last, follow).await {
                    return Err(End::Quiet);
                }
                seat.set_busy(false);
                continue;
            }
            if let Command::Replay(options) = command {
                // Nor must who replays: it is heard of with each line.
                if !questions::replay(lines, &self.owner, options, &share.replays).await {
                    return Err(End::Quiet);
                }
                seat.set_busy(false);
                continue;
            }
            let last = command == Command::Detach;
            let turn = match access {
                Access::Change => None,
                _ => self.reader.acquire().await.ok(),
            };
            let answer = match command {
                Command::Explain { packet } => self.questions.explain(&self.owner, &packet).await,
                command => self.owner.ask(command).await,
            };
            drop(large);
            let length = u32::try_from(answer.line.len() >> 10).unwrap_or(ANSWERS);
            let room = share.answers.acquire_many(length.min(ANSWERS));
            let Ok(_room) = timeout(BEHIND_OTHERS, room).await else { return Err(End::Quiet) };
            drop(turn);
            seat.set_busy(last && answer.done);
            let sent = send(lines, answer.line).await;
            if last && answer.done {
                self.owner.stop_after_detach();
                // Held until the daemon is gone, so that the client can wait for that.
                let _ = timeout(IDLE, lines.next(SMALL)).await;
                return Err(End::Quiet);
            }
            if !sent {
                return Err(End::Quiet);
            }
        }
    }
}

impl Share {
    /// The next request, and leave for its length.
    async fn read(
        &self,
        lines: &mut Lines,
        access: Access,
    ) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), End> {
        let invalid = |text: &str| End::Failure(Failure::new(FailureCode::Invalid, text));
        if let Some(line) = next(lines, SMALL).await? {
            return Ok((line, None));
        }
        if access != Access::Change {
            let text = "a request of more than 256 KiB is taken only from root and members of `nodewall-admin`: use sudo, or send it in parts";
            return Err(End::Failure(Failure::new(FailureCode::Refused, text)));
        }
        let Ok(Ok(leave)) = timeout(IDLE, self.large.acquire()).await else {
            let text = "others keep the daemon busy with long requests: try again in a moment";
            return Err(End::Failure(Failure::new(FailureCode::Failed, text)));
        };
        match next(lines, LONGEST_LINE).await? {
            Some(line) => Ok((line, Some(leave))),
            None => Err(invalid(
                "the request is longer than 64 MiB: send one line of JSON of that length at most",
            )),
        }
    }
}

/// The next line; `None`: it is longer.
async fn next(lines: &mut Lines, longest: usize) -> Result<Option<Vec<u8>>, End> {
    match timeout(IDLE, lines.next(longest)).await {
        Ok(Ok(Line::Whole(line))) => Ok(Some(line)),
        Ok(Ok(Line::Longer)) => Ok(None),
        Ok(Ok(Line::End) | Err(_)) | Err(_) => Err(End::Quiet),
    }
}

/// Parses a request; beside the other connections, where that takes a while.
async fn understand(line: Vec<u8>, access: Access) -> Result<Command, Failure> {
    if line.len() <= QUICK {
        return parse_for(&line, access);
    }
    spawn_blocking(move || parse_for(&line, access)).await.unwrap_or_else(|error| {
        Err(Failure::new(FailureCode::Failed, format!("the request could not be read: {error}")))
    })
}

/// Parses a request. The daemon reads set files in the place of whoever sends a
/// policy, and tells what is wrong in them: not for those who may only read.
pub(crate) fn parse_for(line: &[u8], access: Access) -> Result<Command, Failure> {
    let command = parse(line)?;
    let names_files = |PolicyText { file, text }: &PolicyText| {
        let mut any = false;
        let read = &mut |_: &Path| {
            any = true;
            Err(ReadError::Missing)
        };
        // Whatever else is wrong with it is told later.
        let _ = policy::parse_with(text, file, read);
        any
    };
    match &command {
        Command::Diff { policy: Some(policy) }
            if access != Access::Change && names_files(policy) =>
        {
            let text = "the policy has sets in files, which the daemon would read for you: only root and members of `nodewall-admin` have permission to ask for that; use sudo, or write the addresses into the policy";
            Err(Failure::new(FailureCode::Refused, text))
        }
        _ => Ok(command),
    }
}

/// The part of a request that every version has.
#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

fn parse(line: &[u8]) -> Result<Command, Failure> {
    let invalid = |error: serde_json::Error| {
        let text = format!(
            "the request is not one of the control protocol {VERSION} ({error}): see docs/control-protocol.md"
        );
        Failure::new(FailureCode::Invalid, text)
    };
    let Versioned { v } = serde_json::from_slice(line).map_err(invalid)?;
    if v != VERSION {
        let text = format!(
            "the request is of version {v} of the control protocol, and this daemon speaks version {VERSION}: use a command line of the daemon's version"
        );
        return Err(Failure::new(FailureCode::Invalid, text));
    }
    let request: Request = serde_json::from_slice(line).map_err(invalid)?;
    Ok(request.command)
}

pub(crate) fn failed(failure: Failure) -> String {
    serialize(&Response::<()>::failed(failure))
}

/// One line. The types of the protocol have string keys alone, so it cannot fail.
pub(super) fn serialize<T: serde::Serialize>(response: &Response<T>) -> String {
    serde_json::to_string(response).unwrap_or_default()
}

/// Whether it was sent: a peer that does not read is not waited for.
pub(super) async fn send(lines: &mut Lines, line: String) -> bool {
    match timeout(IDLE, lines.send(line)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            debug!("an answer could not be sent: {error}");
            false
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_only_read_has_no_file_read() {
        let line = |policy: &str| {
            let text = serde_json::to_string(policy).unwrap_or_default();
            format!(r#"{{"v":1,"command":"diff","policy":{{"file":"/p.toml","text":{text}}}}}"#)
        };
        let with_file = line("[sets]\npeers = { file = \"/etc/shadow\" }\n");
        let without = line("[sets]\npeers = [\"192.0.2.1\"]\n");
        let refused = parse_for(with_file.as_bytes(), Access::Read);
        assert!(refused.is_err_and(|failure| failure.code == FailureCode::Refused));
        assert!(parse_for(without.as_bytes(), Access::Read).is_ok());
        assert!(parse_for(with_file.as_bytes(), Access::Change).is_ok());
    }

    fn text(line: &str) -> String {
        parse(line.as_bytes())
            .map_or_else(|failure| failure.errors[0].error.clone(), |_| "taken".to_owned())
    }

    #[test]
    fn a_request_of_another_version_is_told_so_whatever_else_it_says() {
        assert_eq!(text(r#"{"v":1,"command":"status"}"#), "taken");
        assert!(text(r#"{"v":2,"command":"levitate"}"#).contains("of version 2"));
        assert!(text(r#"{"v":1,"command":"levitate"}"#).contains("levitate"));
        assert!(text("").contains("control protocol 1"));
        assert!(
            text(r#"{"v":1,"command":"unban","prefix":"house"}"#).contains("control protocol 1")
        );
    }
}
