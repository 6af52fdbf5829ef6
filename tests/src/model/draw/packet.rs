//! Packets, as a choice for each header; the bytes are `sandbox`'s work.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_common::read::{Flow, protocol, tcp_flags};
use proptest::{
    option::weighted,
    prelude::{Just, any},
    prop_oneof,
    sample::select,
    strategy::Strategy,
};
use sandbox::packet::{Frame, Header, frame};

use super::pool;
use crate::model::Interface;

/// What a packet is made of.
#[derive(Debug, Clone)]
pub struct Packet {
    pub interface: Interface,
    link: Link,
    v6: bool,
    remote: usize,
    local: usize,
    pub remote_port: u16,
    pub local_port: u16,
    /// It is the host's own.
    pub outbound: bool,
    hop_limit: u8,
    /// Bytes of options (IPv4), or extension headers (IPv6).
    options: usize,
    pub fragment: Option<Fragment>,
    pub body: Body,
    pub payload: usize,
}

/// The kernel runs a classifier on no frame that fills a page.
const SENT_MOST: usize = 1400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Plain,
    Tag,
    TwoTags,
    ThreeTags,
    Pppoe,
}

#[derive(Debug, Clone, Copy)]
pub struct Fragment {
    pub id: u16,
    /// In blocks of eight bytes.
    pub offset: u16,
    pub more: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Tcp {
        flags: u8,
    },
    Udp,
    /// An echo request that is asked of the host, or by it; and its reply.
    Echo {
        id: u16,
        reply: bool,
    },
    /// An error of that type, about something that the host sent.
    Error {
        kind: u8,
        about: u8,
    },
    /// Other ICMP.
    Icmp {
        kind: u8,
    },
    Other {
        protocol: u8,
    },
    Arp,
    NotIp {
        kind: u16,
    },
}

/// Any packet that comes in.
pub fn packets() -> impl Strategy<Value = Packet> {
    packets_of(bodies())
}

/// One with such a body.
pub fn packets_of(body: impl Strategy<Value = Body>) -> impl Strategy<Value = Packet> {
    let interface = prop_oneof![
        8 => Just(Interface::Ethernet),
        2 => Just(Interface::Raw),
        1 => Just(Interface::Other),
    ];
    let link = prop_oneof![
        16 => Just(Link::Plain),
        2 => Just(Link::Tag),
        1 => Just(Link::TwoTags),
        1 => Just(Link::Pppoe),
        1 => Just(Link::ThreeTags),
    ];
    let remote = prop_oneof![6 => 0..2_usize, 3 => 2..5_usize, 2 => 5..8_usize];
    let local = prop_oneof![8 => Just(0_usize), 1 => Just(1_usize)];
    let remote_port = prop_oneof![8 => Just(4000_u16), 3 => select(&pool::REMOTE_PORTS[..])];
    let local_port =
        prop_oneof![8 => select(&pool::LOCAL_PORTS[..5]), 3 => select(&pool::LOCAL_PORTS[..])];
    let options = prop_oneof![12 => Just(0_usize), 2 => 1..4_usize, 1 => 4..9_usize];
    let payload = prop_oneof![6 => 0..50_usize, 2 => Just(1400_usize), 1 => Just(9000_usize)];
    let fragment = weighted(0.04, fragments());
    let hop_limit = prop_oneof![3 => Just(64_u8), 1 => Just(255_u8)];
    (
        (interface, link, weighted(0.4, Just(())), hop_limit, options, fragment),
        (remote, local, remote_port, local_port),
        (body, payload),
    )
        .prop_map(|(ip, ends, (body, payload))| {
            let (interface, link, v6, hop_limit, options, fragment) = ip;
            let (remote, local, remote_port, local_port) = ends;
            Packet {
                interface,
                link,
                v6: v6.is_some(),
                remote,
                local,
                remote_port,
                local_port,
                outbound: false,
                hop_limit,
                options,
                fragment,
                body,
                payload,
            }
        })
}

fn fragments() -> impl Strategy<Value = Fragment> {
    (0..3_u16, prop_oneof![Just(0_u16), 1..8_u16, Just(0x1fff_u16)], any::<bool>())
        .prop_map(|(id, offset, more)| Fragment { id, offset, more })
}

