//! Whole Ethernet frames into and out of a link.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
        UnknownCmsg, bind, recvmsg, send, setsockopt, socket, sockopt,
    },
};

use crate::{Error, Namespace, Result, poll, sys};

/// Frames may be as long as GRO makes them.
const LARGEST_FRAME: usize = 65_535 + 18;
/// Frames that arrive between two reads must fit (bytes).
const RECEIVE_BUFFER: usize = 32 << 20;
/// Ethernet addresses, in front of a VLAN tag.
const ADDRESSES: usize = 12;

/// A packet socket (`AF_PACKET`) on one link.
///
/// It sees frames after XDP and before everything else: what an XDP program
/// drops on this link does not show. Frames that this host sends have no
/// checksum yet, unless [`crate::Offload::SendChecksum`] is off.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
    namespace: Namespace,
    link: String,
}

impl RawSocket {
    /// Opens a socket on a link of `namespace`.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Socket`]
    pub fn open(namespace: &Namespace, link: &str) -> Result<Self> {
        let index = namespace.link_state(link)?.index;
        let make = || -> io::Result<OwnedFd> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            // Without a protocol it receives nothing until it is bound.
            let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None::<SockProtocol>)?;
            sys::enable_auxdata(socket.as_fd())?;
            setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
            bind(socket.as_raw_fd(), &sys::link_address(index)?)?;
            Ok(socket)
        };
        let socket = namespace.enter(make)?.map_err(|source| {
            namespace.socket_error(format!("open a packet socket on `{link}`"), source)
        })?;
        Ok(Self { socket, namespace: namespace.clone(), link: link.to_owned() })
    }

    /// Sends one frame, which starts with its Ethernet header. It waits where
    /// the link's queue is full.
    ///
    /// # Errors
    /// [`Error::Socket`]: shorter than 14 bytes, longer than the MTU allows, or
    /// the link is down.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        loop {
            match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => std::thread::yield_now(),
                Err(errno) => return Err(self.error("send a frame", errno)),
            }
        }
    }

    /// The next frame that arrives and that `accept` takes; others are skipped.
    /// `None` when `timeout` is over.
    ///
    /// # Errors
    /// [`Error::Socket`], among others when the link is set down.
    pub fn receive(
        &self,
        timeout: Duration,
        mut accept: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let until = Instant::now() + timeout;
        let mut buffer = vec![0; LARGEST_FRAME];
        let wait = || poll::readable(self.socket.as_fd(), until);
        while wait().map_err(|source| self.error("wait for a frame", source))? {
            let frame =
                self.read(&mut buffer).map_err(|errno| self.error("receive a frame", errno))?;
            if let Some(frame) = frame.filter(|frame| accept(frame)) {
                return Ok(Some(frame));
            }
            // A flood would never let the wait above run out.
            if Instant::now() >= until {
                break;
            }
        }
        Ok(None)
    }

    /// Every frame that `accept` takes and that arrives within `time`.
    ///
    /// # Errors
    /// [`Error::Socket`]
    pub fn collect(
        &self,
        time: Duration,
        mut accept: impl FnMut(&[u8]) -> bool,
    ) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        self.receive(time, |frame| {
            if accept(frame) {
                frames.push(frame.to_vec());
            }
            false
        })?;
        Ok(frames)
    }

    /// The next frame in the socket, if it is one that came in.
    fn read(&self, buffer: &mut [u8]) -> Result<Option<Vec<u8>>, Errno> {
        let mut control = nix::cmsg_space!([u32; 8]);
        let mut slices = [IoSliceMut::new(buffer)];
        let descriptor = self.socket.as_raw_fd();
        let message = match recvmsg::<LinkAddr>(
            descriptor,
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        ) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            outcome => outcome?,
        };
        if message.address.is_some_and(|address| address.pkttype() == libc::PACKET_OUTGOING) {
            return Ok(None);
        }
        let tag = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Unknown(control) if is_auxdata(&control) => {
                vlan_tag(&control.data_bytes)
            }
            _ => None,
        });
        let bytes = message.bytes;
        let mut frame = buffer[..bytes].to_vec();
        if let Some(tag) = tag.filter(|_| frame.len() >= ADDRESSES) {
            frame.splice(ADDRESSES..ADDRESSES, tag);
        }
        Ok(Some(frame))
    }

    fn error(&self, action: &str, source: impl Into<io::Error>) -> Error {
        self.namespace.socket_error(format!("{action} on the link `{}`", self.link), source)
    }
}

fn is_auxdata(control: &UnknownCmsg) -> bool {
    let header = control.cmsg_header;
    (header.cmsg_level, header.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA)
}

/// The outermost VLAN tag, which the kernel takes off before any packet socket
/// sees the frame, from a `struct tpacket_auxdata` (linux/if_packet.h).
fn vlan_tag(auxdata: &[u8]) -> Option<[u8; 4]> {
    const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
    let word = |at: usize| Some(u16::from_ne_bytes(*auxdata.get(at..)?.first_chunk()?));
    let status = u32::from_ne_bytes(*auxdata.first_chunk()?);
    if status & TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let [t0, t1] = word(18)?.to_be_bytes();
    let [c0, c1] = word(16)?.to_be_bytes();
    Some([t0, t1, c0, c1])
}
