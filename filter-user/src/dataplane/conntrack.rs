//! The connections that were there before the filter: the kernel's connection
//! tracking knows those of containers, which have no socket of this host.

use std::{fs, io, net::IpAddr};

use filter_common::{FlowKey, FlowTable, Sent, Stage, read::protocol};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    conntrack::{
        ConntrackAttribute, ConntrackMessage, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple, Status,
        Tuple,
    },
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

/// How many connections the network namespace tracks; absent where the kernel
/// has no connection tracking. Asking the kernel itself would load the module.
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

/// States of a TCP connection, include/uapi/linux/netfilter/nf_conntrack_tcp.h.
const SYN_SENT: u8 = 1;
const ESTABLISHED: u8 = 3;
const LAST_ACK: u8 = 6;

/// One entry for a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed {
    pub table: FlowTable,
    pub key: FlowKey,
    pub stage: Stage,
}

impl Seed {
    /// As it stands in the table. `now`: nanoseconds of the monotonic clock.
    pub(super) const fn word(&self, now: u64) -> u64 {
        Sent::new(now, self.stage).0
    }
}

/// All that connection tracking knows and the tables should.
///
/// # Errors
///
/// When the kernel does not tell: it has no connection tracking, or does not
/// permit it.
pub(super) fn seeds() -> io::Result<Vec<Seed>> {
    if fs::read_to_string(COUNT)?.trim() == "0" {
        return Ok(Vec::new());
    }
    let mut seeds = Vec::new();
    for family in [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6] {
        dump(family, |attributes| seeds_of(attributes, &mut seeds))?;
    }
    Ok(seeds)
}

/// Asks for all connections of a family.
fn dump(
    family: NetfilterProtoFamily,
    mut each: impl FnMut(&[ConntrackAttribute]),
) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = NetfilterMessage::new(
        NetfilterHeader::new(family, 0, 0),
        ConntrackMessage::Get(Vec::new()),
    );
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(request));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (received, _) = socket.recv_from_full()?;
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<NetfilterMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            match &message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(inner) => {
                    if let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) =
                        &inner.inner
                    {
                        each(attributes);
                    }
                }
                _ => {}
            }
            // Messages are aligned to four bytes.
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
        }
    }
}

/// What one connection puts into the tables.
///
/// A connection has two tuples, one for what comes from either side, and with
/// NAT they differ by more than their direction. Which of them a guarded
/// interface sees is not told: where it matters both are taken, and the one
/// that is never received does no harm.
fn seeds_of(attributes: &[ConntrackAttribute], seeds: &mut Vec<Seed>) {
    let (mut original, mut reply, mut state, mut status) = (None, None, None, Status::empty());
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(tuple) => original = key(tuple),
            ConntrackAttribute::CtaTupleReply(tuple) => reply = key(tuple),
            ConntrackAttribute::CtaStatus(found) => status = *found,
            ConntrackAttribute::CtaProtoInfo(info) => state = state.or_else(|| tcp_state(info)),
            _ => {}
        }
    }
    let (Some(original), Some(reply)) = (original, reply) else { return };
    match u8::try_from(reply.protocol) {
        Ok(protocol::TCP) => match state {
            Some(SYN_SENT) => {
                seeds.push(Seed { table: FlowTable::Flows, key: reply, stage: Stage::Begun });
            }
            Some(state @ ESTABLISHED..=LAST_ACK) => {
                let stage = if state == ESTABLISHED { Stage::Open } else { Stage::Closing };
                for key in [original, reply] {
                    seeds.push(Seed { table: FlowTable::Answered, key, stage });
                }
            }
            _ => {}
        },
        // What a stranger began is judged by the rules alone.
        Ok(protocol::UDP) if status.contains(Status::Assured) => {
            seeds.push(Seed { table: FlowTable::Flows, key: reply, stage: Stage::Open });
        }
        _ => {}
    }
}

