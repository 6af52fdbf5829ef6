//! The verdict: the one place where the policy's meaning is written.

use crate::{
    Address, Listed, Outcome, Packet, Reason, Socket, State, essential, fragments, icmp,
    limits::{self, Charge, Held},
    read::{self, Parsed, Transport},
    reply::{self, Standing},
    tables::{Rule, bans, filter::Filter, generation, lists, ports, rule, view},
};

/// Judges one packet. `raw_ip`: its interface has no Ethernet framing.
///
/// The order is the policy's: malformed, essential, trusted, denied, banned,
/// rule, reply.
pub fn judge<P: Packet + ?Sized, S: State>(packet: &P, raw_ip: bool, state: &S) -> Outcome {
    let mut parsed = Parsed::default();
    match read::packet(packet, raw_ip, &mut parsed) {
        Reason::Rule => judge_parsed(packet, &parsed, state),
        reason => judge_unread(reason, state),
    }
}

/// The second half of [`judge`]: of a packet that was read.
#[inline(always)]
pub fn judge_parsed<P: Packet + ?Sized, S: State>(
    packet: &P,
    parsed: &Parsed,
    state: &S,
) -> Outcome {
    let outcome = decide(packet, parsed, state).under(is_monitor(state));
    let is_udp = matches!(parsed.transport, Transport::Udp);
    if is_udp && outcome.monitored.is_some() && outcome.rule.is_none() {
        state.note_asked(&parsed.flow);
    }
    if parsed.fragment.is_first() {
        return state.remember(parsed, outcome);
    }
    outcome
}

/// The second half of [`judge`]: of a packet that has no more to it.
#[inline(always)]
pub fn judge_unread<S: State>(reason: Reason, state: &S) -> Outcome {
    outside_of_rules(state, reason)
}

/// What becomes of a packet for a reason to which no rule is party.
#[inline(always)]
pub(crate) fn outside_of_rules<S: State>(state: &S, reason: Reason) -> Outcome {
    Outcome::of(reason).under(is_monitor(state))
}

#[inline(always)]
fn is_monitor<S: State>(state: &S) -> bool {
    state.generation().flags & generation::MONITOR != 0
}

#[inline(always)]
fn decide<P: Packet + ?Sized, S: State>(packet: &P, parsed: &Parsed, state: &S) -> Outcome {
    if essential::is_essential(state, parsed) {
        return Outcome::of(Reason::Essential);
    }
    let source = &parsed.flow.source;
    match listed(state, source) {
        Listed::Trusted => return Outcome::of(Reason::Trusted),
        Listed::Denied => return Outcome::of(Reason::Denied),
        Listed::No => {}
    }
    if is_banned(state, source) {
        return Outcome::of(Reason::Banned);
    }
    if parsed.fragment.is_first() && state.is_known_datagram(parsed) {
        return Outcome::of(Reason::Fragment);
    }
    match parsed.transport {
        Transport::Tcp | Transport::Udp => port(state, parsed, packet.length()),
        Transport::Icmp => Outcome::of(icmp::judge(state, packet, parsed)),
        Transport::Other => {
            let word = state.generation().protocols[(parsed.protocol >> 6) as usize & 3];
            let allowed = word >> (parsed.protocol & 63) & 1 == 1;
            Outcome::of(if allowed { Reason::Protocol } else { Reason::ProtocolClosed })
        }
        Transport::Later => fragments::judge(state, parsed, packet.length()),
    }
}

/// What the policy's lists say of a source. Trusted wins over denied at any
/// prefix length; the compiler has settled that.
#[inline(always)]
pub(crate) fn listed<S: State>(state: &S, source: &Address) -> Listed {
    let flags = state.generation().flags;
    let class = if source.is_ipv4() {
        if flags & generation::LISTS_IPV4 == 0 {
            return Listed::No;
        }
        let (index, bit) = lists::wide_place(source.ipv4());
        if state.list_word(index) >> bit & 1 == 0 {
            return Listed::No;
        }
        let (index, shift) = lists::block_place(source.ipv4() >> 8);
        let word = state.list_word(index);
        match (word >> shift) as u32 & 3 {
            lists::MIXED => {
                let leaf = state.list_leaf(lists::leaf_of(word, shift));
                let (word, shift) = lists::leaf_place(source.ipv4() & 0xff);
                leaf.map_or(lists::NONE, |leaf| (leaf.words[word] >> shift) as u32 & 3)
            }
            class => class,
        }
    } else {
        if flags & generation::LISTS_IPV6 == 0 {
            return Listed::No;
        }
        let (index, bit) = lists::filter_of(source);
        if state.list_word(index) >> bit & 1 == 0 {
            return Listed::No;
        }
        state.list_prefix(source)
    };
    match class {
        lists::TRUSTED => Listed::Trusted,
        lists::DENIED => Listed::Denied,
        _ => Listed::No,
    }
}

#[inline(always)]
fn is_banned<S: State>(state: &S, source: &Address) -> bool {
    let present = state.bans();
    if present & bans::ANY == 0 {
        return false;
    }
    let in_prefix = || present & bans::PREFIXES != 0 && state.banned_prefix(source);
    if source.is_ipv4() {
        // The bit of the /24 would be as far away as what the table says.
        return is_marked(state, bans::wide_place(source.ipv4()))
            && (state.banned(source) || is_marked(state, bans::place(source)) && in_prefix());
    }
    is_marked(state, bans::place(source)) && (state.banned(source) || in_prefix())
}

