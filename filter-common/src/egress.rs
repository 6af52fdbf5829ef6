//! Records what this host sends, so that the answers may come in.
//!
//! Recorded is what the host, or a container behind it, began. What goes out
//! only because a stranger asked is not (resets, ICMP errors, echo replies,
//! answers of an open UDP port), or in tables of its own (a forwarded SYN+ACK),
//! so that no flood from outside pushes out what the host began.

use crate::{
    FlowKey, FlowTable, HalfOpen, Listed, Sent, Stage, State,
    flow::{ASKED_TIMEOUT, spoken},
    icmp,
    rate::TICKS_PER_NS,
    read::{Flow, Parsed, Transport, protocol, tcp_flags},
    verdict::{Found, admitting_rule, listed},
};

/// Where a packet that is sent comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A socket of this host, which a look-up finds.
    Own,
    /// A socket of this host that is bound to a device. A look-up on a port of
    /// a bridge or bond, or below a VLAN or VRF, does not find it.
    Bound,
    /// No socket of this host: forwarded for a container, or bridged.
    Forwarded,
}

/// Records one packet that leaves by a guarded interface.
#[inline(always)]
pub fn record<S: State>(state: &S, parsed: &Parsed, origin: Origin) {
    let sent = &parsed.flow;
    let mut flow = Flow {
        source: sent.destination,
        destination: sent.source,
        source_port: sent.destination_port,
        destination_port: sent.source_port,
    };
    match parsed.transport {
        Transport::Tcp if !matches!(origin, Origin::Own) => {}
        Transport::Udp => {}
        Transport::Icmp if icmp::is_echo_request(parsed) => {
            flow.destination_port = parsed.icmp.identifier;
        }
        _ => return,
    }
    // What a trusted source sends passes by itself, and what is sent to it may
    // be an answer that it was made to give.
    if matches!(listed(state, &flow.source), Listed::Trusted) {
        return;
    }
    if matches!(parsed.transport, Transport::Udp)
        && matches!(admitting_rule(state, &flow, true), Found::Rule(_))
    {
        return;
    }
    let key = FlowKey::received(&flow, parsed.protocol);
    let now = state.now() / TICKS_PER_NS;
    let recorded = match parsed.transport {
        Transport::Tcp => tcp(state, parsed, &key, now),
        Transport::Udp
            if Sent(state.word(FlowTable::Asked, &key)).is_within(ASKED_TIMEOUT, now) =>
        {
            false
        }
        _ => {
            state.set_word(FlowTable::Flows, &key, Sent::new(now, Stage::Open).0);
            true
        }
    };
    if recorded {
        let (place, word) = (spoken::place(parsed.protocol, key.local_port), spoken::unit(now));
        if state.spoken(place) != word {
            state.set_spoken(place, word);
        }
    }
}

/// A TCP segment whose connection no socket of this host tells of. Whether
/// there is something of it in a table now.
#[inline(always)]
fn tcp<S: State>(state: &S, parsed: &Parsed, key: &FlowKey, now: u64) -> bool {
    use tcp_flags::{ACK, FIN, RST, SYN};
    let segment = &parsed.tcp;
    let flags = segment.flags;
    if segment.is_bare_syn() {
        state.set_word(FlowTable::Flows, key, Sent::new(now, Stage::Begun).0);
        return true;
    }
    if flags & (SYN | RST) == SYN {
        if flags & ACK != 0 {
            let entry = HalfOpen::new(now, segment.acknowledgement);
            state.set_word(FlowTable::HalfOpen, key, entry.0);
        }
        return flags & ACK != 0;
    }
    let flows = Sent(state.word(FlowTable::Flows, key));
    if flows.is_live(protocol::TCP, now) {
        go_on(state, FlowTable::Flows, key, flows, flags, now);
        return true;
    }
    let answered = Sent(state.word(FlowTable::Answered, key));
    if answered.is_live(protocol::TCP, now) {
        go_on(state, FlowTable::Answered, key, answered, flags, now);
        return true;
    }
    if flags & RST != 0 {
        return false;
    }
    // A SYN that is spoofed can be followed by more of its kind, and they make
    // the listener send acknowledgements (RFC 9293, section 3.10.7.4). They
    // carry nothing and acknowledge nothing but the SYN. Whatever does more
    // comes of a handshake.
    let half_open = HalfOpen(state.word(FlowTable::HalfOpen, key));
    let known = half_open.is_live(now);
    let proven = segment.has_data
        || flags & FIN != 0
        || (known && half_open.is_beyond(segment.acknowledgement));
    if proven {
        state.set_word(FlowTable::Answered, key, next(flags, now).0);
    } else if !known {
        // From the middle of a connection, it may be: the next will tell.
        let entry = HalfOpen::new(now, segment.acknowledgement);
        state.set_word(FlowTable::HalfOpen, key, entry.0);
    }
    true
}

/// A further segment of a flow that is known. A reset does not prolong it.
#[inline(always)]
fn go_on<S: State>(state: &S, table: FlowTable, key: &FlowKey, before: Sent, flags: u8, now: u64) {
    let after = if flags & tcp_flags::RST != 0 {
        before.to(Stage::Closing)
    } else if before.is_closing() {
        Sent::new(now, Stage::Closing)
    } else {
        next(flags, now)
    };
    state.set_word(table, key, after.0);
}

#[inline(always)]
const fn next(flags: u8, now: u64) -> Sent {
    let stage = if flags & tcp_flags::FIN != 0 { Stage::Closing } else { Stage::Open };
    Sent::new(now, stage)
}
