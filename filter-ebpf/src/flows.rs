//! The tables of what this host sends, as BPF maps.

use core::ptr;

use aya_ebpf::btf_maps::LruHashMap;
use filter_common::{FlowKey, FlowTable, Flows, Handshake, PeerKey, tables::probe::READ_ONLY};

use crate::{globals, maps, probe, state::XdpState};

impl Flows for XdpState {
    #[inline(always)]
    fn word(&self, table: FlowTable, key: &FlowKey) -> u64 {
        if globals::probe(READ_ONLY) {
            probe::ask(key);
        }
        match table {
            FlowTable::Flows => word(&maps::FLOWS, key),
            FlowTable::Answered => word(&maps::ANSWERED, key),
            FlowTable::HalfOpen => handshake(&key.peer()).map_or(0, |entry| entry.word_of(key)),
            FlowTable::Asked => word(&maps::ASKED, key),
        }
    }

    #[inline(always)]
    fn set_word(&self, table: FlowTable, key: &FlowKey, value: u64) {
        match table {
            FlowTable::Flows => set_word(&maps::FLOWS, key, value),
            FlowTable::Answered => set_word(&maps::ANSWERED, key, value),
            FlowTable::HalfOpen => {
                // As below.
                let _ = maps::HALF_OPEN.insert(key.peer(), Handshake::new(key, value), 0);
            }
            FlowTable::Asked => set_word(&maps::ASKED, key, value),
        }
    }

    #[inline(always)]
    fn spoken(&self, place: u32) -> u32 {
        // SAFETY: an aligned word of an array's value, read in one piece.
        maps::SPOKEN.get_ptr(place).map_or(0, |word| unsafe { ptr::read_volatile(word) })
    }

    #[inline(always)]
    fn set_spoken(&self, place: u32, value: u32) {
        if globals::probe(READ_ONLY) {
            return;
        }
        if let Some(word) = maps::SPOKEN.get_ptr_mut(place) {
            // SAFETY: as above; of two CPUs at once, either is right.
            unsafe { ptr::write_volatile(word, value) }
        }
    }
}

/// The handshake that was asked for from a far end.
#[inline(always)]
pub fn handshake(peer: &PeerKey) -> Option<&'static Handshake> {
    // SAFETY: an entry is replaced, and not changed; where its memory is another's
    // meanwhile, that one has another near end.
    unsafe { maps::HALF_OPEN.get(peer) }
}

#[inline(always)]
fn word<const N: usize>(map: &LruHashMap<FlowKey, u64, N>, key: &FlowKey) -> u64 {
    match map.get_ptr(key) {
        // SAFETY: an aligned word of the entry's value, read in one piece.
        Some(word) => unsafe { ptr::read_volatile(word) },
        None => 0,
    }
}

#[inline(always)]
fn set_word<const N: usize>(map: &LruHashMap<FlowKey, u64, N>, key: &FlowKey, value: u64) {
    if let Some(word) = map.get_ptr_mut(key) {
        // SAFETY: an aligned word of the entry's value. The table may hand the
        // entry to another flow meanwhile; that flow is as fresh then.
        unsafe { ptr::write_volatile(word, value) }
    } else {
        // Fails only where all of the table is in use by other CPUs at this
        // moment; the host's next packet tries again.
        let _ = map.insert(key, value, 0);
    }
}