/// A tuple as the flow of a packet that is received. `None` where it is
/// neither TCP nor UDP.
fn key(tuple: &[Tuple]) -> Option<FlowKey> {
    let (mut source, mut destination) = (None::<IpAddr>, None::<IpAddr>);
    let (mut protocol, mut source_port, mut destination_port) = (None, None, None);
    for part in tuple {
        match part {
            Tuple::Ip(parts) => parts.iter().for_each(|part| match part {
                IPTuple::SourceAddress(address) => source = Some(*address),
                IPTuple::DestinationAddress(address) => destination = Some(*address),
                _ => {}
            }),
            Tuple::Proto(parts) => parts.iter().for_each(|part| match part {
                ProtoTuple::Protocol(number) => protocol = Some(u8::from(*number)),
                ProtoTuple::SourcePort(port) => source_port = Some(*port),
                ProtoTuple::DestinationPort(port) => destination_port = Some(*port),
                _ => {}
            }),
            _ => {}
        }
    }
    Some(FlowKey {
        remote: source?.into(),
        local: destination?.into(),
        remote_port: source_port?,
        local_port: destination_port?,
        protocol: protocol?.into(),
    })
}

fn tcp_state(info: &[ProtoInfo]) -> Option<u8> {
    info.iter().find_map(|info| match info {
        ProtoInfo::TCP(parts) => parts.iter().find_map(|part| match part {
            ProtoInfoTCP::State(state) => Some(*state),
            _ => None,
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_netfilter::conntrack::Protocol;

    use super::*;

    fn tuple(protocol: Protocol, from: (&str, u16), to: (&str, u16)) -> Vec<Tuple> {
        let address = |text: &str| text.parse::<IpAddr>().unwrap_or(IpAddr::from([0; 4]));
        vec![
            Tuple::Ip(vec![
                IPTuple::SourceAddress(address(from.0)),
                IPTuple::DestinationAddress(address(to.0)),
            ]),
            Tuple::Proto(vec![
                ProtoTuple::Protocol(protocol),
                ProtoTuple::SourcePort(from.1),
                ProtoTuple::DestinationPort(to.1),
            ]),
        ]
    }

    /// Masqueraded: from a container to a server, answered to the host.
    fn outbound(protocol: Protocol, more: Vec<ConntrackAttribute>) -> Vec<Seed> {
        let (container, server, host) =
            (("172.17.0.2", 4000), ("192.0.2.9", 443), ("198.51.100.1", 61000));
        let mut attributes = vec![
            ConntrackAttribute::CtaTupleOrig(tuple(protocol, container, server)),
            ConntrackAttribute::CtaTupleReply(tuple(protocol, server, host)),
        ];
        attributes.extend(more);
        let mut seeds = Vec::new();
        seeds_of(&attributes, &mut seeds);
        seeds
    }

    fn tcp(state: u8) -> Vec<ConntrackAttribute> {
        vec![ConntrackAttribute::CtaProtoInfo(vec![ProtoInfo::TCP(vec![ProtoInfoTCP::State(
            state,
        )])])]
    }

    fn ports(seed: &Seed) -> (u16, u16) {
        (seed.key.remote_port, seed.key.local_port)
    }

    #[test]
    fn an_established_connection_is_taken_either_way() {
        let seeds = outbound(Protocol::Tcp, tcp(ESTABLISHED));
        assert_eq!(seeds.iter().map(ports).collect::<Vec<_>>(), [(4000, 443), (443, 61000)]);
        assert!(seeds.iter().all(|s| s.table == FlowTable::Answered && s.stage == Stage::Open));
        let closing = outbound(Protocol::Tcp, tcp(LAST_ACK));
        assert!(closing.iter().all(|seed| seed.stage == Stage::Closing));
    }

    #[test]
    fn what_a_container_just_began_is_taken_as_that() {
        let seeds = outbound(Protocol::Tcp, tcp(SYN_SENT));
        assert_eq!(seeds.iter().map(ports).collect::<Vec<_>>(), [(443, 61000)]);
        assert_eq!((seeds[0].table, seeds[0].stage), (FlowTable::Flows, Stage::Begun));
        // SYN_RECV, TIME_WAIT, no state at all.
        for more in [tcp(2), tcp(7), Vec::new()] {
            assert_eq!(outbound(Protocol::Tcp, more), []);
        }
    }

    #[test]
    fn of_udp_only_the_answers_are_taken() {
        let assured = vec![ConntrackAttribute::CtaStatus(Status::Assured | Status::SeenReply)];
        let seeds = outbound(Protocol::Udp, assured);
        assert_eq!(seeds.iter().map(ports).collect::<Vec<_>>(), [(443, 61000)]);
        assert_eq!(seeds[0].table, FlowTable::Flows);
        let unanswered = vec![ConntrackAttribute::CtaStatus(Status::Confirmed)];
        assert_eq!(outbound(Protocol::Udp, unanswered), []);
        assert_eq!(outbound(Protocol::Icmp, Vec::new()), []);
    }
}