#[inline(always)]
fn is_marked<S: State>(state: &S, (index, bit): (u32, u32)) -> bool {
    state.ban_word(index) >> bit & 1 == 1
}

/// TCP and UDP: the rule of the port, the connection it belongs to, and the
/// rule's limits.
#[inline(always)]
fn port<S: State>(state: &S, parsed: &Parsed, length: u32) -> Outcome {
    let flow = &parsed.flow;
    let tcp = matches!(parsed.transport, Transport::Tcp);
    let found = admitting_rule(state, flow, !tcp);
    // A bare SYN belongs to nothing yet, and asks for nothing of ours.
    let new = tcp && parsed.tcp.is_bare_syn();
    // Nor do segments to a closed port that are for no socket of this host.
    let asks = tcp && !new && (matches!(found, Found::Rule(_)) || state.speaks(flow));
    let socket = if asks { state.socket(flow, Some(&parsed.tcp)) } else { Socket::None };
    let number = match found {
        Found::Rule(number) => number,
        Found::Closed { reason, monitor } => {
            let is_reply = matches!(socket, Socket::Live | Socket::HalfOpen)
                || (!new && reply::answers(state, flow, parsed.protocol));
            return if is_reply {
                Outcome::of(Reason::Reply)
            } else {
                Outcome::of(reason).under(monitor)
            };
        }
    };
    let Some(rule) = state.rule(number) else {
        // The compiler numbers no rule that is not there.
        return Outcome::of(Reason::PortClosed);
    };
    let monitor = rule.flags & rule::MONITOR != 0;
    let forwarded = if tcp && !new && matches!(socket, Socket::None) {
        reply::forwarded(state, flow)
    } else {
        Standing::Unknown
    };
    if tcp && !new && matches!(socket, Socket::None) && matches!(forwarded, Standing::Unknown) {
        return Outcome::by_rule(Reason::OutOfState, rule.id).under(monitor);
    }
    // Apart, so that each is compiled for what it charges.
    if new {
        limited(state, number, rule, &flow.source, Charge::Connection)
    } else {
        let proven = matches!(socket, Socket::Live) || matches!(forwarded, Standing::Proven);
        // The last segment of a handshake, or one that claims to be.
        let opens = matches!(socket, Socket::HalfOpen | Socket::Cookie)
            || matches!(forwarded, Standing::HalfOpen);
        limited(state, number, rule, &flow.source, Charge::Packet { length, proven, opens })
    }
}

/// What becomes of a packet that the rule with that number admits: its limits
/// decide.
#[inline(always)]
pub(crate) fn limited<S: State>(
    state: &S,
    number: u32,
    rule: &Rule,
    source: &Address,
    charge: Charge,
) -> Outcome {
    let Held { reason, scope } = limits::charge(state, number, rule, source, charge);
    match reason {
        Reason::Rule => Outcome::by_rule(Reason::Rule, rule.id),
        reason => Outcome { scope: Some(scope), ..Outcome::by_rule(reason, rule.id) }
            .under(rule.flags & rule::MONITOR != 0),
    }
}

/// The number of the rule that admits a flow; 0: none does.
#[inline(always)]
pub(crate) fn rule_number<S: State>(state: &S, flow: &read::Flow, udp: bool) -> u32 {
    admitting_rule(state, flow, udp).number()
}

pub(crate) enum Found {
    Rule(u32),
    Closed { reason: Reason, monitor: bool },
}

impl Found {
    /// The rule's number; 0: none.
    #[inline(always)]
    pub const fn number(&self) -> u32 {
        match self {
            Self::Rule(number) => *number,
            Self::Closed { .. } => 0,
        }
    }
}

/// The rule that admits a packet: of those that name its port on its
/// interface, the one with the longest prefix that holds its source.
#[inline(always)]
pub(crate) fn admitting_rule<S: State>(state: &S, flow: &read::Flow, udp: bool) -> Found {
    let groups = &state.generation().groups;
    let group = groups[(state.interface() as usize) % groups.len()] as u32;
    rule_in_group(state, group, &flow.source, flow.destination_port, udp)
}

/// Whether a prefix of a view may hold the source, by the view's filter.
#[inline(always)]
fn may_hold<S: State>(state: &S, filter: &Filter, source: &Address) -> bool {
    let (index, bit) = filter.place(source);
    state.filter_word(index) >> bit & 1 == 1
}

/// The rule that admits a packet by the port table of one group of interfaces.
#[inline(always)]
pub(crate) fn rule_in_group<S: State>(
    state: &S,
    group: u32,
    source: &Address,
    port: u16,
    udp: bool,
) -> Found {
    let (index, shift) = ports::place(udp, port);
    let number = (state.port_word(group, index) >> shift) as u32 & 0xffff;
    let closed = Found::Closed { reason: Reason::PortClosed, monitor: false };
    if number == 0 {
        return closed;
    }
    let Some(view) = state.view(number) else {
        return closed;
    };
    let (default, prefixes, filter) = if source.is_ipv4() {
        (view.default_ipv4, view::PREFIXES_IPV4, &view.filter_ipv4)
    } else {
        (view.default_ipv6, view::PREFIXES_IPV6, &view.filter_ipv6)
    };
    let longest = if view.flags & prefixes == 0 || !may_hold(state, filter, source) {
        0
    } else {
        state.prefix_rule(number, source)
    };
    match if longest == 0 { default } else { longest } {
        0 => Found::Closed {
            reason: Reason::SourceNotAllowed,
            monitor: view.flags & view::MONITOR != 0,
        },
        rule => Found::Rule(rule),
    }
}