fn bodies() -> impl Strategy<Value = Body> {
    // MLD, neighbour discovery, and some that nobody answers.
    let icmp = select(vec![5_u8, 13, 128, 130, 132, 133, 134, 135, 137, 143, 200]);
    let other = select(vec![protocol::IGMP, 47, 50, 132, 41, 4, protocol::ICMP, protocol::ICMPV6]);
    let not_ip = select(vec![0x88cc_u16, 0x0842, 0x05ff, 0x8035]);
    prop_oneof![
        10 => tcp(),
        5 => Just(Body::Udp),
        3 => echo(),
        2 => (errors(), select(vec![protocol::TCP, protocol::UDP, 1]))
            .prop_map(|(kind, about)| Body::Error { kind, about }),
        1 => icmp.prop_map(|kind| Body::Icmp { kind }),
        2 => other.prop_map(|protocol| Body::Other { protocol }),
        1 => Just(Body::Arp),
        1 => not_ip.prop_map(|kind| Body::NotIp { kind }),
    ]
}

pub fn tcp() -> impl Strategy<Value = Body> {
    use tcp_flags::{ACK, FIN, RST, SYN};
    let usual = select(vec![SYN, ACK, SYN | ACK, FIN | ACK, RST, RST | ACK, 0x18]);
    prop_oneof![3 => Just(SYN), 6 => usual, 1 => any::<u8>()].prop_map(|flags| Body::Tcp { flags })
}

/// Of connections that are asked for.
pub fn opening() -> impl Strategy<Value = Body> {
    Just(Body::Tcp { flags: tcp_flags::SYN })
}

pub fn echo() -> impl Strategy<Value = Body> {
    (1..4_u16).prop_map(|id| Body::Echo { id, reply: false })
}

fn errors() -> impl Strategy<Value = u8> {
    select(vec![3_u8, 11, 1, 2, 4, 12])
}

impl Packet {
    /// The same from the host to the other side.
    pub fn sent(&self) -> Self {
        Self { outbound: true, payload: self.payload.min(SENT_MOST), ..self.clone() }
    }

    /// What comes back for it, or what it comes back for.
    pub fn mirrored(&self) -> Self {
        let body = match self.body {
            Body::Echo { id, reply } => Body::Echo { id, reply: !reply },
            body => body,
        };
        let payload = self.payload.min(SENT_MOST);
        Self { outbound: !self.outbound, body, payload, ..self.clone() }
    }

    /// The other side's address.
    pub fn remote(&self) -> IpAddr {
        pool::address(pool::REMOTES[usize::from(self.v6)][self.remote])
    }

    /// This host's.
    pub fn local(&self) -> IpAddr {
        pool::address(pool::LOCALS[usize::from(self.v6)][self.local])
    }

    /// The protocol's number in tables of flows.
    pub fn protocol(&self) -> u8 {
        match self.body {
            Body::Tcp { .. } => protocol::TCP,
            Body::Udp => protocol::UDP,
            _ if self.v6 => protocol::ICMPV6,
            _ => protocol::ICMP,
        }
    }

    /// The flow as the host receives it.
    pub fn flow(&self) -> Flow {
        let (source_port, destination_port) = match self.body {
            Body::Echo { id, .. } => (0, id),
            _ => (self.remote_port, self.local_port),
        };
        Flow {
            source: self.remote().into(),
            destination: self.local().into(),
            source_port,
            destination_port,
        }
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        if self.interface.raw_ip() {
            return self.ip(frame());
        }
        let ethernet = frame().eth();
        match self.link {
            Link::Plain => self.ip(ethernet),
            Link::Tag => self.ip(ethernet.vlan(5)),
            Link::TwoTags => self.ip(ethernet.vlan(5).vlan(6)),
            Link::ThreeTags => self.ip(ethernet.vlan(5).vlan(6).vlan(7)),
            Link::Pppoe => self.ip(ethernet.pppoe(1)),
        }
    }

    fn ends<T>(&self, remote: T, local: T) -> (T, T) {
        if self.outbound { (local, remote) } else { (remote, local) }
    }

    fn ip<H: Header>(&self, below: Frame<H>) -> Vec<u8> {
        match self.body {
            Body::Arp if !self.interface.raw_ip() => {
                return below.arp_request([2, 0, 0, 0, 0, 2], "192.0.2.1", "192.0.2.2").build();
            }
            Body::NotIp { kind } if !self.interface.raw_ip() => {
                return frame().eth().ethertype(kind).payload(vec![0; 46]).build();
            }
            _ => {}
        }
        match self.ends(self.remote(), self.local()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.ipv4(below, from, to),
            (IpAddr::V6(from), IpAddr::V6(to)) => self.ipv6(below, from, to),
            _ => unreachable!("both are of one family"),
        }
    }

