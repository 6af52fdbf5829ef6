//! The control socket: what a client may send, and how it is read.

use std::cell::RefCell;

use filter_user::{
    control::{Command, Request, Response},
    fuzzing::{Line, Lines, answer, request},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::UnixStream,
    runtime::{Builder, Runtime},
};

use crate::{PLANTED, input::Input};

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> =
        RefCell::new(Builder::new_current_thread().enable_io().build().ok());
}

/// A client sends bytes, cut anyhow, and closes. The first byte says whether
/// the client may change something, the next two how long a line may be at
/// first, and with leave; then come pieces, each after its length.
pub fn control(data: &[u8]) {
    let mut input = Input(data);
    let may_change = input.byte() & 1 == 1;
    let at_first = usize::from(input.byte());
    let with_leave = at_first + 4 * usize::from(input.byte());
    let mut pieces = Vec::new();
    while !input.is_empty() {
        let length = usize::from(input.byte());
        pieces.push(input.take(length));
    }
    let sent = pieces.concat();
    let lines = RUNTIME.with_borrow(|runtime| {
        let runtime = runtime.as_ref().expect("a runtime");
        runtime.block_on(received(&pieces, at_first, with_leave))
    });
    assert_eq!(lines, expected(&sent, at_first, with_leave));
    for line in lines {
        if let Line::Whole(line) = line {
            understood(&line, may_change);
        }
    }
}

/// What the daemon reads, until it would read no more.
async fn received(pieces: &[&[u8]], at_first: usize, with_leave: usize) -> Vec<Line> {
    let (mut client, daemon) = UnixStream::pair().expect("a pair of sockets");
    let mut lines = Lines::new(daemon);
    let send = async {
        for piece in pieces {
            let is_planted = PLANTED && piece.len() > 2 && piece[0] == b'\n';
            if client.write_all(if is_planted { &piece[1..] } else { piece }).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        drop(client);
    };
    let receive = async {
        let mut got = Vec::new();
        let mut longest = at_first;
        loop {
            let line = lines.next(longest).await.expect("a socket that works");
            let is_last = line == Line::End || (line == Line::Longer && longest == with_leave);
            longest = if line == Line::Longer { with_leave } else { at_first };
            got.push(line);
            if is_last {
                // The sender may still be writing.
                drop(lines);
                return got;
            }
        }
    };
    tokio::join!(send, receive).1
}

/// What it should read.
fn expected(mut sent: &[u8], at_first: usize, with_leave: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    loop {
        let end = sent.iter().position(|byte| *byte == b'\n');
        let length = end.unwrap_or(sent.len());
        if length > at_first {
            lines.push(Line::Longer);
        }
        if length > with_leave || (at_first == with_leave && length > at_first) {
            if at_first != with_leave {
                lines.push(Line::Longer);
            }
            return lines;
        }
        let Some(end) = end else {
            lines.push(Line::End);
            return lines;
        };
        lines.push(Line::Whole(sent[..end].to_vec()));
        sent = &sent[end + 1..];
    }
}

/// What the daemon makes of a line.
fn understood(line: &[u8], may_change: bool) {
    match request(line, may_change) {
        Ok(command) => {
            let again = serde_json::to_vec(&Request::from(command.clone())).expect("it is JSON");
            assert!(!again.contains(&b'\n'));
            assert_eq!(request(&again, true).ok(), Some(command), "read otherwise when sent again");
        }
        Err(failure) => {
            assert!(!failure.errors.is_empty(), "refused without a reason");
            let line = answer(failure.clone());
            assert!(!line.contains('\n'), "an answer of two lines: {line:?}");
            let read: Option<Response<Command>> = serde_json::from_str(&line).ok();
            assert_eq!(read, Some(Response::failed(failure)), "{line}");
        }
    }
}
