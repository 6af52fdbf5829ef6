//! The state of a verdict in user space: compiled tables, hash maps for what
//! the kernel keeps, and a clock that is set by hand. With it the verdict's
//! own code judges packets without a kernel.

mod contents;
mod flows;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    net::IpAddr,
    rc::Rc,
};

use filter_common::{
    Address, InterfaceLimit, Outcome, Seed, Socket, State, banned,
    fragments::Entry,
    judge, known,
    rate::TICKS_PER_NS,
    read::{Flow, Tcp},
    tables::{Fragments, Generation, Leaf, Rule, SourceKey, View, ViewPrefix, bans, lists},
};
use ipnet::IpNet;

pub use self::contents::Contents;
use crate::compile::{Prefix, Tables};

/// Of hashes: any will do, since nobody aims at a model.
const SEED: Seed = [0; 2];

/// A filter in user space.
#[derive(Debug, Default)]
pub struct Model {
    tables: Tables,
    ports: HashMap<(u32, u32), u64>,
    filter_words: HashMap<u32, u64>,
    prefixes: Trie<ViewPrefix>,
    list_words: HashMap<u32, u64>,
    list_prefixes: Trie<Address>,
    /// When each ban ends, in nanoseconds of the model's clock.
    bans: HashMap<IpNet, u64>,
    sockets: HashMap<Flow, Socket>,
    /// TCP ports that no socket speaks from.
    pub silent: HashSet<u16>,
    flows: flows::FlowTables,
    sources: RefCell<HashMap<SourceKey, Buckets>>,
    /// By the rule's number: what all its sources share, or the strangers' part.
    totals: RefCell<HashMap<(u32, bool), Buckets>>,
    /// When each source completed its handshakes.
    known: HashMap<Address, [Word; known::WAYS]>,
    slots: HashMap<SourceKey, u64>,
    interface_rates: RefCell<HashMap<(u32, u32), Word>>,
    fragments: RefCell<HashMap<u32, [Word; 3]>>,
    /// The table of fragmented datagrams.
    pub fragment_table: Fragments,
    /// The interface that packets come in on.
    pub interface: u32,
    /// Whether its frames begin with the IP header.
    pub raw_ip: bool,
    /// Nanoseconds.
    pub now: Cell<u64>,
    contended: Cell<u64>,
    fragments_full: Cell<u64>,
}

impl Model {
    /// A filter in which one policy is in force, and nothing has happened yet.
    #[must_use]
    pub fn new(tables: Tables) -> Self {
        let mut model = Self::default();
        model.switch(tables);
        model
    }

    /// Puts another policy in force. Bans, buckets and sockets stay.
    pub fn switch(&mut self, tables: Tables) {
        self.ports = (0_u32..)
            .zip(&tables.ports)
            .flat_map(|(group, words)| {
                words.iter().map(move |(index, word)| ((group, *index), *word))
            })
            .collect();
        self.filter_words = tables.filters.words.iter().copied().collect();
        self.prefixes = Trie::new(&tables.prefixes);
        self.list_words = tables.lists.words.iter().copied().collect();
        self.list_prefixes = Trie::new(&tables.lists.prefixes);
        self.tables = tables;
    }

    /// Bans a prefix until `until` nanoseconds of the model's clock; an IPv4
    /// address until the end that its table [keeps](banned::kept).
    pub fn ban(&mut self, net: IpNet, until: u64) {
        let in_table = matches!(net, IpNet::V4(net) if net.prefix_len() == 32);
        let until = if in_table { banned::kept(until) } else { until };
        self.bans.insert(net.trunc(), until);
    }

    /// Puts something into the socket table.
    pub fn set_socket(&mut self, flow: Flow, socket: Socket) {
        self.sockets.insert(flow, socket);
    }

