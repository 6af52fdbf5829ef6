//! Clients: one connection, many at once, datagrams.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags};
use socket2::{Domain, Socket, Type};

use crate::{Error, Namespace, Result, poll};

/// How an attempt to connect ended.
#[derive(Debug)]
pub enum Outcome {
    /// The handshake was completed. The stream blocks.
    Connected(TcpStream),
    /// The other side answered with a reset.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// There is no way there: no route, no neighbour, or an ICMP error said so.
    Unreachable,
}

impl Outcome {
    /// Whether the handshake was completed.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }

    /// Whether there was no answer at all.
    #[must_use]
    pub const fn is_timed_out(&self) -> bool {
        matches!(self, Self::TimedOut)
    }

    /// Whether the other side answered with a reset.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Refused)
    }

    /// What an error means; errors that are no outcome stay errors.
    fn of(error: io::Error) -> io::Result<Self> {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Ok(Self::Refused),
            io::ErrorKind::TimedOut => Ok(Self::TimedOut),
            _ if is_unreachable(&error) => Ok(Self::Unreachable),
            _ => Err(error),
        }
    }
}

/// How a question by UDP ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UdpOutcome {
    /// A datagram came back.
    Answered(Vec<u8>),
    /// An ICMP error said that nobody listens on the port.
    Refused,
    /// Nothing came back in time.
    TimedOut,
    /// There is no way there: no route, no neighbour, or an ICMP error said so.
    Unreachable,
}

fn is_unreachable(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
        // ICMPv6 "administratively prohibited" arrives as EACCES.
        || kind == io::ErrorKind::PermissionDenied
        || kind == io::ErrorKind::NetworkDown
}

/// A non-blocking socket for speaking to `to`, bound to `from` if given. The
/// calling thread is in the namespace. `from` may be any address that a route
/// makes local ([`crate::Link::add_sources`]).
fn open(kind: Type, from: Option<IpAddr>, to: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(to);
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    if let Some(from) = from {
        // IPv6 refuses addresses that are local by a prefix route without it.
        if domain == Domain::IPV6 {
            socket.set_freebind_v6(true)?;
        } else {
            socket.set_freebind_v4(true)?;
        }
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    Ok(socket)
}

fn check_family(from: Option<IpAddr>, to: SocketAddr) -> Result<()> {
    match from {
        Some(from) if from.is_ipv4() != to.is_ipv4() => Err(Error::FamilyMismatch { from, to }),
        _ => Ok(()),
    }
}

/// An attempt that may not be over.
enum Attempt {
    Over(Outcome),
    Pending(Socket),
}

fn begin(from: Option<IpAddr>, to: SocketAddr) -> io::Result<Attempt> {
    let socket = open(Type::STREAM, from, to)?;
    match socket.connect(&to.into()) {
        Ok(()) => Ok(Attempt::Over(connected(socket)?)),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            Ok(Attempt::Pending(socket))
        }
        Err(error) => Outcome::of(error).map(Attempt::Over),
    }
}

/// The outcome of an attempt that poll has called ready.
fn end(socket: Socket) -> io::Result<Outcome> {
    match socket.take_error()? {
        Some(error) => Outcome::of(error),
        None => connected(socket),
    }
}

fn connected(socket: Socket) -> io::Result<Outcome> {
    socket.set_nonblocking(false)?;
    Ok(Outcome::Connected(socket.into()))
}

/// Connects to `to` by TCP and waits `timeout` for the answer.
///
/// # Errors
/// [`Error::FamilyMismatch`]; [`Error::Socket`] where there could be no attempt
/// at all, such as from an address that is not the namespace's.
pub fn tcp_connect(
    namespace: &Namespace,
    from: Option<IpAddr>,
    to: SocketAddr,
    timeout: Duration,
) -> Result<Outcome> {
    check_family(from, to)?;
    let until = Instant::now() + timeout;
    let attempt = || match begin(from, to)? {
        Attempt::Over(outcome) => Ok(outcome),
        Attempt::Pending(socket) => {
            let ready = poll::wait(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], until)?;
            if ready { end(socket) } else { Ok(Outcome::TimedOut) }
        }
    };
    namespace
        .enter(attempt)?
        .map_err(|source| namespace.socket_error(format!("connect to {to}"), source))
}

/// Attempts under way at the same time; each one is an open file, of which a
/// process has 1,024 unless it asked for more.
const PARALLEL: usize = 256;

