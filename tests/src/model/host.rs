//! The host build: the model, and what it counts.

use filter_common::{
    FlowTable, HalfOpen, Origin, Outcome, Reason, Sent, Socket,
    egress::record,
    flow::ASKED_TIMEOUT,
    fragments::is_fresh,
    judge,
    rate::{TICKS_PER_NS, ahead},
    read::{self, Flow, Parsed},
    tables::{Fragments, SourceKey, bans},
};
use filter_user::{compile::Tables, model::Model};
use ipnet::IpNet;

use super::{
    Fault, Faulty, Filter, Interface, Left, Record,
    names::{self, of_total},
};
use crate::verdict::Counts;

/// The verdict over hash maps; where it is told so, with a fault in them.
#[derive(Debug, Default)]
pub struct Host {
    /// The filter.
    pub model: Model,
    fault: Option<Fault>,
    counts: Counts,
    fragments: Option<Fragments>,
}

impl Host {
    /// One whose fragments lie where another filter has them.
    #[must_use]
    pub fn beside(fragments: Fragments) -> Self {
        Self { fragments: Some(fragments), ..Self::default() }
    }

    /// One that is wrong on purpose.
    #[must_use]
    pub fn with(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    fn come_in(&mut self, now: u64, interface: Interface) {
        self.model.now.set(now);
        (self.model.interface, self.model.raw_ip) = (interface.number(), interface.raw_ip());
    }
}

impl Filter for Host {
    fn begin(&mut self, tables: &Tables, now: u64) {
        self.model = Model::new(tables.clone());
        if let Some(fragments) = self.fragments {
            self.model.fragment_table = fragments;
        }
        self.model.now.set(now);
        self.counts = Counts::default();
    }

    fn switch(&mut self, tables: &Tables) {
        self.model.switch(tables.clone());
    }

    fn receive(&mut self, now: u64, interface: Interface, frame: &[u8]) -> Outcome {
        self.come_in(now, interface);
        let outcome = match self.fault {
            None => self.model.judge(frame),
            Some(fault) => judge(frame, interface.raw_ip(), &Faulty(&self.model, fault)),
        };
        self.counts += Counts::of(&outcome, interface.number(), 1, frame.len() as u64);
        outcome
    }

    fn send(&mut self, now: u64, interface: Interface, frame: &[u8]) {
        self.come_in(now, interface);
        let Some(fault) = self.fault else {
            self.model.send(frame, Origin::Own);
            return;
        };
        let mut parsed = Parsed::default();
        if read::packet(frame, interface.raw_ip(), &mut parsed) == Reason::Rule {
            record(&Faulty(&self.model, fault), &parsed, Origin::Own);
        }
    }

    fn ban(&mut self, net: IpNet, until: Option<u64>) {
        self.model.ban(net, until.unwrap_or(bans::FOREVER));
    }

    fn unban(&mut self, net: IpNet) {
        // The model knows no other way than that it is over.
        self.model.ban(net, 0);
    }

    fn socket(&mut self, flow: Flow, socket: Socket) {
        self.model.set_socket(flow, socket);
    }

    fn held(&mut self, key: SourceKey, connections: u32) {
        self.model.set_slots(key, connections.into());
    }

    fn record(&mut self, now: u64, record: &Record) {
        self.model.remember(record.table, &record.key, record.word(now), now);
    }

    fn left(&mut self, now: u64) -> Left {
        let ticks = now * TICKS_PER_NS;
        let owes = |words: [u64; 3]| words.map(|tat| ahead(tat, ticks));
        let contents = self.model.contents();
        let sources = contents.sources.into_iter().map(|(key, words)| (names::of_key(&key), words));
        let totals = contents.totals.into_iter();
        let totals = totals.map(|((rule, strangers), words)| (of_total(rule, strangers), words));
        let interfaces = contents.interfaces.into_iter();
        let interfaces =
            interfaces.map(|((n, limit), word)| (names::of_interface(n, limit), [word, 0, 0]));
        let owed = sources.chain(totals).chain(interfaces).map(|(name, words)| (name, owes(words)));
        let datagrams = contents.fragments.into_iter();
        let flows = contents.flows.into_iter();
        Left {
            counts: self.counts.clone(),
            owed: owed.filter(|(_, owed)| *owed != [0; 3]).collect(),
            datagrams: datagrams.filter(|(_, [_, clock, _])| is_fresh(*clock, ticks)).collect(),
            flows: flows
                .filter(|(table, key, word)| is_live(*table, key.protocol, *word, now))
                .map(|(table, key, word)| (names::of_flow(table, &key), word))
                .collect(),
        }
    }
}

/// Whether an entry of a table of flows can still matter.
pub(super) fn is_live(table: FlowTable, protocol: u32, word: u64, now: u64) -> bool {
    match table {
        FlowTable::HalfOpen => HalfOpen(word).is_live(now),
        FlowTable::Asked => Sent(word).is_within(ASKED_TIMEOUT, now),
        FlowTable::Flows | FlowTable::Answered => {
            Sent(word).is_live(u8::try_from(protocol).unwrap_or_default(), now)
        }
    }
}
