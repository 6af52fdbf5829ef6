//! Whether a received packet answers what this host sent, where the host's
//! own socket table cannot tell. Nothing here changes an entry of it.

use crate::{
    FlowKey, FlowTable, HalfOpen, Sent, Stage, State,
    flow::spoken,
    rate::TICKS_PER_NS,
    read::{Flow, protocol},
};

/// Whether a flow was begun by this host, or by a stranger who has proven its
/// handshake. `flow` as it is received.
#[inline(always)]
pub(crate) fn answers<S: State>(state: &S, flow: &Flow, protocol: u8) -> bool {
    is_spoken_from(state, flow, protocol) && state.knows(flow, protocol, false)
}

/// Whether a TCP segment belongs to a forwarded connection, one that is only
/// asked for included: what a rule admits has to show no more.
#[inline(always)]
pub(crate) fn is_forwarded<S: State>(state: &S, flow: &Flow) -> bool {
    is_spoken_from(state, flow, protocol::TCP) && state.knows(flow, protocol::TCP, true)
}

/// Whether the tables may hold anything of a flow at all. Of TCP, what the
/// host's own sockets speak is not told here but by the sockets.
#[inline(always)]
fn is_spoken_from<S: State>(state: &S, flow: &Flow, protocol: u8) -> bool {
    state.spoken(spoken::place(protocol, flow.destination_port)) != 0
}

/// Whether the tables hold a flow. `half_open`: also one that a stranger only
/// asked for.
#[inline(always)]
pub fn knows<S: State>(state: &S, flow: &Flow, protocol: u8, half_open: bool) -> bool {
    let now = state.now() / TICKS_PER_NS;
    let word = state.spoken(spoken::place(protocol, flow.destination_port));
    if !spoken::holds(word, protocol, now) {
        return false;
    }
    let key = FlowKey::received(flow, protocol);
    if Sent(state.word(FlowTable::Flows, &key)).is_live(protocol, now) {
        return true;
    }
    if protocol != protocol::TCP {
        return false;
    }
    Sent(state.word(FlowTable::Answered, &key)).is_live(protocol, now)
        || (half_open && HalfOpen(state.word(FlowTable::HalfOpen, &key)).is_live(now))
}

/// Notes a stranger's datagram that only monitor mode lets through: an answer
/// to it must not count as begun by this host.
#[inline(always)]
pub fn note_asked<S: State>(state: &S, flow: &Flow) {
    let key = FlowKey::received(flow, protocol::UDP);
    let now = state.now() / TICKS_PER_NS;
    state.set_word(FlowTable::Asked, &key, Sent::new(now, Stage::Open).0);
}
