//! What is measured: each case is a frame, the sources it comes from, and the
//! policy and bans under which the filter meets it.

use std::{fmt::Write as _, net::Ipv4Addr, ops::RangeInclusive};

use bench::flood::Sources;
use filter_common::Reason;
use ipnet::Ipv4Net;

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
}

/// One row of the table.
pub struct Case {
    /// What the row says.
    pub name: &'static str,
    /// The frame.
    pub segment: Segment,
    /// Where it comes from.
    pub sources: Sources,
    /// The policy.
    pub policy: String,
    /// Banned before the flood begins.
    pub bans: Vec<Ipv4Addr>,
    /// Why nearly all of it drops.
    pub reason: Reason,
    /// The least share of the bare drop that the project holds itself to.
    pub goal: Option<f64>,
    /// Whether xdp-filter, which can do the same job, meets the same flood.
    pub xdp_filter: bool,
}

const LIMITED: &str = r#"
[[rule]]
name = "p2p"
ports = ["tcp/15600"]
[rule.per_source]
new_connections = { rate = "1/s", burst = 1 }
packets = { rate = "1/s", burst = 1 }
"#;

const TOTAL: &str = r#"
[[rule]]
name = "p2p"
ports = ["tcp/15600", "udp/14626"]
[rule.total]
new_connections = { rate = "1/s", burst = 1 }
packets = { rate = "1/s", burst = 1 }
"#;

/// The same, with limits of each source, which are looked at first and which
/// none of many sources exceeds.
const TOTAL_AND_SOURCES: &str = r#"
[[rule]]
name = "p2p"
ports = ["tcp/15600", "udp/14626"]
[rule.per_source]
new_connections = { rate = "5/s", burst = 20 }
packets = { rate = "2000/s", burst = 4000 }
[rule.total]
new_connections = { rate = "1/s", burst = 1 }
packets = { rate = "1/s", burst = 1 }
"#;

const LIMITED_UDP: &str = r#"
[[rule]]
name = "p2p"
ports = ["udp/14626"]
[rule.per_source]
packets = { rate = "1/s", burst = 1 }
"#;

