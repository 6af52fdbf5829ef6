//! Servers: a thread of their own behind a handle that counts.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use socket2::{Domain, Socket, Type};

use super::echo;
use crate::{Error, Namespace, Result};

/// Connections whose handshake is done or under way before they are accepted.
const BACKLOG: i32 = 4096;

/// A server that sends back what it gets. It ends with this value, and its
/// connections with it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    counters: Arc<Counters>,
    /// Its other end wakes the thread when this is closed.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// What a server counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Server {
    /// Where it listens, with the port that it got if it asked for 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted, or datagrams received, since the start.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counters.accepted.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        // The smaller one is read first, so that it never exceeds the other.
        let closed = self.counters.closed.load(Ordering::Acquire);
        self.counters.accepted.load(Ordering::Acquire).saturating_sub(closed)
    }

    /// Bytes of payload received since the start.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.counters.bytes.load(Ordering::Relaxed)
    }

    fn start(
        namespace: &Namespace,
        address: SocketAddr,
        serve: impl FnOnce(&UnixStream, &Counters) -> io::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (stop, stopped) = UnixStream::pair().map_err(|source| {
            namespace.socket_error("make the pair of sockets that stops a server", source)
        })?;
        let counters = Arc::new(Counters::default());
        let theirs = Arc::clone(&counters);
        let body = move || {
            if let Err(error) = serve(&stopped, &theirs) {
                // A test that talks to it fails; this line says why.
                eprintln!("the sandbox's server on {address} ended: {error}");
            }
        };
        let thread = thread::Builder::new()
            .name(format!("server {address}"))
            .spawn(body)
            .map_err(|source| Error::Thread { namespace: namespace.tag().to_owned(), source })?;
        Ok(Self { address, counters, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported when it happened.
            let _reported = thread.join();
        }
    }
}

/// A bound socket; the calling thread is in the namespace.
fn bound(kind: Type, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    socket.set_nonblocking(true)?;
    if kind == Type::STREAM {
        // As every server does: a port may be taken again at once.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Listens on `address` (port 0 for any), accepts every connection and echoes
/// until the client closes.
///
/// # Errors
/// [`Error::Socket`]: the address is not the namespace's, or the port is taken.
pub fn tcp_listen(namespace: &Namespace, address: SocketAddr) -> Result<Server> {
    let listen = || -> io::Result<(TcpListener, SocketAddr)> {
        let socket = bound(Type::STREAM, address)?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let (listener, address) = namespace
        .enter(listen)?
        .map_err(|source| namespace.socket_error(format!("listen on {address}"), source))?;
    Server::start(namespace, address, move |stop, counters| {
        echo::streams(&listener, stop.as_fd(), counters)
    })
}

/// Receives datagrams on `address` (port 0 for any) and sends each one back.
///
/// # Errors
/// [`Error::Socket`]: the address is not the namespace's, or the port is taken.
pub fn udp_echo(namespace: &Namespace, address: SocketAddr) -> Result<Server> {
    let bind = || -> io::Result<(UdpSocket, SocketAddr)> {
        let socket = UdpSocket::from(bound(Type::DGRAM, address)?);
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    let (socket, address) = namespace.enter(bind)?.map_err(|source| {
        namespace.socket_error(format!("receive datagrams on {address}"), source)
    })?;
    Server::start(namespace, address, move |stop, counters| {
        echo::datagrams(&socket, stop.as_fd(), counters)
    })
}