    /// Remembers that a source prefix completes a handshake now.
    pub fn set_known(&mut self, source: Address) {
        let now = State::now(self);
        let words = self.known.entry(source).or_default();
        known::note(|way| words[way].clone(), known::hash(&SEED, &source), now);
    }

    /// Settles how many connections are held under a key.
    pub fn set_slots(&mut self, key: SourceKey, held: u64) {
        self.slots.insert(key, held);
    }

    /// Judges one frame.
    #[must_use]
    pub fn judge(&self, frame: &[u8]) -> Outcome {
        judge(frame, self.raw_ip, self)
    }

    /// Packets that were refused for contention; a model has none.
    #[must_use]
    pub fn contended_packets(&self) -> u64 {
        self.contended.get()
    }

    /// Datagrams whose later fragments drop for want of room.
    #[must_use]
    pub fn fragments_full_datagrams(&self) -> u64 {
        self.fragments_full.get()
    }

    /// A bucket of the interface with that number.
    #[must_use]
    pub fn bucket_of(&self, interface: u32, limit: InterfaceLimit) -> Option<Word> {
        let key = (interface, limit as u32);
        Some(self.interface_rates.borrow_mut().entry(key).or_default().clone())
    }

    fn is_banned(&self, source: &Address, whole: bool) -> bool {
        let address = IpAddr::from(*source);
        self.bans.iter().any(|(net, until)| {
            let single = net.prefix_len() == net.max_prefix_len();
            single == whole
                && net.contains(&address)
                && (*until == bans::FOREVER || self.now.get() < *until)
        })
    }
}

impl State for Model {
    type Cell = Word;
    type Buckets = Buckets;

    fn generation(&self) -> &Generation {
        &self.tables.generation
    }

    fn interface(&self) -> u32 {
        self.interface
    }

    fn now(&self) -> u64 {
        self.now.get() * TICKS_PER_NS
    }

    fn list_word(&self, index: u32) -> u64 {
        self.list_words.get(&index).copied().unwrap_or(0)
    }

    fn list_leaf(&self, leaf: u32) -> Option<&Leaf> {
        self.tables.lists.leaves.get(leaf as usize)
    }

    fn list_prefix(&self, source: &Address) -> u32 {
        let found = self.list_prefixes.longest(128, |length| source.masked(&mask(length)));
        found.unwrap_or(lists::NONE)
    }

    fn bans(&self) -> u32 {
        if self.bans.is_empty() { 0 } else { bans::ANY | bans::PREFIXES }
    }

    fn ban_word(&self, _index: u32) -> u64 {
        // A filter may always say that there could be something.
        u64::MAX
    }

    fn banned(&self, source: &Address) -> bool {
        self.is_banned(source, true)
    }

    fn banned_prefix(&self, source: &Address) -> bool {
        self.is_banned(source, false)
    }

    fn port_word(&self, group: u32, index: u32) -> u64 {
        self.ports.get(&(group, index)).copied().unwrap_or(0)
    }

    fn view(&self, view: u32) -> Option<&View> {
        self.tables.views.get(view as usize)
    }

    fn filter_word(&self, index: u32) -> u64 {
        self.filter_words.get(&index).copied().unwrap_or(0)
    }

    fn prefix_rule(&self, view: u32, source: &Address) -> u32 {
        let bits = filter_common::tables::VIEW_BITS;
        let found = self.prefixes.longest(bits + 128, |length| ViewPrefix {
            view,
            address: source.masked(&mask(length.saturating_sub(bits))),
        });
        found.unwrap_or(0)
    }

    fn rule(&self, rule: u32) -> Option<&Rule> {
        self.tables.rules.get(rule as usize)
    }

    fn socket(&self, flow: &Flow, answer: Option<&Tcp>) -> Socket {
        match self.sockets.get(flow) {
            Some(Socket::Cookie) if answer.is_none() => Socket::None,
            Some(socket) => *socket,
            None => Socket::None,
        }
    }

