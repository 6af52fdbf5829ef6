//! The kernel's TCP sockets, by `sock_diag` over netlink (sock_diag(7),
//! include/uapi/linux/inet_diag.h). No crate knows the attribute that brings
//! what a BPF program keeps with a socket, hence the few bytes by hand.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use filter_common::{
    Address,
    tables::{Slot, speakers::Speaker},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};
use nix::libc;
use zerocopy::FromBytes as _;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// Of a message's type (netlink(7)).
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// `struct inet_diag_msg`, and where in it the socket's identity stands.
const MESSAGE: usize = 72;
const ID: std::ops::Range<usize> = 4..52;
const INODE: usize = 68;
/// Attributes.
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_REQ_SK_BPF_STORAGES: u16 = 2;
const INET_DIAG_SK_BPF_STORAGES: u16 = 20;
const SK_DIAG_BPF_STORAGE_REQ_MAP_FD: u16 = 1;
const SK_DIAG_BPF_STORAGE: u16 = 1;
const SK_DIAG_BPF_STORAGE_MAP_VALUE: u16 = 3;
/// Where `struct tcp_info` (include/uapi/linux/tcp.h) has the milliseconds since
/// data was sent and received.
const LAST_DATA_SENT: usize = 44;
const LAST_DATA_RECV: usize = 52;
/// Of `idiag_timer`: the socket is in TIME_WAIT, whatever its state says.
const TIMER_TIME_WAIT: u8 = 3;

const FAMILIES: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];
const DUMP: i32 = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;

const SYN_RECV: u8 = 3;
const LISTEN: u8 = 10;
/// States of a connection, from its handshake to its end: ESTABLISHED,
/// SYN_RECV, FIN_WAIT1 and 2, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING.
const STATES: u32 =
    1 << 1 | 1 << SYN_RECV | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << LISTEN | 1 << 11;
/// From ESTABLISHED to NEW_SYN_RECV: not what is bound and no more.
const ALL_STATES: u32 = (1 << 13) - 2;

/// One TCP socket.
#[derive(Debug, Clone)]
pub struct Tcp {
    family: u8,
    /// `struct inet_diag_sockid`: no other socket ever has the same.
    id: [u8; 48],
    /// Its end here.
    pub local: SocketAddr,
    /// Its other end; unspecified for a listener.
    pub remote: SocketAddr,
    /// It listens.
    pub listens: bool,
    /// Its handshake is not complete.
    pub half_open: bool,
    /// What the program keeps with it.
    pub slot: Option<Slot>,
    /// For how long no byte was sent or received.
    pub idle: Duration,
    /// The inode that processes hold it by (proc(5), `fd`).
    pub inode: u32,
}

/// A way to ask.
pub struct Sockets {
    netlink: Socket,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").finish_non_exhaustive()
    }
}

impl Sockets {
    /// For the network namespace that the calling thread is in.
    ///
    /// # Errors
    ///
    /// When the kernel has no `sock_diag`.
    pub fn open() -> io::Result<Self> {
        let netlink = Socket::new(NETLINK_SOCK_DIAG)?;
        netlink.connect(&NetlinkAddr::new(0, 0))?;
        Ok(Self { netlink })
    }

    /// All connections and listeners. `storage`: the descriptor of the map that
    /// keeps a [`Slot`] with each, if that is wanted.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or answers what cannot be read.
    pub fn list(&self, storage: Option<i32>) -> io::Result<Vec<Tcp>> {
        let mut found = Vec::new();
        for family in FAMILIES {
            let mut body = request(family, &[0; 48], STATES);
            if let Some(storage) = storage {
                let map = attribute(SK_DIAG_BPF_STORAGE_REQ_MAP_FD, &storage.to_ne_bytes());
                body.extend(attribute(INET_DIAG_REQ_SK_BPF_STORAGES, &map));
            }
            self.ask(SOCK_DIAG_BY_FAMILY, DUMP, &body, |message| found.extend(read(message)))?;
        }
        Ok(found)
    }

    /// Who speaks from here: all connections, handshakes, those in TIME_WAIT, and
    /// listeners.
    ///
    /// # Errors
    ///
    /// As of [`list`](Self::list).
    pub fn speakers(&self) -> io::Result<HashSet<Speaker>> {
        let mut speakers = HashSet::new();
        for family in FAMILIES {
            let body = request(family, &[0; 48], ALL_STATES);
            self.ask(SOCK_DIAG_BY_FAMILY, DUMP, &body, |message| {
                speakers.extend(speaker(message));
            })?;
        }
        Ok(speakers)
    }