    fn ipv4<H: Header>(&self, below: Frame<H>, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
        let ip = below.ipv4(from, to).ttl(self.hop_limit).options(vec![1; self.options * 4]);
        let Some(Fragment { id, offset, more }) = self.fragment else {
            return self.transport(ip);
        };
        let ip = ip.fragment(id, offset, more);
        if offset == 0 {
            return self.transport(ip);
        }
        ip.protocol(self.number()).payload(vec![0; self.payload]).build()
    }

    fn ipv6<H: Header>(&self, below: Frame<H>, from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
        let ip = below.ipv6(from, to).hop_limit(self.hop_limit);
        if self.options == 0 {
            return self.fragmented(ip);
        }
        // One of each kind, then destination options: the seventh is too many.
        let mut chain = ip.hop_by_hop([]);
        for index in 1..self.options {
            chain = match index {
                1 => chain.routing(0, 0, [0; 4]),
                2 => chain.authentication(7, 1, [0; 12]),
                3 => chain.mobility(1, [0; 2]),
                _ => chain.destination_options([0; 12]),
            };
        }
        self.fragmented(chain)
    }

    fn fragmented<H: Header>(&self, below: Frame<H>) -> Vec<u8> {
        let Some(Fragment { id, offset, more }) = self.fragment else {
            return self.transport(below);
        };
        let header = below.fragment_header(id.into(), offset, more);
        if offset == 0 {
            return self.transport(header);
        }
        header.next_header(self.number()).payload(vec![0; self.payload]).build()
    }

    /// The IP protocol's number in the header.
    fn number(&self) -> u8 {
        match self.body {
            Body::Other { protocol } => protocol,
            _ => self.protocol(),
        }
    }

    fn transport<H: Header>(&self, below: Frame<H>) -> Vec<u8> {
        let (from, to) = self.ends(self.remote_port, self.local_port);
        let payload = vec![0; self.payload];
        let icmp = |below: Frame<H>, kind: u8, rest: [u8; 4], payload: Vec<u8>| {
            if self.v6 {
                below.icmpv6(kind, 0).rest(rest).payload(payload).build()
            } else {
                below.icmp(kind, 0).rest(rest).payload(payload).build()
            }
        };
        match self.body {
            Body::Tcp { flags } => {
                below.tcp(from, to).flags(flags).acknowledgement(1).payload(payload).build()
            }
            Body::Udp if self.fragment.is_some() => {
                below.udp(from, to).length(4000).payload(payload).build()
            }
            Body::Udp => below.udp(from, to).payload(payload).build(),
            Body::Echo { id, reply } => {
                let kind = match (self.v6, reply) {
                    (false, false) => 8,
                    (false, true) => 0,
                    (true, false) => 128,
                    (true, true) => 129,
                };
                let [high, low] = id.to_be_bytes();
                icmp(below, kind, [high, low, 0, 1], payload)
            }
            Body::Error { kind, about } => {
                let body = match about {
                    protocol::TCP => Body::Tcp { flags: tcp_flags::ACK },
                    protocol::UDP => Body::Udp,
                    _ => Body::Echo { id: 1, reply: false },
                };
                let about = Self {
                    interface: Interface::Raw,
                    outbound: true,
                    options: 0,
                    fragment: None,
                    body,
                    payload: 8,
                    ..self.clone()
                };
                icmp(below, kind, [0; 4], about.bytes())
            }
            Body::Icmp { kind } => icmp(below, kind, [0; 4], payload),
            Body::Other { protocol } => {
                let bytes = below.payload(payload).build();
                set_protocol(bytes, self.v6, self.fragment.is_some() || self.options > 0, protocol)
            }
            Body::Arp | Body::NotIp { .. } => below.payload(payload).build(),
        }
    }
}

/// Where nothing else says which protocol follows an IP header.
fn set_protocol(mut bytes: Vec<u8>, v6: bool, extended: bool, protocol: u8) -> Vec<u8> {
    // The header is the first that looks like one: links hold no byte of that kind before it.
    let first = if v6 { 0x60 } else { 0x40 };
    let at = bytes.iter().position(|byte| byte & 0xf0 == first);
    let field = if v6 { 6 } else { 9 };
    if let Some(byte) = at.and_then(|at| bytes.get_mut(at + field))
        && !(v6 && extended)
    {
        *byte = protocol;
    }
    bytes
}
