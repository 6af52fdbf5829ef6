//! Real TCP connections, and what a segment of their other end looks like.

use std::{
    io::{self, Read as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
};

use filter_common::read::Flow;
use nix::libc;
use socket2::{Domain, Socket, Type};

/// Both ends of a TCP connection over loopback, and the listener behind it.
#[derive(Debug)]
pub struct Connection {
    /// The end that asked.
    pub client: TcpStream,
    /// The end that was asked, once it was accepted.
    pub server: TcpStream,
    /// Still listening.
    pub listener: TcpListener,
}

impl Connection {
    /// Connects to a listener of its own on `address`, in the calling thread's
    /// network namespace.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn open(address: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        Ok(Self { client, server, listener })
    }

    /// Closes it from the client's end, which is then in TIME_WAIT; the server's
    /// is gone. Gives back the addresses of the client and of the server.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn close(self) -> io::Result<(SocketAddr, SocketAddr)> {
        let Self { client, mut server, listener: _listener } = self;
        let ends = (client.local_addr()?, client.peer_addr()?);
        client.shutdown(Shutdown::Write)?;
        // The end of the stream: the FIN has come, and the server's goes out.
        server.read_exact(&mut [0]).err();
        drop(server);
        // The server's FIN has come too when this returns: then it is TIME_WAIT.
        let mut client = client;
        client.read_exact(&mut [0]).err();
        drop(client);
        Ok(ends)
    }

    /// Sends a SYN to `to` and does not wait for an answer.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn half_open(to: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(socket),
        }
    }
}

/// The flow of what arrives at the end `local` from `remote`.
#[must_use]
pub fn reply_flow(remote: SocketAddr, local: SocketAddr) -> Flow {
    Flow {
        source: remote.ip().into(),
        destination: local.ip().into(),
        source_port: remote.port(),
        destination_port: local.port(),
    }
}
