//! Parts of the verdict that are functions of their own.
//!
//! The kernel verifies a global function once, for any arguments, and not
//! along every path that leads to its call (Linux 5.6, `btf_check_subprog_call`
//! in kernel/bpf/btf.c). All arguments are numbers; what else it needs, the
//! function finds where the packet's scratch keeps it.

use core::arch::asm;

use aya_ebpf::bindings::xdp_md;
use filter_common::{
    Address, Outcome, Reason, Socket,
    fragments::{self, Kept},
    limits::{self, Charge, Charged},
    read::{Flow, Tcp},
    reply::{self, Standing},
    slots,
    table::{self, Made},
    tables::{SourceKey, probe::TOLD, speakers::Speaker},
};

use crate::{
    globals, probe,
    scratch::{self, Question},
    socket,
    sources::Sources,
    state::XdpState,
};

/// In a cost: the packet belongs to a connection.
const PROVEN: u64 = 1 << 63;
/// In a cost: a bare SYN. No frame is so long.
const CONNECTION: u64 = 1 << 62;
/// In a cost: the packet may complete a handshake.
const OPENS: u64 = 1 << 61;

/// What a packet pays, as a number.
#[inline(always)]
fn cost(charge: Charge) -> u64 {
    match charge {
        Charge::Connection => CONNECTION,
        Charge::Packet { length, proven, opens } => {
            length as u64 | if proven { PROVEN } else { 0 } | if opens { OPENS } else { 0 }
        }
    }
}

macro_rules! of_one_scope {
    ($(#[$doc:meta])* $caller:ident, $function:ident, $does:path, $answer:ty, $to:expr, $from:expr) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $caller(state: &XdpState, charged: &Charged<'_>, scope: usize) -> $answer {
            let answer = $function(
                place(state),
                charged.number,
                scope as u32,
                cost(charged.charge),
                charged.now,
            );
            $from(answer)
        }

        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $function(place: u32, rule: u32, scope: u32, cost: u64, now: u64) -> u32 {
            use filter_common::State as _;
            let mut now = now;
            // SAFETY: it changes nothing. An argument that a function does not
            // use is not set by its callers; the verifier wants it set.
            unsafe { asm!("{now} = {now}", now = inout(reg) now, options(nomem, nostack)) };
            const REFUSED: u32 = Reason::ConnectionRate as u32;
            let Some(state) = XdpState::of(place & 0xff, place >> 8) else { return REFUSED };
            let number = rule;
            let Some(rule) = state.rule(number) else { return REFUSED };
            // SAFETY: the caller keeps there what it has read of the packet.
            let source = unsafe { &scratch::kept(state.block()).flow.source };
            let charge = if cost & CONNECTION != 0 {
                Charge::Connection
            } else {
                let (proven, opens) = (cost & PROVEN != 0, cost & OPENS != 0);
                Charge::Packet { length: cost as u32, proven, opens }
            };
            $to($does(&state, &Charged { number, rule, source, charge, now }, scope as usize))
        }
    };
}

of_one_scope!(
    /// See [`limits::refusal`].
    refusal, nodewall_refusal, limits::refusal, Reason, |reason| reason as u32, reason
);
of_one_scope!(
    /// See [`limits::pay`].
    pay, nodewall_pay, limits::pay, Reason, |reason| reason as u32, reason
);
of_one_scope!(
    /// See [`limits::give_back`].
    give_back, nodewall_give_back, limits::give_back, (), |()| 0, |_| ()
);

/// The reasons that a limit has, back from their numbers.
#[inline(always)]
fn reason(answer: u32) -> Reason {
    const CONNECTION_RATE: u32 = Reason::ConnectionRate as u32;
    const PACKET_RATE: u32 = Reason::PacketRate as u32;
    const BYTE_RATE: u32 = Reason::ByteRate as u32;
    const CONNECTION_LIMIT: u32 = Reason::ConnectionLimit as u32;
    match answer {
        CONNECTION_RATE => Reason::ConnectionRate,
        PACKET_RATE => Reason::PacketRate,
        BYTE_RATE => Reason::ByteRate,
        CONNECTION_LIMIT => Reason::ConnectionLimit,
        _ => Reason::Rule,
    }
}

