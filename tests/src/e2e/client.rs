//! Clients that say what they expect.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
};

use sandbox::{Namespace, Outcome, tcp_connect};

use super::{silence, soon};

/// An address to connect from, for functions that take an `Option`.
///
/// # Panics
/// If it is none.
#[track_caller]
#[must_use]
pub fn source(address: &str) -> Option<IpAddr> {
    Some(address.parse().unwrap_or_else(|_| panic!("`{address}` is no address")))
}

/// Connects, and sends a few bytes back and forth.
///
/// # Panics
/// If the connection does not come about, or does not echo.
#[track_caller]
pub fn open(namespace: &Namespace, from: Option<IpAddr>, to: SocketAddr) -> TcpStream {
    match tcp_connect(namespace, from, to, soon()).expect("an attempt") {
        Outcome::Connected(stream) => {
            echoes(&stream, 100);
            stream
        }
        other => panic!("{to} is to be open for {from:?}, and the attempt ended as {other:?}"),
    }
}

/// Expects that nobody answers: neither a handshake nor a reset.
///
/// # Panics
/// If somebody does.
#[track_caller]
pub fn closed(namespace: &Namespace, from: Option<IpAddr>, to: SocketAddr) {
    let outcome = tcp_connect(namespace, from, to, silence()).expect("an attempt");
    assert!(
        outcome.is_timed_out(),
        "{to} is to be silent for {from:?}, and the attempt ended as {outcome:?}"
    );
}

/// Expects a reset: the host's own, as where there is no filter.
///
/// # Panics
/// If there is none.
#[track_caller]
pub fn refused(namespace: &Namespace, from: Option<IpAddr>, to: SocketAddr) {
    let outcome = tcp_connect(namespace, from, to, soon()).expect("an attempt");
    assert!(
        outcome.is_refused(),
        "{to} is to refuse {from:?}, and the attempt ended as {outcome:?}"
    );
}

/// Sends bytes to an echo server and expects them back.
///
/// # Panics
/// If they do not come, or come changed.
#[track_caller]
pub fn echoes(stream: &TcpStream, length: usize) {
    stream.set_read_timeout(Some(soon())).expect("a time limit");
    stream.set_write_timeout(Some(soon())).expect("a time limit");
    let sent = input(length);
    let mut back = vec![0; length];
    thread::scope(|scope| {
        // Together: neither side can hold all of a large transfer.
        let writer = scope.spawn(|| { stream }.write_all(&sent));
        let read = { stream }.read_exact(&mut back);
        writer.join().expect("no panic").expect("all of it is sent");
        read.expect("all of it comes back");
    });
    assert!(back == sent, "{length} bytes came back changed");
}

/// Bytes that do not repeat soon.
#[must_use]
fn input(length: usize) -> Vec<u8> {
    let mut word = 0x9e37_79b9_u32;
    let mut next = || {
        word ^= word << 13;
        word ^= word >> 17;
        word ^= word << 5;
        word.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Whether what is sent over an open connection gets no answer.
///
/// # Panics
/// If the socket itself fails.
#[track_caller]
#[must_use]
pub fn is_cut(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(silence())).expect("a time limit");
    stream.write_all(b"x").expect("room for a byte");
    match stream.read(&mut [0]) {
        Err(error) => {
            assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "the connection ended: {error}"
            );
            true
        }
        Ok(length) => {
            assert_eq!(length, 1, "the other side closed the connection");
            false
        }
    }
}
