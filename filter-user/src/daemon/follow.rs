//! Serves those who follow the drops.

use tokio::sync::Semaphore;

use super::{
    events::DropLog,
    server::{Lines, SMALL, failed, send, serialize},
};
use crate::control::{Failure, FailureCode, Response};

/// Those who follow at a time. Each holds a connection, of which others must
/// find one too.
const FOLLOWERS: usize = 8;
static PLACES: Semaphore = Semaphore::const_new(FOLLOWERS);

/// Answers a request for the log. Whether the connection may ask for more.
pub(super) async fn serve(
    lines: &mut Lines,
    log: &DropLog,
    last: Option<u32>,
    follow: bool,
) -> bool {
    if !follow {
        return send(lines, serialize(&Response::done(log.last(last)))).await;
    }
    let Ok(_place) = PLACES.try_acquire() else {
        let text = format!(
            "{FOLLOWERS} others follow the log already: end one of them, or ask without `--follow`"
        );
        return send(lines, failed(Failure::new(FailureCode::Failed, text))).await;
    };
    let (first, mut follower) = log.follow(last);
    if !send(lines, serialize(&Response::done(first))).await {
        return false;
    }
    loop {
        let next = tokio::select! {
            next = follower.next() => next,
            // Whatever it says now, it is the end.
            _ = lines.next(SMALL) => return false,
        };
        let Some(next) = next else { return false };
        if !send(lines, serialize(&Response::done(next))).await {
            return false;
        }
    }
}