/// All cases, in the order of the table.
pub fn all() -> Vec<Case> {
    let mut random = Random(0x6e6f_6465);
    let many: Vec<Ipv4Addr> = (0..1 << 16).map(|_| random.address()).collect();
    let one = [Ipv4Addr::new(203, 0, 113, 9)];
    let everywhere = Sources::Of(Ipv4Net::new_assert(Ipv4Addr::new(44, 0, 0, 0), 8));
    let wide = random.prefixes(100_000, 16..=24);
    let narrow = random.prefixes(100_000, 25..=32);
    let case = |name, segment, reason, sources: &[Ipv4Addr], policy: String, goal| Case {
        name,
        segment,
        reason,
        sources: Sources::Listed(sources.to_vec()),
        policy,
        bans: Vec::new(),
        goal,
        xdp_filter: false,
    };
    vec![
        Case {
            xdp_filter: true,
            ..case(
                "SYN to a closed port, 64k sources, empty lists",
                Segment::Syn(23),
                Reason::PortClosed,
                &many,
                String::new(),
                Some(0.85),
            )
        },
        Case {
            bans: (0..1_000).map(|_| random.address()).collect(),
            ..case(
                "the same, with 1,000 denied prefixes, 1,000 bans, a trusted prefix",
                Segment::Syn(23),
                Reason::PortClosed,
                &many,
                lists(&random.prefixes(1_000, 16..=32)),
                Some(0.6),
            )
        },
        case(
            "SYN from one source over its limit",
            Segment::Syn(15600),
            Reason::ConnectionRate,
            &one,
            LIMITED.to_owned(),
            Some(0.65),
        ),
        case(
            "SYN from 64k sources to a port with limits",
            Segment::Syn(15600),
            Reason::ConnectionRate,
            &many,
            LIMITED.to_owned(),
            None,
        ),
        case(
            "ACK out of state to an open port, 64k sources",
            Segment::Ack(15600),
            Reason::OutOfState,
            &many,
            LIMITED.to_owned(),
            None,
        ),
        case(
            "ACK to a closed port that no connection is from, 64k sources",
            Segment::Ack(23),
            Reason::PortClosed,
            &many,
            String::new(),
            Some(0.8),
        ),
        case(
            "ACK to a closed port that a connection of this host is from",
            Segment::AckToOwnPort,
            Reason::PortClosed,
            &many,
            String::new(),
            Some(0.65),
        ),
        case(
            "UDP to a closed port, 64k sources",
            Segment::Udp(53),
            Reason::PortClosed,
            &many,
            String::new(),
            Some(0.8),
        ),
        Case {
            sources: everywhere.clone(),
            ..case(
                "SYN from 16 million sources over the total of their port",
                Segment::Syn(15600),
                Reason::ConnectionRate,
                &[],
                TOTAL.to_owned(),
                Some(0.5),
            )
        },
        Case {
            sources: everywhere.clone(),
            ..case(
                "SYN from 16 million sources over the total, sources limited too",
                Segment::Syn(15600),
                Reason::ConnectionRate,
                &[],
                TOTAL_AND_SOURCES.to_owned(),
                Some(0.5),
            )
        },
        case(
            "UDP from one source over its packet limit",
            Segment::Udp(14626),
            Reason::PacketRate,
            &one,
            LIMITED_UDP.to_owned(),
            Some(0.6),
        ),
        Case {
            sources: everywhere.clone(),
            ..case(
                "UDP from 16 million sources over the total of their port",
                Segment::Udp(14626),
                Reason::PacketRate,
                &[],
                TOTAL.to_owned(),
                Some(0.6),
            )
        },
        Case {
            sources: everywhere,
            ..case(
                "UDP from 16 million sources over the total, sources limited too",
                Segment::Udp(14626),
                Reason::PacketRate,
                &[],
                TOTAL_AND_SOURCES.to_owned(),
                Some(0.6),
            )
        },
        case(
            "denied: sources drawn from 100,000 prefixes of /16 to /24",
            Segment::Syn(23),
            Reason::Denied,
            &random.members(&wide),
            lists(&wide),
            Some(0.5),
        ),
        case(
            "denied: sources drawn from 100,000 prefixes of /25 to /32",
            Segment::Syn(23),
            Reason::Denied,
            &random.members(&narrow),
            lists(&narrow),
            Some(0.5),
        ),
    ]
}

/// A policy that denies prefixes and trusts one.
fn lists(denied: &[Ipv4Net]) -> String {
    let mut text = String::from("[sources]\ntrusted = [\"10.8.0.0/24\"]\ndenied = [\n");
    for net in denied {
        let _ = writeln!(text, "\"{net}\",");
    }
    text.push_str("]\n");
    text
}

/// Numbers that are the same in each run (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    /// An address that could be somebody's: not this network, loopback or multicast.
    fn address(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from(self.next());
            let first = address.octets()[0];
            if (1..224).contains(&first) && first != 10 && first != 127 {
                return address;
            }
        }
    }

    fn prefixes(&mut self, count: usize, lengths: RangeInclusive<u8>) -> Vec<Ipv4Net> {
        let (low, high) = (u32::from(*lengths.start()), u32::from(*lengths.end()));
        (0..count)
            .map(|_| {
                let length = low + self.next() % (high - low + 1);
                Ipv4Net::new_assert(self.address(), length as u8).trunc()
            })
            .collect()
    }

    /// 64k addresses, each out of a prefix drawn at random.
    fn members(&mut self, prefixes: &[Ipv4Net]) -> Vec<Ipv4Addr> {
        (0..1 << 16)
            .map(|_| {
                let net = prefixes[self.next() as usize % prefixes.len()];
                let host = self.next() & u32::from(net.hostmask());
                Ipv4Addr::from(u32::from(net.network()) | host)
            })
            .collect()
    }
}