    /// Closes a connection, with a reset to both sides. One that is gone
    /// already is as good.
    ///
    /// # Errors
    ///
    /// When the kernel was built without `INET_DIAG_DESTROY`, or refuses.
    pub fn destroy(&self, socket: &Tcp) -> io::Result<()> {
        let body = request(socket.family, &socket.id, STATES);
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        match self.ask(SOCK_DESTROY, flags, &body, |_| {}) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// Whether [`destroy`](Self::destroy) can do anything: asks for what is no
    /// connection.
    ///
    /// # Errors
    ///
    /// When the kernel does not say, as to who lacks `CAP_NET_ADMIN`.
    pub fn can_destroy(&self) -> io::Result<bool> {
        let body = request(FAMILIES[0], &[0; 48], STATES);
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        match self.ask(SOCK_DESTROY, flags, &body, |_| {}) {
            Ok(()) => Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::ESTALE) => Ok(true),
                Some(libc::EOPNOTSUPP) => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Sends a request, and hands on each message of the answer.
    fn ask(
        &self,
        kind: u16,
        flags: i32,
        body: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        let mut request = length.to_ne_bytes().to_vec();
        request.extend(kind.to_ne_bytes());
        request.extend(u16::try_from(flags).unwrap_or_default().to_ne_bytes());
        request.extend([0; 8]);
        request.extend(body);
        self.netlink.send(&request, 0)?;
        let mut buffer = Vec::with_capacity(1 << 18);
        loop {
            buffer.clear();
            self.netlink.recv(&mut buffer, 0)?;
            let mut rest = &buffer[..];
            if rest.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while let Some((message, kind, next)) = next_message(rest) {
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let code = i32_at(message, 0).unwrap_or(-libc::EPROTO);
                        return match code {
                            0 => Ok(()),
                            code => Err(io::Error::from_raw_os_error(-code)),
                        };
                    }
                    _ => each(message),
                }
                rest = next;
            }
        }
    }
}

/// `struct inet_diag_req_v2`.
fn request(family: u8, id: &[u8; 48], states: u32) -> Vec<u8> {
    let protocol = u8::try_from(libc::IPPROTO_TCP).unwrap_or_default();
    let mut body = vec![family, protocol, 1 << (INET_DIAG_INFO - 1), 0];
    body.extend(states.to_ne_bytes());
    body.extend(id);
    body
}

/// One attribute (netlink(7)), padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut out = length.to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// The body and type of the first message, and what comes after it.
fn next_message(bytes: &[u8]) -> Option<(&[u8], u16, &[u8])> {
    let length = usize::try_from(i32_at(bytes, 0)?).ok()?;
    let kind = u16_at(bytes, 4)?;
    let body = bytes.get(HEADER..length)?;
    Some((body, kind, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes in a row: types and values.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        /// The bits of a type that are no type: `NLA_F_NESTED` and the byte order.
        const FLAGS: u16 = 0xc000;
        let kind = u16_at(bytes, 2)? & !FLAGS;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// The addresses and ports of a socket's own end and the other one.
fn ends(message: &[u8]) -> Option<[(Address, u16); 2]> {
    let is_ipv4 = i32::from(*message.first()?) == libc::AF_INET;
    let id = message.get(ID)?;
    let address = |at: usize| {
        let words = <[u32; 4]>::read_from_bytes(id.get(at..at + 16)?).ok()?;
        Some(if is_ipv4 { Address::from_ipv4(words[0]) } else { Address(words) })
    };
    let port = |at: usize| Some(u16::from_be_bytes(*id.get(at..)?.first_chunk()?));
    Some([(address(4)?, port(0)?), (address(20)?, port(2)?)])
}

fn speaker(message: &[u8]) -> Option<Speaker> {
    let [(_, port), (peer, peer_port)] = ends(message)?;
    let listens = *message.get(1)? == LISTEN;
    Some(if listens { Speaker::listener(port) } else { Speaker { port, peer, peer_port } })
}

/// A socket, unless it is one in TIME_WAIT.
fn read(message: &[u8]) -> Option<Tcp> {
    let &[family, state, timer, ..] = message.first_chunk::<4>()?;
    if timer == TIMER_TIME_WAIT {
        return None;
    }
    let id: [u8; 48] = message.get(ID)?.try_into().ok()?;
    let [local, remote] = ends(message)?;
    let rest = message.get(MESSAGE..)?;
    let information = find(rest, INET_DIAG_INFO).unwrap_or_default();
    let since = |at| u32_at(information, at).unwrap_or(0);
    let idle = since(LAST_DATA_SENT).min(since(LAST_DATA_RECV));
    let slot = find(rest, INET_DIAG_SK_BPF_STORAGES)
        .and_then(|storages| find(storages, SK_DIAG_BPF_STORAGE))
        .and_then(|storage| find(storage, SK_DIAG_BPF_STORAGE_MAP_VALUE))
        .and_then(|value| Slot::read_from_bytes(value).ok());
    Some(Tcp {
        family,
        id,
        local: SocketAddr::new(IpAddr::from(local.0), local.1),
        remote: SocketAddr::new(IpAddr::from(remote.0), remote.1),
        listens: state == LISTEN,
        half_open: state == SYN_RECV,
        slot,
        idle: Duration::from_millis(idle.into()),
        inode: u32_at(message, INODE)?,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    u32_at(bytes, at).map(u32::cast_signed)
}
