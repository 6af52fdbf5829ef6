//! Faults of the kind that an adapter between verdict and tables may have,
//! planted on purpose: the search must find each.

use filter_common::{
    Address, FlowKey, FlowTable, Flows, InterfaceLimit, Socket, State,
    fragments::Entry,
    read::{Flow, Tcp},
    tables::{Fragments, Generation, Leaf, Rule, SourceKey, View},
};
use filter_user::model::{Buckets, Model, Word};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Entries of fragments are one place further on, beyond the bucket's end.
    FragmentPlace,
    /// The part of the total for strangers is the whole of it.
    Strangers,
    /// Interfaces share one bucket of ICMP errors.
    InterfaceBucket,
    /// The second of a port word's four views is read from the next word.
    PortWord,
    /// Prefix matches look at the address without its last bit.
    PrefixBit,
    /// A ban holds a tick longer, as if its end were included.
    BanEnd,
    /// A full microsecond of the clock is lost.
    Clock,
    /// A socket in the middle of its handshake counts as none.
    HalfOpen,
    /// What was noted of a stranger's datagram goes into the wrong table.
    Asked,
    /// The network of a source is charged under the source's scope.
    Scope,
}

impl Fault {
    /// All.
    pub const ALL: [Self; 10] = [
        Self::FragmentPlace,
        Self::Strangers,
        Self::InterfaceBucket,
        Self::PortWord,
        Self::PrefixBit,
        Self::BanEnd,
        Self::Clock,
        Self::HalfOpen,
        Self::Asked,
        Self::Scope,
    ];
}

/// A model with a fault.
pub struct Faulty<'a>(pub &'a Model, pub Fault);

impl Faulty<'_> {
    fn has(&self, fault: Fault) -> bool {
        self.1 == fault
    }

    fn key(&self, key: &SourceKey) -> SourceKey {
        let scope = if self.has(Fault::Scope) { 0 } else { key.scope };
        SourceKey { scope, ..*key }
    }

    fn table(&self, table: FlowTable) -> FlowTable {
        match table {
            FlowTable::Asked if self.has(Fault::Asked) => FlowTable::Flows,
            table => table,
        }
    }
}

impl Flows for Faulty<'_> {
    fn word(&self, table: FlowTable, key: &FlowKey) -> u64 {
        self.0.word(self.table(table), key)
    }

    fn set_word(&self, table: FlowTable, key: &FlowKey, word: u64) {
        self.0.set_word(self.table(table), key, word);
    }

    fn spoken(&self, place: u32) -> u32 {
        self.0.spoken(place)
    }

    fn set_spoken(&self, place: u32, word: u32) {
        self.0.set_spoken(place, word);
    }
}

impl State for Faulty<'_> {
    type Cell = Word;
    type Buckets = Buckets;

    fn generation(&self) -> &Generation {
        self.0.generation()
    }

    fn interface(&self) -> u32 {
        self.0.interface()
    }

    fn now(&self) -> u64 {
        let lost = if self.has(Fault::Clock) { 16_000 } else { 1 };
        self.0.now() / lost * lost
    }

    fn list_word(&self, index: u32) -> u64 {
        self.0.list_word(index)
    }

    fn list_leaf(&self, leaf: u32) -> Option<&Leaf> {
        self.0.list_leaf(leaf)
    }

    fn list_prefix(&self, source: &Address) -> u32 {
        self.0.list_prefix(source)
    }

    fn bans(&self) -> u32 {
        self.0.bans()
    }

    fn ban_word(&self, index: u32) -> u64 {
        self.0.ban_word(index)
    }

    fn banned(&self, source: &Address) -> bool {
        if !self.has(Fault::BanEnd) {
            return self.0.banned(source);
        }
        let now = self.0.now.replace(self.0.now.get().saturating_sub(1));
        let banned = self.0.banned(source);
        self.0.now.set(now);
        banned
    }

    fn banned_prefix(&self, source: &Address) -> bool {
        self.0.banned_prefix(source)
    }

    fn port_word(&self, group: u32, index: u32) -> u64 {
        let word = self.0.port_word(group, index);
        if !self.has(Fault::PortWord) {
            return word;
        }
        let second = 0xffff << 16;
        word & !second | self.0.port_word(group, index + 1) & second
    }

    fn view(&self, view: u32) -> Option<&View> {
        self.0.view(view)
    }

    fn filter_word(&self, index: u32) -> u64 {
        self.0.filter_word(index)
    }

    fn prefix_rule(&self, view: u32, source: &Address) -> u32 {
        let mut source = *source;
        if self.has(Fault::PrefixBit) {
            source.0[3] &= !1_u32.to_be();
        }
        self.0.prefix_rule(view, &source)
    }

    fn rule(&self, rule: u32) -> Option<&Rule> {
        self.0.rule(rule)
    }

    fn speaks(&self, flow: &Flow) -> bool {
        self.0.speaks(flow)
    }

    fn socket(&self, flow: &Flow, answer: Option<&Tcp>) -> Socket {
        match self.0.socket(flow, answer) {
            Socket::HalfOpen if self.has(Fault::HalfOpen) => Socket::None,
            socket => socket,
        }
    }

    fn find_buckets(&self, key: &SourceKey) -> Option<Buckets> {
        self.0.find_buckets(&self.key(key))
    }

    fn buckets(&self, key: &SourceKey, now: u64, proven: bool) -> Option<Buckets> {
        self.0.buckets(&self.key(key), now, proven)
    }

    fn total_buckets(&self, rule: u32, strangers: bool) -> Option<Buckets> {
        self.0.total_buckets(rule, strangers && !self.has(Fault::Strangers))
    }

    fn slots(&self, key: &SourceKey) -> u64 {
        self.0.slots(key)
    }

    fn is_known(&self, source: &Address, now: u64) -> bool {
        self.0.is_known(source, now)
    }

    fn interface_bucket(&self, limit: InterfaceLimit) -> Option<Word> {
        if self.has(Fault::InterfaceBucket) {
            return self.0.bucket_of(0, limit);
        }
        self.0.interface_bucket(limit)
    }

    fn fragments(&self) -> Fragments {
        self.0.fragments()
    }

    fn fragment(&self, index: u32) -> Option<Entry<Word>> {
        let places = filter_common::tables::fragments::WAYS;
        if self.has(Fault::FragmentPlace) && index.is_multiple_of(places) {
            return None;
        }
        self.0.fragment(index)
    }

    fn fragments_full(&self) {
        self.0.fragments_full();
    }

    fn contended(&self) {
        self.0.contended();
    }
}
