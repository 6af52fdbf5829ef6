//! ICMP and ICMPv6 that is not essential: echo requests and errors.

use crate::{
    InterfaceLimit, Packet, Reason, Socket, State, limits,
    read::{self, Parsed},
};

const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;

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
    let (echo, error) = if is_ipv4 {
        (icmp.kind == ECHO_REQUEST, is_error(icmp.kind))
    } else {
        (icmp.kind == ECHO_REQUEST_V6, is_error_v6(icmp.kind))
    };
    if error {
        // An error about what this host sent is not held against the rate
        // that strangers share: else forged ones would starve path MTU
        // discovery.
        if let Some(flow) = read::quoted(packet, parsed.offset, is_ipv4)
            && matches!(state.socket(&flow, None), Socket::Live)
        {
            return Reason::Icmp;
        }
        if !generation.interface[InterfaceLimit::Errors as usize].is_set() {
            return Reason::IcmpClosed;
        }
        return within(limits::interface(state, InterfaceLimit::Errors));
    }
    if echo && generation.echo.is_set() {
        return within(limits::echo(state, &parsed.flow.source));
    }
    Reason::IcmpClosed
}

#[inline(always)]
const fn within(limit: bool) -> Reason {
    if limit { Reason::Icmp } else { Reason::IcmpRate }
}
