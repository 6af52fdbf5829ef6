//! A transfer that runs until it is told to stop, and counts what arrives.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sandbox::{Outcome, Sandbox, tcp_connect};

use super::soon;

/// Written and read at once, in bytes.
const CHUNK: usize = 64 << 10;
/// A side that waits looks this often whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// From the peer to the host over one connection, as fast as it goes.
#[derive(Debug)]
pub struct Transfer {
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Transfer {
    /// Begins one to a port of the host on which nobody listens yet. Its two
    /// threads run where the calling one may.
    ///
    /// # Panics
    /// If the connection does not come about.
    #[track_caller]
    #[must_use]
    pub fn begin(world: &Sandbox, at: SocketAddr) -> Self {
        let listener = world.host.enter(|| TcpListener::bind(at)).expect("entered").expect("bound");
        let Outcome::Connected(client) =
            tcp_connect(&world.peer, None, at, soon()).expect("an attempt")
        else {
            panic!("{at} is to be open")
        };
        let (server, _) = listener.accept().expect("accepted");
        let (bytes, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let reader = {
            let (bytes, stop) = (Arc::clone(&bytes), Arc::clone(&stop));
            thread::spawn(move || read(server, &bytes, &stop))
        };
        let writer = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || write(client, &stop))
        };
        Self { bytes, stop, threads: vec![reader, writer] }
    }

    /// Bytes that have arrived.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Ends it.
    ///
    /// # Panics
    /// If the connection broke before.
    pub fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("the connection holds to its end");
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in it was reported when it happened.
            let _reported = thread.join();
        }
    }
}

fn is_wait(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn read(mut from: TcpStream, bytes: &AtomicU64, stop: &AtomicBool) {
    from.set_read_timeout(Some(LOOK)).expect("a time limit");
    let mut buffer = vec![0; CHUNK];
    while !stop.load(Ordering::Relaxed) {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                bytes.fetch_add(length as u64, Ordering::Relaxed);
            }
            Err(error) => assert!(is_wait(error.kind()), "the host's side ended: {error}"),
        }
    }
}

fn write(mut to: TcpStream, stop: &AtomicBool) {
    to.set_write_timeout(Some(LOOK)).expect("a time limit");
    let buffer = vec![7; CHUNK];
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = to.write(&buffer) {
            // Its reader may have seen the stop first.
            let stopped = stop.load(Ordering::Relaxed);
            assert!(stopped || is_wait(error.kind()), "the peer's side ended: {error}");
        }
    }
}
