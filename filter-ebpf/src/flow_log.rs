//! Counts the packets of each flow, see `filter_common::tables::flow_log`.

use filter_common::{
    Cell as _, Outcome, Verdict,
    read::{Flow, Parsed},
    tables::flow_log::{Entry, Key, ON, REFUSED_WAYS, SECOND, TIME_SHIFT, Tags, WAYS},
};

use crate::{atomic::MapWord, control, globals, maps, state::XdpState};

/// Of what a packet is, as one number: it was dropped.
const REFUSED: u32 = 1 << 31;
/// Where in it the protocol stands; below that, the interface's number.
const PROTOCOL_SHIFT: u32 = 16;

/// Counts a packet that was read for its flow, where flows are counted.
#[inline(always)]
pub fn count(state: &XdpState, parsed: &Parsed, outcome: &Outcome, length: u32) {
    if control::flow_log() & ON == 0 {
        return;
    }
    let refused = if matches!(outcome.verdict(), Verdict::Drop) { REFUSED } else { 0 };
    let what = state.number() | (parsed.protocol as u32) << PROTOCOL_SHIFT | refused;
    if nodewall_count_flow(&parsed.flow, what, length) == 0 {
        // SAFETY: this CPU's own.
        unsafe { (*state.block()).unlogged += 1 };
    }
}

/// Apart, as the functions of `apart` are; but it is told where the flow is,
/// which saves it a look-up. Whether there was room.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn nodewall_count_flow(flow: *const Flow, what: u32, length: u32) -> u32 {
    if flow.is_null() {
        return 0;
    }
    // SAFETY: the caller's own.
    let Flow { source, destination, source_port, destination_port } = unsafe { *flow };
    let refused = what & REFUSED != 0;
    let key = Key {
        source,
        destination,
        source_port,
        destination_port,
        interface: what as u16,
        protocol: (what >> PROTOCOL_SHIFT) as u8,
        refused: refused as u8,
    };
    let word = control::flow_log();
    let hash = key.hash(&globals::seed());
    let index = (hash as u32 & globals::flows_mask()) << 1 | (word & SECOND != 0) as u32;
    let Some(tags) = maps::FLOW_TAGS.get_ptr_mut(index) else { return 0 };
    // Refused flows begin at one end of the bucket, accepted ones at the other.
    let (ways, turn) = if refused { (REFUSED_WAYS, 0) } else { (WAYS, WAYS - 1) };
    for step in 0..WAYS {
        if step >= ways {
            break;
        }
        // SAFETY: within the bucket.
        let tag = unsafe { MapWord::new(tags.cast::<u64>().add(step ^ turn)) };
        let found = tag.load();
        if found != hash && (found != 0 || tag.compare_exchange(0, hash) != 0) {
            continue;
        }
        let Some(entries) = maps::FLOW_COUNTS.get_ptr_mut(index) else { return 0 };
        let now = (word >> TIME_SHIFT) as u32;
        // SAFETY: a place of the bucket, in a map's value. Of one that another
        // CPU has just taken the key may not be there yet: then it is another.
        unsafe {
            let entry = entries.cast::<Entry>().add(step ^ turn);
            if found == 0 {
                (*entry).key = key;
                (*entry).first = now;
            } else if (*entry).key != key {
                continue;
            }
            if (*entry).last != now {
                (*entry).last = now;
            }
            MapWord::new(&raw mut (*entry).packets).add(1);
            MapWord::new(&raw mut (*entry).bytes).add(length as u64);
        }
        return 1;
    }
    0
}

const _: () = assert!(size_of::<Tags>() == WAYS * size_of::<u64>());
