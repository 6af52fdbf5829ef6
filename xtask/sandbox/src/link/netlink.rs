//! A blocking rtnetlink connection: changes with their acknowledgement, and the
//! look-up of one link.
//!
//! The messages are those of `netlink-packet-route`; `rtnetlink`, which wraps
//! them for tokio, would add a runtime for what is one send and one receive.

use std::io;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE,
    NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NlaBuffer, NlasIterator,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
    tc::{TcHandle, TcHeader, TcMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Requests that are under way at the same time: their acknowledgements must
/// fit into the socket's receive buffer.
const WINDOW: usize = 64;

/// Message types of linux/netlink.h and linux/rtnetlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWTFILTER: u16 = 44;
/// `struct nlmsghdr`, which an error repeats from its request.
const HEADER_LENGTH: usize = 16;
/// `struct ifinfomsg`
const LINK_HEADER_LENGTH: usize = 16;
/// The egress side of the `clsact` qdisc, linux/pkt_sched.h.
const EGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff3 };
/// Attributes of linux/if_link.h and linux/netlink.h.
const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// What the kernel says about a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkState {
    /// Interface index.
    pub index: u32,
    /// MAC address; zero for links without one.
    pub mac: [u8; 6],
    /// Largest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Whether it is set up (`IFF_UP`).
    pub up: bool,
}

/// A connection to the rtnetlink of the namespace that the opening thread was in.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Connects in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // The kernel's own sentence in errors, without the request repeated.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Makes something that must not be there yet.
    pub(crate) fn create(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.create_all([message])
    }

    /// Makes many things that must not be there yet, except for neighbours:
    /// the kernel may have learnt of them. The first refusal ends it.
    pub(crate) fn create_all(
        &mut self,
        messages: impl IntoIterator<Item = RouteNetlinkMessage>,
    ) -> io::Result<()> {
        let with_flags = |message| match message {
            RouteNetlinkMessage::NewNeighbour(_) => (message, NLM_F_CREATE | NLM_F_REPLACE),
            _ => (message, NLM_F_CREATE | NLM_F_EXCL),
        };
        self.send_all(messages.into_iter().map(with_flags))
    }

    /// Changes or removes something that is there.
    pub(crate) fn change(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.send_all([(message, 0)])
    }

    /// The state of the link of that name, `None` if there is none.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<LinkState>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let sequence = self.send(RouteNetlinkMessage::GetLink(message), 0)?;
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in messages(&bytes) {
                let message = message?;
                if message.sequence_number() != sequence {
                    continue;
                }
                match message.message_type() {
                    RTM_NEWLINK => return link_state(message.payload()).map(Some),
                    NLMSG_ERROR => {
                        return match refusal(&message)? {
                            Some((libc::ENODEV, _)) => Ok(None),
                            Some((_, error)) => Err(error),
                            None => Err(malformed()),
                        };
                    }
                    _ => {}
                }
            }
        }
    }

    /// How many filters the `clsact` qdisc of a link runs on what it sends.
    pub(crate) fn egress_filters(&mut self, index: u32) -> io::Result<usize> {
        let index = i32::try_from(index).map_err(|_| malformed())?;
        let header = TcHeader { index, parent: EGRESS, ..TcHeader::default() };
        let message = TcMessage::from_parts(header, vec![]);
        let sequence = self.send(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP)?;
        let mut filters = 0;
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in messages(&bytes) {
                let message = message?;
                if message.sequence_number() != sequence {
                    continue;
                }
                match message.message_type() {
                    RTM_NEWTFILTER => {
                        let header = TcHeader::parse(message.payload());
                        let header = header.map_err(|_| malformed())?;
                        // Each priority has a message of its own, without a handle.
                        filters += usize::from(header.handle != TcHandle::default());
                    }
                    NLMSG_DONE => return Ok(filters),
                    NLMSG_ERROR => {
                        return refusal(&message)?.map_or(Ok(0), |(_, error)| Err(error));
                    }
                    _ => {}
                }
            }
        }
    }

    fn send_all(
        &mut self,
        messages: impl IntoIterator<Item = (RouteNetlinkMessage, u16)>,
    ) -> io::Result<()> {
        let mut messages = messages.into_iter();
        loop {
            let mut pending = 0;
            for (message, flags) in messages.by_ref().take(WINDOW) {
                self.send(message, flags | NLM_F_ACK)?;
                pending += 1;
            }
            if pending == 0 {
                return Ok(());
            }
            self.receive_acknowledgements(pending)?;
        }
    }

    /// Reads the answers to the last `pending` requests, all of them, and then
    /// reports the first refusal.
    fn receive_acknowledgements(&mut self, pending: u32) -> io::Result<()> {
        let first = self.sequence.wrapping_sub(pending).wrapping_add(1);
        let mut answered = 0;
        let mut outcome = Ok(());
        while answered < pending {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in messages(&bytes) {
                let message = message?;
                // Left over from a look-up that failed half way.
                if message.sequence_number().wrapping_sub(first) >= pending {
                    continue;
                }
                if message.message_type() == NLMSG_ERROR {
                    answered += 1;
                    let refused = refusal(&message)?.map(|(_, error)| error);
                    outcome = outcome.and(refused.map_or(Ok(()), Err));
                }
            }
        }
        outcome
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        self.socket.send(&bytes, 0)?;
        Ok(self.sequence)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer could not be read")
}

