//! What the servers do: send back what they get.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::server::Counters;

/// Read at once from one client, in bytes.
const CHUNK: usize = 64 << 10;
/// A process that has no file left for a client tries again after this.
const NO_FILE_LEFT: Duration = Duration::from_millis(20);

/// A client, and what it must still be sent.
struct Client {
    stream: TcpStream,
    pending: Vec<u8>,
}

impl Client {
    fn wants(&self) -> PollFlags {
        if self.pending.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLOUT }
    }

    /// Echoes until the socket would block. `false` when the client is gone.
    fn serve(&mut self, buffer: &mut [u8], counters: &Counters) -> bool {
        loop {
            if self.pending.is_empty() {
                match self.stream.read(buffer) {
                    Ok(0) => return false,
                    Ok(length) => {
                        counters.bytes.fetch_add(length as u64, Ordering::Relaxed);
                        self.pending.extend_from_slice(&buffer[..length]);
                    }
                    Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                }
            }
            match self.stream.write(&self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}

/// Waits for any of `watched`, the first of which is the stop: `false` for that.
fn wait(watched: &mut [PollFd<'_>]) -> io::Result<bool> {
    loop {
        match poll(watched, PollTimeout::NONE) {
            Ok(_) => return Ok(!watched.first().and_then(PollFd::any).unwrap_or(false)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Serves TCP until `stop` is readable.
pub(super) fn streams(
    listener: &TcpListener,
    stop: BorrowedFd<'_>,
    counters: &Counters,
) -> io::Result<()> {
    let mut clients: Vec<Client> = Vec::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut watched = vec![
            PollFd::new(stop, PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        watched.extend(
            clients.iter().map(|client| PollFd::new(client.stream.as_fd(), client.wants())),
        );
        if !wait(&mut watched)? {
            return Ok(());
        }
        let mut ready = watched
            .iter()
            .skip(2)
            .map(|polled| polled.any().unwrap_or(true))
            .collect::<Vec<_>>()
            .into_iter();
        let before = clients.len();
        clients.retain_mut(|client| {
            !ready.next().unwrap_or(false) || client.serve(&mut buffer, counters)
        });
        counters.closed.fetch_add((before - clients.len()) as u64, Ordering::Release);
        accept(listener, &mut clients, counters)?;
    }
}

/// Takes every connection that is waiting.
fn accept(
    listener: &TcpListener,
    clients: &mut Vec<Client>,
    counters: &Counters,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                clients.push(Client { stream, pending: Vec::new() });
                counters.accepted.fetch_add(1, Ordering::Release);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // The client gave up meanwhile.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                thread::sleep(NO_FILE_LEFT);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// Serves UDP until `stop` is readable.
pub(super) fn datagrams(
    socket: &UdpSocket,
    stop: BorrowedFd<'_>,
    counters: &Counters,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut watched =
            [PollFd::new(stop, PollFlags::POLLIN), PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if !wait(&mut watched)? {
            return Ok(());
        }
        // Errors are those of earlier answers (ICMP), or nothing to read.
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            counters.accepted.fetch_add(1, Ordering::Release);
            counters.bytes.fetch_add(length as u64, Ordering::Relaxed);
            // An answer that cannot be sent is a lost datagram.
            let _lost = socket.send_to(&buffer[..length], from);
        }
    }
}
