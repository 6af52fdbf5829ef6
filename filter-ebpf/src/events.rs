//! Tells the controller of dropped packets, see `filter_common::tables::events`.

use aya_ebpf::{
    bindings::{BPF_RB_NO_WAKEUP, xdp_md},
    programs::XdpContext,
};
use filter_common::{
    Cell as _, Outcome, Reason, Verdict,
    fragments::Kept,
    read,
    tables::events::{Event, LOST, TAKEN, has},
};

use crate::{atomic::MapWord, clock, control, maps, packet::XdpPacket, scratch, state::XdpState};

/// In a place: the interface has no Ethernet framing.
const RAW_IP: u32 = 1 << 31;

/// Counts a packet that dropped, or would have, and tells of it where that was
/// granted. It costs no more than two words that are at hand.
#[inline(always)]
pub fn tell(state: &XdpState, outcome: &Outcome, length: u32) {
    if matches!(outcome.verdict(), Verdict::Pass) && outcome.monitored.is_none() {
        return;
    }
    // SAFETY: a value of the map, this CPU's own.
    let told = unsafe { &mut (*state.block()).told };
    told.untold += 1;
    if told.used_up >= control::granted() {
        return;
    }
    let place = state.number() | if state.raw_ip() { RAW_IP } else { 0 };
    nodewall_tell(state.context, place, Kept::new(outcome).0, length);
}

/// Apart, as the functions of `apart` are.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_tell(
    context: *mut xdp_md,
    place: u32,
    outcome: u64,
    length: u32,
) -> u32 {
    let interface = place & !RAW_IP;
    let Some(block) = XdpState::block_of(interface) else { return 0 };
    // SAFETY: as above.
    let told = unsafe { &mut (*block).told };
    let granted = control::granted();
    let Some(taken) = word(TAKEN) else { return 0 };
    let before = taken.load();
    if before >= granted {
        told.used_up = granted;
        return 0;
    }
    if taken.compare_exchange(before, before + 1) != before {
        // Another CPU was faster; the next drop may try.
        return 0;
    }
    let Some(mut entry) = maps::EVENTS.reserve(0) else {
        if let Some(lost) = word(LOST) {
            lost.add(1);
        }
        return 0;
    };
    let event = entry.write(Event::default());
    event.time = clock::monotonic();
    event.not_shown = told.untold - 1;
    told.untold = 0;
    event.outcome = outcome;
    event.length = length;
    event.interface = interface as u16;
    if Kept(outcome).judged() == Reason::Malformed as u64 {
        // What it could not read, the program has left of another packet.
        let mut flow = read::Flow::default();
        let context = XdpContext::new(context);
        // SAFETY: a value of the map.
        let packet = XdpPacket::new(&context, unsafe { scratch::word(block) });
        if read::claimed(&packet, place & RAW_IP != 0, &mut flow) {
            (event.source, event.destination) = (flow.source, flow.destination);
            event.has = has::ADDRESSES;
        }
    } else {
        // SAFETY: the program keeps there what it has read of the packet.
        event.describe(unsafe { scratch::kept(block) });
    }
    // Whoever reads it looks ten times a second, and need not be woken.
    entry.submit(BPF_RB_NO_WAKEUP.into());
    1
}

#[inline(always)]
fn word(place: u32) -> Option<MapWord> {
    let word = maps::EVENT_WORDS.get_ptr_mut(place)?;
    // SAFETY: a word in an array's value.
    Some(unsafe { MapWord::new(word) })
}
