//! What is measured: each case is a frame, the sources it comes from, the
//! policy under which the filter meets it, and the rules by which its peers do
//! the same job.

mod denied;
mod limits;
mod ports;
mod random;
mod rules;
mod state;

use std::{fmt::Display, net::Ipv4Addr};

use bench::flood::Sources;
use filter_common::Reason;
use ipnet::Ipv4Net;
use sandbox::Sandbox;

use crate::peers::Peer;
use random::Random;

/// What a frame is.
#[derive(Clone, Copy)]
pub enum Segment {
    /// A bare SYN to that port.
    Syn(u16),
    /// An ACK to that port, of no connection.
    Ack(u16),
    /// An ACK to a port from which this host has a connection, of no connection.
    AckToOwnPort,
    /// A datagram to that port.
    Udp(u16),
    /// A bare SYN to that port behind a VLAN tag.
    VlanSyn(u16),
    /// A bare SYN to that port behind two IPv6 extension headers.
    Ipv6Syn(u16),
    /// A fragment of a datagram whose first was never seen.
    Later,
}

/// What becomes of nearly every frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It drops: the ceiling is the bare drop.
    Drops,
    /// It reaches a socket: the ceiling is the bare pass.
    Passes,
}

/// A flood, and who is to meet it.
pub struct Case {
    /// Of which part of the table it is.
    pub section: &'static str,
    /// What the row says.
    pub name: String,
    /// The frame.
    pub segment: Segment,
    /// Where it comes from.
    pub sources: Sources,
    /// The policy.
    pub policy: String,
    /// Banned before the flood begins.
    pub bans: Vec<Ipv4Addr>,
    /// Connections that the peer opens to [`OPEN`] before it begins.
    pub connections: usize,
    /// What becomes of nearly every frame.
    pub fate: Fate,
    /// And why.
    pub reason: Reason,
    /// The least share of the ceiling that the project holds itself to.
    pub goal: Option<f64>,
    /// Who does the same job.
    pub peers: Vec<Peer>,
}

/// The port that is open where one is, for TCP.
pub const OPEN: u16 = 15600;
/// The same for UDP.
pub const OPEN_UDP: u16 = 14626;
/// A port that is closed everywhere.
const CLOSED: u16 = 23;

/// All cases, in the order of the table.
pub fn all() -> Vec<Case> {
    let mut random = Random(0x6e6f_6465);
    let many = random.addresses(1 << 16);
    let mut cases = ports::cases(&mut random, &many);
    cases.extend(denied::cases(&mut random));
    cases.extend(rules::cases(&mut random));
    cases.extend(limits::cases(&many));
    cases.extend(state::cases(&many));
    cases
}

impl Case {
    fn new(section: &'static str, name: &str, segment: Segment, reason: Reason) -> Self {
        Self {
            section,
            name: name.to_owned(),
            segment,
            sources: one(),
            policy: String::new(),
            bans: Vec::new(),
            connections: 0,
            fate: Fate::Drops,
            reason,
            goal: None,
            peers: Vec::new(),
        }
    }

    /// The frame of one source, or of another where that is given. `own_port`:
    /// one from which the host has a connection.
    pub fn frame(&self, sandbox: &Sandbox, own_port: u16) -> Vec<u8> {
        let host = sandbox::HOST_IPV4;
        let source = self.sources.first().unwrap_or(sandbox::PEER_IPV4);
        let ethernet = sandbox.frame_to_host();
        let ip = ethernet.clone().ipv4(source, host);
        match self.segment {
            Segment::Syn(port) => ip.tcp(40_000, port).syn().pad_to(60).build(),
            Segment::Ack(port) => ip.tcp(40_000, port).ack().pad_to(60).build(),
            Segment::AckToOwnPort => ip.tcp(40_000, own_port).ack().pad_to(60).build(),
            Segment::Udp(port) => ip.udp(40_000, port).checksum(0).pad_to(60).build(),
            Segment::VlanSyn(port) => {
                let ip = ethernet.vlan(5).ipv4(source, host);
                ip.tcp(40_000, port).syn().pad_to(60).build()
            }
            Segment::Ipv6Syn(port) => {
                let ip = ethernet.ipv6("2001:db8:51::2", sandbox::HOST_IPV6);
                // Options that are padding, eight bytes in all (RFC 8200, section 4.2).
                let options = [1, 4, 0, 0, 0, 0];
                let ip = ip.hop_by_hop(options).destination_options(options);
                ip.tcp(40_000, port).syn().build()
            }
            Segment::Later => ip.fragment(7, 185, false).udp(40_000, 53).pad_to(60).build(),
        }
    }
}

fn one() -> Sources {
    Sources::Listed(vec![Ipv4Addr::new(203, 0, 113, 9)])
}

fn everywhere() -> Sources {
    Sources::Of(Ipv4Net::new_assert(Ipv4Addr::new(44, 0, 0, 0), 8))
}

/// Lines with commas between them, as both policies and nftables take lists.
fn listed<T: Display>(items: &[T], quote: &str) -> String {
    let words: Vec<String> = items.iter().map(|item| format!("{quote}{item}{quote}")).collect();
    words.join(",\n")
}
