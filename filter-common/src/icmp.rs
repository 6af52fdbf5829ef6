//! ICMP and ICMPv6 that is not essential: echo requests and errors.

use crate::{
    InterfaceLimit, Packet, Reason, Socket, State, limits,
    read::{self, Flow, Parsed, protocol},
    reply::{self, Standing},
};

const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;

/// Whether a message of that type asks for an echo.
#[inline(always)]
pub(crate) const fn asks_for_echo(is_ipv4: bool, kind: u8) -> bool {
    kind == if is_ipv4 { ECHO_REQUEST } else { ECHO_REQUEST_V6 }
}

/// RFC 792: destination unreachable, time exceeded, parameter problem. Source
/// quench is obsolete (RFC 6633), and a redirect is no error.
const fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 11 | 12)
}

/// RFC 4443, section 3: destination unreachable, packet too big, time
/// exceeded, parameter problem.
const fn is_error_v6(kind: u8) -> bool {
    matches!(kind, 1..=4)
}

/// Whether it asks for an echo.
#[inline(always)]
pub(crate) const fn is_echo_request(parsed: &Parsed) -> bool {
    asks_for_echo(parsed.flow.source.is_ipv4(), parsed.icmp.kind)
}

/// Judges an ICMP message.
#[inline(always)]
pub(crate) fn judge<P: Packet + ?Sized, S: State>(
    state: &S,
    packet: &P,
    parsed: &Parsed,
) -> Reason {
    let icmp = parsed.icmp;
    let is_ipv4 = parsed.flow.source.is_ipv4();
    let generation = state.generation();
    let error = if is_ipv4 { is_error(icmp.kind) } else { is_error_v6(icmp.kind) };
    if error {
        // An error about what this host sent is not held against the rate
        // that strangers share: else forged ones would starve path MTU
        // discovery.
        if let Some(quoted) = read::quoted(packet, parsed.offset, is_ipv4)
            && is_ours(state, &quoted.flow, quoted.protocol)
        {
            return Reason::Icmp;
        }
        if !generation.interface[InterfaceLimit::Errors as usize].is_set() {
            return Reason::IcmpClosed;
        }
        return within(limits::interface(state, InterfaceLimit::Errors));
    }
    if is_echo_request(parsed) && generation.echo.is_set() {
        return within(limits::echo(state, &parsed.flow.source));
    }
    if icmp.kind == if is_ipv4 { ECHO_REPLY } else { ECHO_REPLY_V6 } {
        let flow = Flow { destination_port: icmp.identifier, ..parsed.flow };
        if reply::answers(state, &flow, parsed.protocol) {
            return Reason::Reply;
        }
    }
    Reason::IcmpClosed
}

/// Whether this host sent what an error quotes. `flow` as its answers are received.
#[inline(always)]
fn is_ours<S: State>(state: &S, flow: &Flow, number: u8) -> bool {
    if number != protocol::TCP {
        return reply::answers(state, flow, number);
    }
    matches!(state.socket(flow, None), Socket::Live)
        || !matches!(reply::forwarded(state, flow), Standing::Unknown)
}

#[inline(always)]
const fn within(limit: bool) -> Reason {
    if limit { Reason::Icmp } else { Reason::IcmpRate }
}
