//! Holds sources and interfaces to their rates.

use crate::{
    Address, InterfaceLimit, Reason, State,
    rate::{Limit, Taken},
    state::{Buckets, Cell},
    tables::{ECHO, Rule, SourceKey},
};

/// What a packet is charged for.
#[derive(Clone, Copy)]
pub(crate) enum Charge {
    /// A bare SYN: `new_connections` alone, so that SYNs spoofed in a peer's
    /// name cannot starve what it has established.
    Connection,
    /// Any other packet, of so many frame bytes: `packets` and `bytes`.
    Packet(u32),
}

/// Charges a packet to its source's buckets under a rule. `Some`: the limit
/// that refuses it; then it has taken no token anywhere.
#[inline(always)]
pub(crate) fn source<S: State>(
    state: &S,
    rule: &Rule,
    source: &Address,
    charge: Charge,
) -> Option<Reason> {
    let Rule { new_connections, packets, bytes, .. } = rule;
    match charge {
        Charge::Connection if !new_connections.is_set() => return None,
        Charge::Packet(_) if !packets.is_set() && !bytes.is_set() => return None,
        _ => {}
    }
    let Some(buckets) = state.buckets(&key(state, rule.id, source)) else {
        state.contended();
        return Some(match charge {
            Charge::Connection => Reason::ConnectionRate,
            Charge::Packet(_) if packets.is_set() => Reason::PacketRate,
            Charge::Packet(_) => Reason::ByteRate,
        });
    };
    let now = state.now();
    match charge {
        Charge::Connection => {
            let paid = take(state, new_connections, &buckets.new_connections(), now, 1);
            if paid { None } else { Some(Reason::ConnectionRate) }
        }
        Charge::Packet(length) => {
            let (packet_bucket, byte_bucket) = (buckets.packets(), buckets.bytes());
            // Look at both before either pays.
            if packets.is_set()
                && packets.conform(packet_bucket.load(), now, packets.cost(1)).is_none()
            {
                return Some(Reason::PacketRate);
            }
            if bytes.is_set()
                && bytes.conform(byte_bucket.load(), now, bytes.cost(length)).is_none()
            {
                return Some(Reason::ByteRate);
            }
            if packets.is_set() && !take(state, packets, &packet_bucket, now, 1) {
                return Some(Reason::PacketRate);
            }
            if bytes.is_set() && !take(state, bytes, &byte_bucket, now, length) {
                // Another CPU took the bytes meanwhile: give the packet back.
                if packets.is_set() {
                    packet_bucket.subtract(packets.cost(1));
                }
                return Some(Reason::ByteRate);
            }
            None
        }
    }
}

/// Charges an echo request to its source. Whether it is within the rate.
#[inline(always)]
pub(crate) fn echo<S: State>(state: &S, source: &Address) -> bool {
    let Some(buckets) = state.buckets(&key(state, ECHO, source)) else {
        state.contended();
        return false;
    };
    take(state, &state.generation().echo, &buckets.packets(), state.now(), 1)
}

/// Charges a packet to a bucket of its interface. Whether it is within the rate.
#[inline(always)]
pub(crate) fn interface<S: State>(state: &S, limit: InterfaceLimit) -> bool {
    let Some(bucket) = state.interface_bucket(limit) else {
        return false;
    };
    take(state, &state.generation().interface[limit as usize], &bucket, state.now(), 1)
}

#[inline(always)]
fn take<S: State>(state: &S, limit: &Limit, bucket: &S::Cell, now: u64, units: u32) -> bool {
    match limit.take(bucket, now, limit.cost(units)) {
        Taken::Paid => true,
        Taken::Refused => false,
        Taken::Contended => {
            state.contended();
            false
        }
    }
}

/// The key of a source's buckets: its prefix under the rule.
#[inline(always)]
fn key<S: State>(state: &S, rule: u32, source: &Address) -> SourceKey {
    let generation = state.generation();
    let mask = if source.is_ipv4() {
        Address(generation.source_mask_ipv4)
    } else {
        Address(generation.source_mask_ipv6)
    };
    SourceKey { rule, source: source.masked(&mask) }
}
