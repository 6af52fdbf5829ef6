//! The tables of what the host sends, in the model.

use std::{cell::RefCell, collections::HashMap};

use filter_common::{
    FlowKey, FlowTable, Flows, Handshake, Origin, PeerKey, Reason,
    egress::record,
    read::{self, Parsed},
};

use super::Model;

/// The tables; none of them is ever full.
#[derive(Debug, Default)]
pub(super) struct FlowTables {
    entries: RefCell<HashMap<(FlowTable, FlowKey), u64>>,
    /// [`FlowTable::HalfOpen`], by the far end alone.
    half_open: RefCell<HashMap<PeerKey, (FlowKey, Handshake)>>,
    spoken: RefCell<HashMap<u32, u32>>,
}

impl FlowTables {
    /// All entries, in no order.
    pub(super) fn entries(&self) -> Vec<(FlowTable, FlowKey, u64)> {
        let (entries, half_open) = (self.entries.borrow(), self.half_open.borrow());
        let entries = entries.iter().map(|((table, key), word)| (*table, *key, *word));
        let half_open = half_open.values();
        let half_open = half_open.map(|(key, entry)| (FlowTable::HalfOpen, *key, entry.word));
        entries.chain(half_open).collect()
    }
}

impl Model {
    /// Has the host send a frame by the interface at hand.
    pub fn send(&self, frame: &[u8], origin: Origin) {
        let mut parsed = Parsed::default();
        if read::packet(frame, self.raw_ip, &mut parsed) == Reason::Rule {
            record(self, &parsed, origin);
        }
    }

    /// Puts an entry into a table, as of `now` nanoseconds of the model's clock.
    pub fn remember(&self, table: FlowTable, key: &FlowKey, word: u64, now: u64) {
        use filter_common::flow::spoken;
        self.set_word(table, key, word);
        let protocol = u8::try_from(key.protocol).unwrap_or_default();
        self.set_spoken(spoken::place(protocol, key.local_port), spoken::unit(now));
    }
}

impl Flows for Model {
    fn word(&self, table: FlowTable, key: &FlowKey) -> u64 {
        if table == FlowTable::HalfOpen {
            let half_open = self.flows.half_open.borrow();
            return half_open.get(&key.peer()).map_or(0, |(_, entry)| entry.word_of(key));
        }
        self.flows.entries.borrow().get(&(table, *key)).copied().unwrap_or(0)
    }

    fn set_word(&self, table: FlowTable, key: &FlowKey, word: u64) {
        if table == FlowTable::HalfOpen {
            let entry = (*key, Handshake::new(key, word));
            self.flows.half_open.borrow_mut().insert(key.peer(), entry);
            return;
        }
        self.flows.entries.borrow_mut().insert((table, *key), word);
    }

    fn spoken(&self, place: u32) -> u32 {
        self.flows.spoken.borrow().get(&place).copied().unwrap_or(0)
    }

    fn set_spoken(&self, place: u32, word: u32) {
        self.flows.spoken.borrow_mut().insert(place, word);
    }
}