/// Makes a place for a key, see [`table::make`].
#[inline(always)]
pub fn make_place(state: &XdpState, hash: u64, key: &SourceKey, now: u64, proven: bool) -> Made {
    // SAFETY: this CPU's own.
    unsafe { *scratch::key(state.block()) = *key };
    match nodewall_make(state.number(), hash, now, proven as u32) {
        0 => Made::Idle,
        1 => Made::Evicted,
        2 => Made::Fresh,
        _ => Made::Lost,
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_make(interface: u32, hash: u64, now: u64, proven: u32) -> u32 {
    let Some(block) = XdpState::block_of(interface) else { return 3 };
    // SAFETY: this CPU's own; the caller has put the key there.
    let (word, key) = unsafe { (scratch::word(block), &*scratch::key(block)) };
    match table::make(&Sources { word }, hash, key, now, proven != 0) {
        Made::Idle => 0,
        Made::Evicted => 1,
        Made::Fresh => 2,
        Made::Lost => 3,
    }
}

/// Asks the socket table, see [`socket::lookup`].
#[inline(always)]
pub fn socket(state: &XdpState, flow: &Flow, answer: Option<&Tcp>) -> Socket {
    // SAFETY: this CPU's own.
    let question = unsafe { &mut *scratch::question(state.block()) };
    question.flow = *flow;
    if let Some(tcp) = answer {
        question.tcp = *tcp;
    }
    Socket::of_number(nodewall_socket(state.context, state.number(), answer.is_some() as u32))
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_socket(context: *mut xdp_md, interface: u32, answers: u32) -> u32 {
    let Some(block) = XdpState::block_of(interface) else { return 0 };
    // SAFETY: the caller has put it there.
    let Question { flow, tcp } = unsafe { &*scratch::question(block) };
    if globals::probe(TOLD) {
        return probe::socket(flow, answers != 0);
    }
    socket::lookup(context, flow, if answers == 0 { None } else { Some(tcp) }) as u32
}

/// Asks the tables of what this host sends, see [`reply::standing`].
#[inline(always)]
pub fn standing(state: &XdpState, flow: &Flow, protocol: u8) -> Standing {
    const HALF_OPEN: u32 = Standing::HalfOpen as u32;
    const PROVEN: u32 = Standing::Proven as u32;
    // SAFETY: this CPU's own.
    unsafe { (*scratch::question(state.block())).flow = *flow };
    match nodewall_standing(state.number(), protocol as u32) {
        HALF_OPEN => Standing::HalfOpen,
        PROVEN => Standing::Proven,
        _ => Standing::Unknown,
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_standing(interface: u32, protocol: u32) -> u32 {
    let Some(state) = XdpState::of(interface, 0) else { return 0 };
    // SAFETY: the caller has put it there.
    let flow = unsafe { &(*scratch::question(state.block())).flow };
    reply::standing(&state, flow, protocol as u8) as u32
}

/// See [`reply::note_asked`].
#[inline(always)]
pub fn note_asked(state: &XdpState, flow: &Flow) {
    // SAFETY: this CPU's own.
    unsafe { (*scratch::question(state.block())).flow = *flow };
    nodewall_note_asked(state.number());
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_note_asked(interface: u32) -> u32 {
    let Some(state) = XdpState::of(interface, 0) else { return 0 };
    // SAFETY: the caller has put it there.
    let flow = unsafe { &(*scratch::question(state.block())).flow };
    reply::note_asked(&state, flow);
    1
}

/// The policy's place and the interface's number, as one argument.
#[inline(always)]
fn place(state: &XdpState) -> u32 {
    state.place() << 8 | state.number()
}

/// See [`fragments::is_known`].
#[inline(always)]
pub fn is_known_datagram(state: &XdpState) -> bool {
    nodewall_is_known(state.number()) != 0
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_is_known(interface: u32) -> u32 {
    let Some(state) = XdpState::of(interface, 0) else { return 0 };
    // SAFETY: the caller keeps there what it has read of the packet.
    fragments::is_known(&state, unsafe { scratch::kept(state.block()) }) as u32
}

/// See [`fragments::remember`].
#[inline(always)]
pub fn remember(state: &XdpState, outcome: &Outcome) -> Outcome {
    Kept(nodewall_remember(place(state), Kept::new(outcome).0)).outcome()
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_remember(place: u32, outcome: u64) -> u64 {
    let Some(state) = XdpState::of(place & 0xff, place >> 8) else { return outcome };
    // SAFETY: as above.
    fragments::remember(&state, unsafe { scratch::kept(state.block()) }, Kept(outcome)).0
}

/// See [`fragments::follow`].
#[inline(always)]
pub fn follow(state: &XdpState) -> Kept {
    Kept(nodewall_follow(state.number()))
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_follow(interface: u32) -> u64 {
    let Some(state) = XdpState::of(interface, 0) else {
        return Kept::new(&Outcome::of(Reason::Fragment)).0;
    };
    // SAFETY: as above.
    fragments::follow(&state, unsafe { scratch::kept(state.block()) }).0
}

/// See [`slots::rule_in_group`]. Nothing of it goes through the scratch: a socket's program may be interrupted by another.
#[inline(always)]
pub fn rule_in_group(state: &XdpState, group: u32, source: &Address, port: u16) -> u32 {
    let [high, low] = source.halves();
    nodewall_rule(state.place(), group << 16 | port as u32, high, low)
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_rule(place: u32, group_and_port: u32, high: u64, low: u64) -> u32 {
    let Some(state) = XdpState::of(0, place) else { return 0 };
    let source = Address::of_halves([high, low]);
    let (group, port) = (group_and_port >> 16, group_and_port as u16);
    slots::rule_in_group(&state, group, &source, port)
}

/// See [`slots::speaks_to`](crate::slots::speaks_to).
#[inline(always)]
pub fn speaks(speaker: &Speaker) -> bool {
    let [high, low] = speaker.peer.halves();
    let ports = (speaker.port as u64) << 16 | speaker.peer_port as u64;
    nodewall_speaks(high, low, ports) != 0
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_speaks(high: u64, low: u64, ports: u64) -> u32 {
    let (port, peer_port) = ((ports >> 16) as u16, ports as u16);
    let speaker = Speaker { port, peer: Address::of_halves([high, low]), peer_port };
    crate::slots::speaks_to(&speaker) as u32
}

/// When the ban of an IPv4 address ends; 0: there is none.
#[inline(always)]
pub fn banned_until(address: u32) -> u64 {
    nodewall_banned_until(address)
}

#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_banned_until(address: u32) -> u64 {
    crate::state::banned_until(address)
}
