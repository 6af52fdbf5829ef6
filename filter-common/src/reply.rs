//! Whether a received packet answers what this host sent, where the host's
//! own socket table cannot tell. Nothing here changes an entry of it.

use crate::{
    FlowKey, FlowTable, HalfOpen, Sent, Stage, State,
    flow::spoken,
    rate::TICKS_PER_NS,
    read::{Flow, protocol},
};

/// What the tables say of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Standing {
    /// Nothing.
    Unknown = 0,
    /// A stranger asked for it, and was answered. No more is proven.
    HalfOpen = 1,
    /// This host began it, or a stranger who has proven its handshake.
    Proven = 2,
}

/// Whether a flow was begun by this host, or by a stranger who has proven its
/// handshake. `flow` as it is received.
#[inline(always)]
pub(crate) fn answers<S: State>(state: &S, flow: &Flow, protocol: u8) -> bool {
    is_spoken_from(state, flow, protocol)
        && matches!(state.standing(flow, protocol), Standing::Proven)
}

/// What is known of a TCP segment's connection, where that is forwarded.
#[inline(always)]
pub(crate) fn forwarded<S: State>(state: &S, flow: &Flow) -> Standing {
    if is_spoken_from(state, flow, protocol::TCP) {
        state.standing(flow, protocol::TCP)
    } else {
        Standing::Unknown
    }
}

/// Whether the tables may hold anything of a flow at all. Of TCP, what the
/// host's own sockets speak is not told here but by the sockets.
#[inline(always)]
fn is_spoken_from<S: State>(state: &S, flow: &Flow, protocol: u8) -> bool {
    state.spoken(spoken::place(protocol, flow.destination_port)) != 0
}

/// What the tables hold of a flow.
#[inline(always)]
pub fn standing<S: State>(state: &S, flow: &Flow, protocol: u8) -> Standing {
    let now = state.now() / TICKS_PER_NS;
    let word = state.spoken(spoken::place(protocol, flow.destination_port));
    if !spoken::holds(word, protocol, now) {
        return Standing::Unknown;
    }
    let key = FlowKey::received(flow, protocol);
    if Sent(state.word(FlowTable::Flows, &key)).is_live(protocol, now) {
        return Standing::Proven;
    }
    if protocol != protocol::TCP {
        return Standing::Unknown;
    }
    if Sent(state.word(FlowTable::Answered, &key)).is_live(protocol, now) {
        return Standing::Proven;
    }
    if HalfOpen(state.word(FlowTable::HalfOpen, &key)).is_live(now) {
        return Standing::HalfOpen;
    }
    Standing::Unknown
}

/// Notes a stranger's datagram that only monitor mode lets through: an answer
/// to it must not count as begun by this host.
#[inline(always)]
pub fn note_asked<S: State>(state: &S, flow: &Flow) {
    let key = FlowKey::received(flow, protocol::UDP);
    let now = state.now() / TICKS_PER_NS;
    state.set_word(FlowTable::Asked, &key, Sent::new(now, Stage::Open).0);
}
