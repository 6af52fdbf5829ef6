//! The host build: the model, and what it counts.

use filter_common::{
    Address, Origin, Outcome, Reason, Socket,
    egress::record,
    judge,
    read::{self, Flow, Parsed},
    tables::{Fragments, SourceKey, bans},
};
use filter_user::{compile::Tables, model::Model};
use ipnet::IpNet;

use super::{Fault, Faulty, Filter, Interface, Left, Record};
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

    fn known(&mut self, now: u64, source: Address) {
        self.model.now.set(now);
        self.model.set_known(source);
    }

    fn record(&mut self, now: u64, record: &Record) {
        self.model.remember(record.table, &record.key, record.word(now), now);
    }

    fn left(&mut self, now: u64) -> Left {
        Left::of(self.model.contents(), self.counts.clone(), now)
    }
}
