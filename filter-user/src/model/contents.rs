//! Everything that packets have left in a model.

use filter_common::{FlowKey, FlowTable, tables::SourceKey};

use super::{Buckets, Model};

/// The words of all tables that packets write.
#[derive(Debug, Default)]
pub struct Contents {
    /// The buckets of sources and networks: connections, packets, bytes.
    pub sources: Vec<(SourceKey, [u64; 3])>,
    /// By the rule's number, and whether it is the strangers' part; likewise.
    pub totals: Vec<((u32, bool), [u64; 3])>,
    /// By the interface's number and the limit's.
    pub interfaces: Vec<((u32, u32), u64)>,
    /// By place: tag, clock and verdict.
    pub fragments: Vec<(u32, [u64; 3])>,
    /// What the host sends.
    pub flows: Vec<(FlowTable, FlowKey, u64)>,
}

impl Model {
    /// All that packets have left, in no order.
    #[must_use]
    pub fn contents(&self) -> Contents {
        let words = |buckets: &Buckets| {
            [&buckets.new_connections, &buckets.packets, &buckets.bytes].map(|word| word.0.get())
        };
        let sources = self.sources.borrow();
        let totals = self.totals.borrow();
        let interfaces = self.interface_rates.borrow();
        let fragments = self.fragments.borrow();
        Contents {
            sources: sources.iter().map(|(key, buckets)| (*key, words(buckets))).collect(),
            totals: totals.iter().map(|(key, buckets)| (*key, words(buckets))).collect(),
            interfaces: interfaces.iter().map(|(key, word)| (*key, word.0.get())).collect(),
            fragments: fragments
                .iter()
                .map(|(index, words)| (*index, words.each_ref().map(|word| word.0.get())))
                .collect(),
            flows: self.flows.entries(),
        }
    }
}
