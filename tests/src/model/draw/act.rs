//! What happens in a case, in larger pieces than steps: each is whole by
//! itself, so that a case from which one is taken is a case still.

use std::time::Duration;

use filter_common::{FlowKey, FlowTable, Scope, Socket, Stage, read::protocol};
use ipnet::IpNet;
use proptest::{
    collection::vec,
    option::weighted,
    prelude::{Just, any},
    prop_oneof,
    sample::{Index, select},
    strategy::{BoxedStrategy, Strategy},
};

use super::{
    packet::{Body, Fragment, Packet, echo, opening, packets, packets_of, tcp},
    pool,
};
use crate::model::{
    Interface, Step,
    case::{Held, Record},
};

/// Frames that the kernel runs no program on.
const SHORTEST: usize = 14;

/// One of them.
#[derive(Debug, Clone)]
pub enum Act {
    /// Time passes.
    Wait(Duration),
    /// One packet, so many times.
    Packets(Packet, usize),
    /// A packet whose bytes were changed, and which may end too soon.
    Broken(Packet, Vec<(Index, u8)>, Option<Index>),
    /// Bytes that are no packet, or are one by accident.
    Raw(Interface, Vec<u8>),
    /// The host sends a packet; after a while the answer comes.
    Exchange(Packet, Duration),
    /// The packet comes; after a while the host answers; then it comes again.
    Answered(Packet, Duration),
    /// A connection, as the socket table has it, and a packet of it.
    Connection(Packet, Socket, usize),
    /// The packet's source completes a handshake; then it asks so many times.
    Known(Packet, usize),
    /// So many connections are held by a packet's source, which asks for another.
    Held(Packet, usize, Scope, u32),
    /// Something is in a table of flows, and a packet of it comes.
    Recorded(Packet, FlowTable, Stage, Duration),
    /// A datagram in fragments: of each later one the offset, what is missing of it, and
    /// whether more follow.
    Datagram(Packet, Vec<(u16, usize, bool)>),
    /// Another policy.
    Switch(Index),
    /// A ban.
    Ban(IpNet, Option<Duration>),
    /// No ban any more.
    Unban(IpNet),
}

/// Any of them.
pub fn acts() -> impl Strategy<Value = Act> {
    let times = || prop_oneof![4 => Just(1_usize), 2 => 2..6_usize, 1 => 6..30_usize];
    let wait = || prop_oneof![6 => select(&pool::TIMES[..6]), 1 => select(&pool::TIMES[..])];
    let short = || prop_oneof![2 => Just(Duration::ZERO), 1 => select(&pool::TIMES[..])];
    let net = || select(&pool::BANNED[..]).prop_map(network);
    let sent = || packets_of(prop_oneof![3 => Just(Body::Udp), 2 => echo(), 1 => tcp()]);
    let later = (1..8_u16, prop_oneof![3 => Just(0_usize), 1 => 1..8_usize], any::<bool>());
    let raw: BoxedStrategy<Vec<u8>> = vec(any::<u8>(), SHORTEST..80).boxed();
    let interface = select(&Interface::ALL[..]);
    let socket = select(vec![Socket::Live, Socket::HalfOpen, Socket::Cookie, Socket::None]);
    let scope = || select(Scope::ALL);
    prop_oneof![
        30 => wait().prop_map(Act::Wait),
        50 => (packets(), times()).prop_map(|(packet, times)| Act::Packets(packet, times)),
        8 => (packets(), vec((any::<Index>(), any::<u8>()), 0..4), weighted(0.4, any::<Index>()))
            .prop_map(|(packet, changes, cut)| Act::Broken(packet, changes, cut)),
        2 => (interface, raw).prop_map(|(interface, bytes)| Act::Raw(interface, bytes)),
        10 => (sent(), short()).prop_map(|(packet, wait)| Act::Exchange(packet, wait)),
        2 => (sent(), short()).prop_map(|(packet, wait)| Act::Answered(packet, wait)),
        8 => (packets_of(tcp()), socket, times())
            .prop_map(|(packet, socket, times)| Act::Connection(packet, socket, times)),
        1 => (packets_of(opening()), times()).prop_map(|(packet, times)| Act::Known(packet, times)),
        8 => (packets_of(opening()), 0..pool::RULES.len(), scope(), 0..5_u32)
            .prop_map(|(packet, rule, scope, held)| Act::Held(packet, rule, scope, held)),
        2 => (sent(), tables(), select(vec![Stage::Open, Stage::Begun, Stage::Closing]), short())
            .prop_map(|(packet, table, stage, wait)| Act::Recorded(packet, table, stage, wait)),
        8 => (packets(), vec(later, 1..5)).prop_map(|(packet, later)| Act::Datagram(packet, later)),
        1 => any::<Index>().prop_map(Act::Switch),
        2 => (net(), weighted(0.9, wait())).prop_map(|(net, time)| Act::Ban(net, time)),
        2 => net().prop_map(Act::Unban),
    ]
}