/// The messages of one datagram.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = io::Result<NetlinkBuffer<&[u8]>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let Ok(message) = NetlinkBuffer::new_checked(bytes) else {
            bytes = &[];
            return Some(Err(malformed()));
        };
        let length = message.length() as usize;
        let (this, _) = bytes.split_at(length);
        // The next one starts at a multiple of four.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(NetlinkBuffer::new(this)))
    })
}

/// Reads `struct nlmsgerr`: nothing where it acknowledges, else the error
/// number and the error, with the kernel's own sentence where it gave one.
fn refusal(message: &NetlinkBuffer<&[u8]>) -> io::Result<Option<(i32, io::Error)>> {
    let (code, rest) = message.payload().split_first_chunk::<4>().ok_or_else(malformed)?;
    let code = i32::from_ne_bytes(*code).saturating_abs();
    if code == 0 {
        return Ok(None);
    }
    let error = io::Error::from_raw_os_error(code);
    if message.flags() & NLM_F_ACK_TLVS == 0 {
        return Ok(Some((code, error)));
    }
    let explained = NlasIterator::new(rest.get(HEADER_LENGTH..).unwrap_or_default())
        .map_while(Result::ok)
        .find(|attribute: &NlaBuffer<&[u8]>| attribute.kind() == NLMSGERR_ATTR_MSG)
        .map(|attribute| {
            String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned()
        });
    let error = match explained {
        Some(sentence) => io::Error::new(error.kind(), format!("{error}: {sentence}")),
        None => error,
    };
    Ok(Some((code, error)))
}

/// Reads `struct ifinfomsg` and the attributes that are asked for here. Only
/// those: newer kernels add attributes and lengthen others.
fn link_state(payload: &[u8]) -> io::Result<LinkState> {
    let (header, attributes) =
        payload.split_at_checked(LINK_HEADER_LENGTH).ok_or_else(malformed)?;
    let word = |at: usize| -> io::Result<u32> {
        let bytes = header.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(malformed)?;
        Ok(u32::from_ne_bytes(*bytes))
    };
    let flags = LinkFlags::from_bits_retain(word(8)?);
    let mut state =
        LinkState { index: word(4)?, mac: [0; 6], mtu: 0, up: flags.contains(LinkFlags::Up) };
    for attribute in NlasIterator::new(attributes) {
        let attribute: NlaBuffer<&[u8]> = attribute.map_err(|_| malformed())?;
        let value = attribute.value();
        match attribute.kind() {
            IFLA_ADDRESS => state.mac = value.try_into().unwrap_or_default(),
            IFLA_MTU => state.mtu = u32::from_ne_bytes(value.try_into().map_err(|_| malformed())?),
            _ => {}
        }
    }
    Ok(state)
}