    fn find_buckets(&self, key: &SourceKey) -> Option<Buckets> {
        self.sources.borrow().get(key).cloned()
    }

    fn buckets(&self, key: &SourceKey, _: u64, _: bool) -> Option<Buckets> {
        Some(self.sources.borrow_mut().entry(*key).or_default().clone())
    }

    fn total_buckets(&self, rule: u32, strangers: bool) -> Option<Buckets> {
        Some(self.totals.borrow_mut().entry((rule, strangers)).or_default().clone())
    }

    fn speaks(&self, flow: &Flow) -> bool {
        !self.silent.contains(&flow.destination_port)
    }

    fn slots(&self, key: &SourceKey) -> u64 {
        self.slots.get(key).copied().unwrap_or(0)
    }

    fn is_known(&self, source: &Address, now: u64) -> bool {
        let hash = known::hash(&SEED, source);
        let holds = |words: &[Word; known::WAYS]| known::holds(|way| words[way].clone(), hash, now);
        self.known.get(source).is_some_and(holds)
    }

    fn interface_bucket(&self, limit: InterfaceLimit) -> Option<Word> {
        self.bucket_of(self.interface, limit)
    }

    fn fragments(&self) -> Fragments {
        self.fragment_table
    }

    fn fragment(&self, index: u32) -> Option<Entry<Word>> {
        let [tag, clock, verdict] = self.fragments.borrow_mut().entry(index).or_default().clone();
        Some(Entry { tag, clock, verdict })
    }

    fn fragments_full(&self) {
        self.fragments_full.set(self.fragments_full.get() + 1);
    }

    fn contended(&self) {
        self.contended.set(self.contended.get() + 1);
    }
}

fn mask(length: u32) -> Address {
    Address::mask(u8::try_from(length).unwrap_or(128))
}

/// A longest-prefix-match table: a hash map, asked for each length there is.
#[derive(Debug)]
struct Trie<K> {
    entries: HashMap<(u32, K), u32>,
    /// Longest first.
    lengths: Vec<u32>,
}

impl<K> Default for Trie<K> {
    fn default() -> Self {
        Self { entries: HashMap::new(), lengths: Vec::new() }
    }
}

impl<K: Copy + Eq + std::hash::Hash> Trie<K> {
    fn new(prefixes: &[Prefix<K>]) -> Self {
        let distinct: HashSet<u32> = prefixes.iter().map(|prefix| prefix.length).collect();
        let mut lengths = Vec::from_iter(distinct);
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let entries = prefixes.iter().map(|p| ((p.length, p.key), p.value)).collect();
        Self { entries, lengths }
    }

    fn longest(&self, at_most: u32, key: impl Fn(u32) -> K) -> Option<u32> {
        let lengths = self.lengths.iter().filter(|length| **length <= at_most);
        lengths.into_iter().find_map(|length| self.entries.get(&(*length, key(*length))).copied())
    }
}

/// A bucket.
#[derive(Debug, Clone, Default)]
pub struct Word(Rc<Cell<u64>>);

impl filter_common::Cell for Word {
    fn load(&self) -> u64 {
        self.0.load()
    }

    fn compare_exchange(&self, old: u64, new: u64) -> u64 {
        self.0.compare_exchange(old, new)
    }

    fn subtract(&self, amount: u64) {
        self.0.subtract(amount);
    }
}

/// The buckets of one source under one rule.
#[derive(Debug, Clone, Default)]
pub struct Buckets {
    new_connections: Word,
    packets: Word,
    bytes: Word,
}

impl filter_common::Buckets for Buckets {
    type Cell = Word;

    fn new_connections(&self) -> Word {
        self.new_connections.clone()
    }

    fn packets(&self) -> Word {
        self.packets.clone()
    }

    fn bytes(&self) -> Word {
        self.bytes.clone()
    }

    // No verdict depends on either while there is room, and here there is.
    fn prove(&self, _: u64) {}
    fn refuse(&self) {}
}