fn tables() -> impl Strategy<Value = FlowTable> {
    use FlowTable::{Answered, Asked, Flows, HalfOpen};
    select(vec![Flows, Answered, HalfOpen, Asked])
}

fn network(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

impl Act {
    /// What happens one after the other. `policies`: how many there are.
    pub fn steps(&self, policies: usize, steps: &mut Vec<Step>) {
        let receive = |packet: &Packet| Step::Receive(packet.interface, packet.bytes());
        let send = |packet: &Packet| Step::Send(packet.interface, packet.bytes());
        match self {
            Self::Wait(time) => steps.push(Step::Wait(*time)),
            Self::Packets(packet, times) => {
                steps.extend(std::iter::repeat_n(receive(packet), *times));
            }
            Self::Broken(packet, changes, cut) => {
                let mut bytes = packet.bytes();
                for (place, byte) in changes {
                    // Headers, not what they carry.
                    let headers = bytes.len().min(70);
                    bytes[place.index(headers)] = *byte;
                }
                if let Some(cut) = cut {
                    bytes.truncate(SHORTEST + cut.index(bytes.len() - SHORTEST));
                }
                steps.push(Step::Receive(packet.interface, bytes));
            }
            Self::Raw(interface, bytes) => steps.push(Step::Receive(*interface, bytes.clone())),
            Self::Exchange(packet, wait) => {
                let sent = packet.sent();
                steps.extend([send(&sent), Step::Wait(*wait), receive(&sent.mirrored())]);
            }
            Self::Answered(packet, wait) => {
                let wait = Step::Wait(*wait);
                steps.extend([
                    receive(packet),
                    wait.clone(),
                    send(&packet.mirrored()),
                    wait,
                    receive(packet),
                ]);
            }
            Self::Connection(packet, socket, times) => {
                steps.push(Step::Socket(packet.flow(), *socket));
                steps.extend(std::iter::repeat_n(receive(packet), *times));
            }
            Self::Known(packet, times) => {
                steps.push(Step::Known(prefix(packet, Scope::PerSource)));
                steps.extend(std::iter::repeat_n(receive(packet), *times));
            }
            Self::Held(packet, rule, scope, connections) => {
                let held = Held {
                    rule: pool::RULES[*rule].to_owned(),
                    scope: *scope,
                    prefix: prefix(packet, *scope),
                    connections: *connections,
                };
                steps.extend([Step::Held(held), receive(packet)]);
            }
            Self::Recorded(packet, table, stage, wait) => {
                let key = FlowKey::received(&packet.flow(), packet.protocol());
                // What the tables of forwarded connections hold is TCP.
                let is_tcp = packet.protocol() == protocol::TCP;
                let table = match table {
                    FlowTable::Answered | FlowTable::HalfOpen if !is_tcp => FlowTable::Flows,
                    table => *table,
                };
                let record = Record { table, stage: *stage, key };
                steps.extend([
                    Step::Record(record),
                    Step::Wait(*wait),
                    receive(&packet.sent().mirrored()),
                ]);
            }
            Self::Datagram(packet, later) => {
                let id = packet.fragment.map_or(7, |fragment| fragment.id);
                let mut first = packet.clone();
                first.fragment = Some(Fragment { id, offset: 0, more: true });
                // Whole blocks, behind a transport header of 8 or of 20 bytes.
                first.payload = if matches!(first.body, Body::Tcp { .. }) { 12 } else { 16 };
                steps.push(receive(&first));
                let mut offset = if matches!(first.body, Body::Tcp { .. }) { 4 } else { 3 };
                for (skip, missing, more) in later {
                    offset += skip - 1;
                    let mut piece = first.clone();
                    piece.fragment = Some(Fragment { id, offset, more: *more });
                    piece.payload = 16 - missing;
                    steps.push(receive(&piece));
                    offset += 2;
                }
            }
            Self::Switch(policy) => steps.push(Step::Switch(policy.index(policies))),
            Self::Ban(net, time) => steps.push(Step::Ban(*net, *time)),
            Self::Unban(net) => steps.push(Step::Unban(*net)),
        }
    }
}

/// The source or network that holds connections, as policies mostly mean it.
fn prefix(packet: &Packet, scope: Scope) -> std::net::IpAddr {
    let remote = packet.remote();
    let bits = match (scope, remote.is_ipv4()) {
        (Scope::PerSource, true) => 32,
        (Scope::PerSource, false) => 64,
        (Scope::PerNetwork, true) => 24,
        (Scope::PerNetwork, false) => 48,
        (Scope::Total, _) => 0,
    };
    IpNet::new(remote, bits).map_or(remote, |net| net.trunc().addr())
}
