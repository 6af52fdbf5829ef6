//! The tables of what the host sends, in the model.

use std::{cell::RefCell, collections::HashMap};

use filter_common::{
    FlowKey, FlowTable, Flows, Origin, Reason,
    egress::record,
    read::{self, Parsed},
};

use super::Model;

/// The tables; none of them is ever full.
#[derive(Debug, Default)]
pub(super) struct FlowTables {
    entries: RefCell<HashMap<(FlowTable, FlowKey), u64>>,
    spoken: RefCell<HashMap<u32, u32>>,
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
        self.flows.entries.borrow().get(&(table, *key)).copied().unwrap_or(0)
    }

    fn set_word(&self, table: FlowTable, key: &FlowKey, word: u64) {
        self.flows.entries.borrow_mut().insert((table, *key), word);
    }

    fn spoken(&self, place: u32) -> u32 {
        self.flows.spoken.borrow().get(&place).copied().unwrap_or(0)
    }

    fn set_spoken(&self, place: u32, word: u32) {
        self.flows.spoken.borrow_mut().insert(place, word);
    }
}
