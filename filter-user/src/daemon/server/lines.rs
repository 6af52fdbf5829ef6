//! Requests and answers on a connection: a line each, and no more of them in
//! memory than was allowed.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// Room for what is read at a time.
const READ: usize = 16 << 10;

/// A connection that speaks in lines.
#[derive(Debug)]
pub struct Lines {
    stream: UnixStream,
    /// What was read, and is no whole line yet.
    begun: Vec<u8>,
    /// So much of it holds no line feed.
    searched: usize,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, without its line feed.
    Whole(Vec<u8>),
    /// More than was allowed, and not its end. It is kept: ask again with more.
    Longer,
    /// No more comes.
    End,
}

impl Lines {
    /// On a connection of which nothing was read yet.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, begun: Vec::new(), searched: 0 }
    }

    /// The next line, of at most so many bytes. What was read is kept when this
    /// is given up.
    ///
    /// # Errors
    ///
    /// When the connection fails.
    pub async fn next(&mut self, longest: usize) -> io::Result<Line> {
        loop {
            let unseen = &self.begun[self.searched..];
            if let Some(end) = unseen.iter().position(|byte| *byte == b'\n') {
                let rest = self.begun.split_off(self.searched + end + 1);
                let mut line = std::mem::replace(&mut self.begun, rest);
                line.pop();
                self.searched = 0;
                return Ok(match line.len() <= longest {
                    true => Line::Whole(line),
                    false => {
                        line.push(b'\n');
                        line.append(&mut self.begun);
                        self.begun = line;
                        Line::Longer
                    }
                });
            }
            self.searched = self.begun.len();
            if self.begun.len() > longest {
                return Ok(Line::Longer);
            }
            // Vectors grow by doubling: not beyond what is allowed.
            let room =
                self.begun.len().clamp(READ, longest.saturating_sub(self.begun.len()).max(READ));
            if self.begun.capacity() - self.begun.len() < READ {
                self.begun.reserve_exact(room);
            }
            if self.stream.read_buf(&mut self.begun).await? == 0 {
                return Ok(Line::End);
            }
        }
    }

    /// Sends a line.
    pub(in crate::daemon) async fn send(&mut self, mut line: String) -> io::Result<()> {
        line.push('\n');
        self.stream.write_all(line.as_bytes()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn lines_come_however_they_are_cut() -> io::Result<()> {
        let text = b"one\ntwo\n\nfour\nrest";
        for at_a_time in 1..=text.len() {
            let (mut peer, stream) = UnixStream::pair()?;
            let mut lines = Lines::new(stream);
            let send = async {
                for part in text.chunks(at_a_time) {
                    peer.write_all(part).await?;
                    tokio::task::yield_now().await;
                }
                drop(peer);
                io::Result::Ok(())
            };
            let receive = async {
                for expected in ["one", "two", "", "four"] {
                    assert_eq!(lines.next(100).await?, whole(expected), "{at_a_time}");
                }
                assert_eq!(lines.next(100).await?, Line::End);
                io::Result::Ok(())
            };
            tokio::try_join!(send, receive)?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_line_that_is_longer_waits_for_leave() -> io::Result<()> {
        for length in [5, 99, 100, 101, 5000] {
            let (mut peer, stream) = UnixStream::pair()?;
            let mut lines = Lines::new(stream);
            let line = "x".repeat(length);
            peer.write_all(format!("{line}\nnext\n").as_bytes()).await?;
            if length > 100 {
                assert_eq!(lines.next(100).await?, Line::Longer);
                assert_eq!(lines.next(length - 1).await?, Line::Longer);
            }
            assert_eq!(lines.next(length).await?, whole(&line));
            assert_eq!(lines.next(100).await?, whole("next"));
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_is_not_allowed_stays_with_its_sender() -> io::Result<()> {
        let (mut peer, stream) = UnixStream::pair()?;
        let mut lines = Lines::new(stream);
        let sender = tokio::spawn(async move { peer.write_all(&[b'x'; 8 << 20]).await });
        assert_eq!(lines.next(100_000).await?, Line::Longer);
        assert!(lines.begun.capacity() <= 100_000 + 2 * READ, "{}", lines.begun.capacity());
        assert!(!sender.is_finished());
        drop(lines);
        assert!(sender.await.is_ok_and(|sent| sent.is_err()));
        Ok(())
    }
}
