//! Serves the control socket.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use nix::unistd::geteuid;
use serde::Deserialize;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::codec::{Framed, LinesCodec};
use tracing::{debug, info, warn};

use super::{events::DropLog, follow, owner::OwnerHandle};
use crate::control::{
    Command, Failure, FailureCode, IDLE, LONGEST_LINE, Request, Response, VERSION,
};

/// Connections at a time. Others wait until one ends, or has been silent too long.
const CONNECTIONS: usize = 32;

pub(super) type Lines = Framed<UnixStream, LinesCodec>;

/// Accepts connections for as long as the runtime lives.
pub(super) async fn serve(listener: UnixListener, owner: OwnerHandle, log: Arc<DropLog>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed, so there is always a place to wait for.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (owner, log) = (owner.clone(), Arc::clone(&log));
                tokio::spawn(async move {
                    converse(stream, &owner, &log).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("a connection to the control socket could not be accepted: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection, to its end.
async fn converse(stream: UnixStream, owner: &OwnerHandle, log: &DropLog) {
    let refusal = refusal(&stream);
    let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(LONGEST_LINE));
    if let Some(refusal) = refusal {
        send(&mut lines, failed(refusal)).await;
        return;
    }
    loop {
        let line = match timeout(IDLE, lines.next()).await {
            Ok(Some(Ok(line))) => line,
            Ok(Some(Err(error))) => {
                // What follows of an overlong line is no request.
                let text = format!(
                    "the request cannot be read ({error}): send one line of JSON, at most 64 MiB long"
                );
                send(&mut lines, failed(Failure::new(FailureCode::Invalid, text))).await;
                return;
            }
            Ok(None) | Err(_) => return,
        };
        let command = match parse(&line) {
            Ok(command) => command,
            Err(failure) => {
                if !send(&mut lines, failed(failure)).await {
                    return;
                }
                continue;
            }
        };
        drop(line);
        if let Command::Log { last, follow } = command {
            if !follow::serve(&mut lines, log, last, follow).await {
                return;
            }
            continue;
        }
        let last = command == Command::Detach;
        let answer = owner.ask(command).await;
        let sent = send(&mut lines, answer.line).await;
        if last && answer.done {
            owner.stop_after_detach();
            // Held until the daemon is gone, so that the client can wait for that.
            let _ = timeout(IDLE, lines.next()).await;
            return;
        }
        if !sent {
            return;
        }
    }
}

/// `None`: the peer may do anything. Groups come later.
fn refusal(stream: &UnixStream) -> Option<Failure> {
    let peer = match stream.peer_cred() {
        Ok(peer) => peer,
        Err(error) => {
            let text = format!("the daemon cannot tell who is asking ({error}): try again");
            return Some(Failure::new(FailureCode::Refused, text));
        }
    };
    if peer.uid() == 0 || peer.uid() == geteuid().as_raw() {
        return None;
    }
    info!(uid = peer.uid(), "refused a request on the control socket");
    let text = format!("user {} may not control nodewall: use sudo, or run as root", peer.uid());
    Some(Failure::new(FailureCode::Refused, text))
}

/// The part of a request that every version has.
#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

fn parse(line: &str) -> Result<Command, Failure> {
    let invalid = |error: serde_json::Error| {
        let text = format!(
            "the request is not one of the control protocol {VERSION} ({error}): see docs/control-protocol.md"
        );
        Failure::new(FailureCode::Invalid, text)
    };
    let Versioned { v } = serde_json::from_str(line).map_err(invalid)?;
    if v != VERSION {
        let text = format!(
            "the request is of version {v} of the control protocol, and this daemon speaks version {VERSION}: use a command line of the daemon's version"
        );
        return Err(Failure::new(FailureCode::Invalid, text));
    }
    let request: Request = serde_json::from_str(line).map_err(invalid)?;
    Ok(request.command)
}

pub(super) fn failed(failure: Failure) -> String {
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

    fn text(line: &str) -> String {
        parse(line).map_or_else(|failure| failure.errors[0].error.clone(), |_| "taken".to_owned())
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
