//! Counts the connections that peers hold, at the kernel's word: a `sock_ops`
//! program on the cgroup root. What each is charged for stays with its socket.

use core::{arch::asm, mem::offset_of, ptr};

use aya_ebpf::{
    bindings::{
        BPF_SK_STORAGE_GET_F_CREATE, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB,
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
        BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB, bpf_sock_ops,
    },
    helpers::{
        bpf_get_netns_cookie, bpf_ktime_get_ns, bpf_sk_storage_get, bpf_sock_ops_cb_flags_set,
    },
};
use filter_common::{
    Address, Cell as _, FlowKey, FlowTable, Flows as _, HalfOpen, PeerKey, Scope, Sent, Stage,
    State as _, known,
    rate::TICKS_PER_NS,
    read::{Flow, protocol},
    slots,
    tables::{
        Rule, Slot, SourceKey,
        control::{MENDED, PORTS},
        generation, notes,
        probe::TOLD,
        rule, slot,
        speakers::Speaker,
    },
};

use crate::{
    apart,
    atomic::MapWord,
    control, flows, globals, maps,
    state::{XdpState, known_bucket},
};

/// Of `family` (include/linux/socket.h).
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// A socket's state (include/net/tcp_states.h) at its end.
const TCP_CLOSE: u32 = 7;
/// `BPF_NOEXIST`: another CPU's entry stays.
const NO_EXIST: u64 = 1;

/// How many connections are held under a key.
#[inline(always)]
pub fn held(key: &SourceKey) -> u64 {
    // SAFETY: the values are aligned words, copied at once.
    let mut held = unsafe { maps::SLOTS.get(key) }.copied().unwrap_or(0);
    if control::has(MENDED) {
        // SAFETY: as above.
        held = held.wrapping_add(unsafe { maps::MENDED.get(key) }.copied().unwrap_or(0));
    }
    if maps::NOTES.get(notes::FOREIGN).is_some_and(|count| *count != 0) {
        // SAFETY: as above.
        let foreign = unsafe { maps::SLOTS.get(slots::foreign(key)) };
        held = held.wrapping_add(foreign.copied().unwrap_or(0));
    }
    // Below 0 only while the controller is about to correct it again.
    if (held as i64) < 0 { 0 } else { held }
}

/// Follows what the kernel tells of a socket.
#[inline(always)]
pub fn follow(ops: *mut bpf_sock_ops) {
    // SAFETY: the program's own context.
    match unsafe { word::<{ offset_of!(bpf_sock_ops, op) }>(ops) } {
        BPF_SOCK_OPS_TCP_CONNECT_CB if is_own(ops) => {
            if let Some([_, remote]) = addresses(ops) {
                mark(&speaker(ops, remote));
            }
        }
        BPF_SOCK_OPS_TCP_LISTEN_CB if is_own(ops) => mark(&Speaker::listener(local_port(ops))),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => established(ops, true),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(ops, false),
        BPF_SOCK_OPS_STATE_CB => {
            // SAFETY: as above; for this callback the second is the new state.
            let state = unsafe { word::<{ offset_of!(bpf_sock_ops, __bindgen_anon_1) + 4 }>(ops) };
            if state == TCP_CLOSE {
                closed(ops);
            }
        }
        _ => {}
    }
}

/// Whether the socket is of this host's own network namespace.
#[inline(always)]
fn is_own(ops: *mut bpf_sock_ops) -> bool {
    // SAFETY: the helper reads the namespace of the context's socket.
    unsafe { bpf_get_netns_cookie(ops.cast()) == control::namespace() }
}

/// A socket speaks from now on. The controller, which alone knows when it does
/// not any more, compares the numbers with what they were before it looked: they
/// are never taken back here.
#[inline(always)]
fn mark(speaker: &Speaker) {
    for place in [speaker.port_place(), speaker.place(&globals::seed())] {
        if let Some(word) = maps::MARKED.get_ptr_mut(place) {
            // SAFETY: a word in an array's value.
            unsafe { MapWord::new(word) }.add(1);
        }
    }
}

/// Whether a socket of this host may be at the receiving end of a flow.
#[inline(always)]
pub fn speaks(flow: &Flow) -> bool {
    if globals::probe(TOLD) || !control::has(PORTS) {
        return true;
    }
    let speaker = Speaker::of(flow);
    !is_silent(speaker.port_place()) && apart::speaks(&speaker)
}

/// The same by the places of both ends, and of a listener.
#[inline(always)]
pub fn speaks_to(speaker: &Speaker) -> bool {
    let seed = globals::seed();
    !is_silent(speaker.place(&seed)) || !is_silent(Speaker::listener(speaker.port).place(&seed))
}