/// Connects to many ports of one address, up to 256 at the same time, each
/// within `timeout`. The outcomes are in the order of the ports. Each open
/// connection that is kept is an open file.
///
/// # Errors
/// As [`tcp_connect`]; the first error ends it.
pub fn scan(
    namespace: &Namespace,
    from: Option<IpAddr>,
    to: IpAddr,
    ports: impl IntoIterator<Item = u16>,
    timeout: Duration,
) -> Result<Vec<(u16, Outcome)>> {
    check_family(from, SocketAddr::new(to, 0))?;
    let ports: Vec<u16> = ports.into_iter().collect();
    namespace.enter(|| scan_here(from, to, &ports, timeout))?.map_err(|source| {
        namespace.socket_error(format!("scan {} ports of {to}", ports.len()), source)
    })
}

/// An attempt in the scan's window.
struct Probe {
    /// Index into the ports.
    place: usize,
    socket: Socket,
    until: Instant,
}

fn scan_here(
    from: Option<IpAddr>,
    to: IpAddr,
    ports: &[u16],
    timeout: Duration,
) -> io::Result<Vec<(u16, Outcome)>> {
    let mut outcomes: Vec<(u16, Outcome)> =
        ports.iter().map(|port| (*port, Outcome::TimedOut)).collect();
    let mut waiting = ports.iter().enumerate();
    // In the order of their deadlines, which is the order of their start.
    let mut window: VecDeque<Probe> = VecDeque::new();
    loop {
        while window.len() < PARALLEL {
            let Some((place, port)) = waiting.next() else {
                break;
            };
            match begin(from, SocketAddr::new(to, *port))? {
                Attempt::Over(outcome) => outcomes[place].1 = outcome,
                Attempt::Pending(socket) => {
                    window.push_back(Probe { place, socket, until: Instant::now() + timeout });
                }
            }
        }
        let Some(first) = window.front() else {
            return Ok(outcomes);
        };
        let until = first.until;
        let mut watched: Vec<PollFd<'_>> = window
            .iter()
            .map(|probe| PollFd::new(probe.socket.as_fd(), PollFlags::POLLOUT))
            .collect();
        poll::wait(&mut watched, until)?;
        let ready: Vec<bool> = watched.iter().map(|polled| polled.any().unwrap_or(false)).collect();
        let now = Instant::now();
        let mut still = VecDeque::with_capacity(window.len());
        for (probe, ready) in window.into_iter().zip(ready) {
            if ready {
                outcomes[probe.place].1 = end(probe.socket)?;
            } else if probe.until > now {
                still.push_back(probe);
            }
        }
        window = still;
    }
}

/// Sends one datagram and waits for nothing.
///
/// # Errors
/// [`Error::FamilyMismatch`], [`Error::Socket`]
pub fn udp_send(
    namespace: &Namespace,
    from: Option<IpAddr>,
    to: SocketAddr,
    payload: &[u8],
) -> Result<()> {
    check_family(from, to)?;
    namespace
        .enter(|| open(Type::DGRAM, from, to)?.send_to(payload, &to.into()))?
        .map(drop)
        .map_err(|source| namespace.socket_error(format!("send a datagram to {to}"), source))
}

/// Sends one datagram and waits `timeout` for an answer from where it went.
///
/// # Errors
/// [`Error::FamilyMismatch`], [`Error::Socket`]
pub fn udp_ask(
    namespace: &Namespace,
    from: Option<IpAddr>,
    to: SocketAddr,
    payload: &[u8],
    timeout: Duration,
) -> Result<UdpOutcome> {
    check_family(from, to)?;
    let until = Instant::now() + timeout;
    let ask = || {
        let socket = open(Type::DGRAM, from, to)?;
        // Connected, it hears of ICMP errors.
        socket.connect(&to.into())?;
        let socket = UdpSocket::from(socket);
        socket.send(payload)?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        while poll::readable(socket.as_fd(), until)? {
            match socket.recv(&mut buffer) {
                Ok(length) => return Ok(UdpOutcome::Answered(buffer[..length].to_vec())),
                // A datagram with a bad checksum wakes for nothing.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(UdpOutcome::TimedOut)
    };
    match namespace.enter(ask)? {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(UdpOutcome::Refused),
        Err(error) if is_unreachable(&error) => Ok(UdpOutcome::Unreachable),
        outcome => {
            outcome.map_err(|source| namespace.socket_error(format!("ask {to} by UDP"), source))
        }
    }
}