#[inline(always)]
fn is_silent(place: u32) -> bool {
    // SAFETY: aligned words of arrays' values, each read in one piece.
    let read = |word: Option<*const u64>| word.map(|word| unsafe { ptr::read_volatile(word) });
    read(maps::MARKED.get_ptr(place)) == read(maps::SILENT.get_ptr(place))
}

/// The context's socket, whose far end has that address.
#[inline(always)]
fn speaker(ops: *mut bpf_sock_ops, peer: Address) -> Speaker {
    Speaker { port: local_port(ops), peer, peer_port: remote_port(ops) }
}

/// In host order.
#[inline(always)]
fn local_port(ops: *mut bpf_sock_ops) -> u16 {
    // SAFETY: the program's own context.
    unsafe { word::<{ offset_of!(bpf_sock_ops, local_port) }>(ops) as u16 }
}

/// In host order.
#[inline(always)]
fn remote_port(ops: *mut bpf_sock_ops) -> u16 {
    // SAFETY: the program's own context.
    u32::from_be(unsafe { word::<{ offset_of!(bpf_sock_ops, remote_port) }>(ops) }) as u16
}

/// A handshake is complete. `passive`: the peer began it.
#[inline(always)]
fn established(ops: *mut bpf_sock_ops, passive: bool) {
    let own = is_own(ops);
    if !own && !passive {
        return;
    }
    let Some([local, remote]) = addresses(ops) else { return };
    if own {
        mark(&speaker(ops, remote));
    }
    if slots::is_loopback(&local, &remote) {
        return;
    }
    // SAFETY: the helper only reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    let Some(state) = XdpState::of(0, control::live()) else { return };
    let mut flow = Flow {
        source: remote,
        destination: local,
        source_port: remote_port(ops),
        destination_port: local_port(ops),
    };
    if !own && !as_asked(&state, &mut flow, now) {
        return;
    }
    let mut slot = slots::unruled(&state, &remote, now);
    slot.flags = if own { 0 } else { slot::FOREIGN };
    let mut number = 0;
    if passive {
        let hash = known::hash(&globals::seed(), &slot.source);
        if let Some(bucket) = known_bucket(hash) {
            known::note(bucket, hash, now * TICKS_PER_NS);
        }
        number = slots::rule(&state, &flow);
    }
    // Kept also where nothing is charged: the controller then knows that this
    // was settled, and that the connection is not older than this program.
    let kept = storage(ops, &mut slot);
    if kept.is_null() || number == 0 {
        return;
    }
    // Another version of this program may run beside this one while they are
    // exchanged, and have charged it.
    // SAFETY: the socket's own, which is locked while its program runs.
    if unsafe { (*kept).flags } & slot::RULE != 0 {
        return;
    }
    let Some(rule) = state.rule(number) else { return };
    // SAFETY: the program's own context. Others' flags stay.
    unsafe {
        let flags = word::<{ offset_of!(bpf_sock_ops, bpf_sock_ops_cb_flags) }>(ops);
        bpf_sock_ops_cb_flags_set(ops, (flags | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    }
    slot.rule = rule.id;
    slot.flags |= slot::RULE;
    if !own {
        note(notes::FOREIGN);
    }
    let monitor =
        rule.flags & rule::MONITOR != 0 || state.generation().flags & generation::MONITOR != 0;
    charge(&mut slot, rule, Scope::Total, monitor);
    charge(&mut slot, rule, Scope::PerNetwork, monitor);
    charge(&mut slot, rule, Scope::PerSource, monitor);
    if slot.flags & slot::SURPLUS != 0 {
        note(notes::SURPLUS);
    }
    // SAFETY: the socket's own, which is locked while its program runs.
    unsafe { *kept = slot };
}

/// Makes the flow of a container's socket what it is outside of this host's NAT:
/// the one that was asked for from the same far end. Whether there was any. It
/// is proven now, at the word of the socket.
#[inline(always)]
fn as_asked(state: &XdpState, flow: &mut Flow, now: u64) -> bool {
    let peer = PeerKey { address: flow.source, port: flow.source_port as u32 };
    let Some(asked) = flows::handshake(&peer) else { return false };
    if !HalfOpen(asked.word).is_live(now) {
        return false;
    }
    flow.destination = asked.local;
    flow.destination_port = asked.local_port as u16;
    let key = FlowKey::received(flow, protocol::TCP);
    state.set_word(FlowTable::Answered, &key, Sent::new(now, Stage::Open).0);
    true
}

/// Adds a connection in one scope, and sees whether it is one too many.
#[inline(always)]
fn charge(slot: &mut Slot, rule: &Rule, scope: Scope, monitor: bool) {
    let key = slot.key(scope);
    // Another CPU may make it first, and there may be no room.
    if maps::SLOTS.get_ptr(key).is_none() {
        let _ = maps::SLOTS.insert(key, 0, NO_EXIST);
    }
    let Some(count) = maps::SLOTS.get_ptr_mut(key) else {
        note(notes::FULL);
        return;
    };
    // SAFETY: a word in a map's value.
    unsafe { MapWord::new(count) }.add(1);
    slot.flags |= 1 << scope as u32;
    let most = rule.connections[scope as usize];
    // A container's is out of the controller's reach.
    let may_close = !monitor && slot.flags & slot::FOREIGN == 0;
    if most != 0 && may_close && held(&key) > most as u64 {
        slot.flags |= slot::SURPLUS;
    }
}

/// The socket is closed: takes back what it was charged for.
#[inline(always)]
fn closed(ops: *mut bpf_sock_ops) {
    let kept = storage(ops, ptr::null_mut());
    if kept.is_null() {
        return;
    }
    // SAFETY: the socket's own, which is locked while its program runs.
    let slot = unsafe { *kept };
    // SAFETY: as above.
    unsafe { (*kept).flags = 0 };
    give_back(&slot, Scope::Total);
    give_back(&slot, Scope::PerNetwork);
    give_back(&slot, Scope::PerSource);
}

#[inline(always)]
fn give_back(slot: &Slot, scope: Scope) {
    if slot.counts_in(scope)
        && let Some(count) = maps::SLOTS.get_ptr_mut(slot.key(scope))
    {
        // SAFETY: a word in a map's value.
        unsafe { MapWord::new(count) }.subtract(1);
    }
}

/// What is kept with the context's socket; `first`: made as this if there is
/// nothing yet. Null where there is nothing, or no memory.
#[inline(always)]
fn storage(ops: *mut bpf_sock_ops, first: *mut Slot) -> *mut Slot {
    // SAFETY: the program's own context; the helper refuses a null socket.
    unsafe {
        let socket = ptr::read_volatile(&raw const (*ops).__bindgen_anon_2.sk);
        if socket.is_null() {
            return ptr::null_mut();
        }
        let map = (&raw const maps::CHARGED).cast_mut();
        let flags = if first.is_null() { 0 } else { BPF_SK_STORAGE_GET_F_CREATE };
        bpf_sk_storage_get(map.cast(), socket.cast(), first.cast(), flags as u64).cast()
    }
}

/// The addresses of this host and the peer. Sockets of both families call an
/// IPv4 peer by its IPv4-mapped address, as all tables do.
#[inline(always)]
fn addresses(ops: *mut bpf_sock_ops) -> Option<[Address; 2]> {
    // SAFETY: the program's own context, read by words as the kernel wants it.
    unsafe {
        match word::<{ offset_of!(bpf_sock_ops, family) }>(ops) {
            AF_INET => Some([
                Address::from_ipv4(word::<{ offset_of!(bpf_sock_ops, local_ip4) }>(ops)),
                Address::from_ipv4(word::<{ offset_of!(bpf_sock_ops, remote_ip4) }>(ops)),
            ]),
            AF_INET6 => Some([
                Address([
                    word::<{ offset_of!(bpf_sock_ops, local_ip6) }>(ops),
                    word::<{ offset_of!(bpf_sock_ops, local_ip6) + 4 }>(ops),
                    word::<{ offset_of!(bpf_sock_ops, local_ip6) + 8 }>(ops),
                    word::<{ offset_of!(bpf_sock_ops, local_ip6) + 12 }>(ops),
                ]),
                Address([
                    word::<{ offset_of!(bpf_sock_ops, remote_ip6) }>(ops),
                    word::<{ offset_of!(bpf_sock_ops, remote_ip6) + 4 }>(ops),
                    word::<{ offset_of!(bpf_sock_ops, remote_ip6) + 8 }>(ops),
                    word::<{ offset_of!(bpf_sock_ops, remote_ip6) + 12 }>(ops),
                ]),
            ]),
            _ => None,
        }
    }
}

/// A word of the context. The verifier takes no pointer into it, which the
/// compiler would make of two loads: the offset is in the instruction.
#[inline(always)]
unsafe fn word<const OFFSET: usize>(ops: *mut bpf_sock_ops) -> u32 {
    let word: u64;
    // SAFETY: the caller's: it is the program's context, and OFFSET within it.
    unsafe {
        asm!(
            "{word} = *(u32 *)({ops} + {offset})",
            word = out(reg) word,
            ops = in(reg) ops,
            offset = const OFFSET,
            options(nostack, readonly),
        );
    }
    word as u32
}

/// Counts something for the controller.
#[inline(always)]
fn note(place: u32) {
    if let Some(word) = maps::NOTES.get_ptr_mut(place) {
        // SAFETY: a word in an array's value.
        unsafe { MapWord::new(word) }.add(1);
    }
}
