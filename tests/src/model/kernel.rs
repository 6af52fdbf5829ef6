//! The kernel program, asked packet by packet at times of the case's own.

use std::time::{Duration, SystemTime};

use filter_common::{
    Address, Outcome, Socket,
    rate::TICKS_PER_NS,
    read::Flow,
    tables::{Counter, Fragments, SourceKey},
};
use filter_user::{
    compile::Tables,
    dataplane::{Arrival, Ban, DataPlane, Options, Probe, Times, Until},
    policy,
};
use ipnet::IpNet;

use super::{Filter, Interface, Left, Record};
use crate::verdict::{Counts, Place};

/// Between two cases: whatever packets leave has run out by then.
const APART: u64 = 6 * 86_400 * 1_000_000_000;
/// When the first case begins; and the last, for which another program is loaded.
const FIRST: u64 = 1 << 40;
const LAST: u64 = 1 << 58;
/// The boot-time clock is so far ahead of the other: the host has slept. Whole
/// units of the table of bans, whose ends fall alike on both clocks.
const SLEPT: u64 = 1 << 42;
/// Room for any case, and not for many: all of it is looked at after each.
const SMALL: policy::FlowTables =
    policy::FlowTables { flows: 1024, answered: 1024, half_open: 1024, asked: 1024 };
const TABLES: policy::Tables = policy::Tables {
    bans: 1000,
    sources: 2048,
    known: 1024,
    slots: 1024,
    flows: SMALL,
    fragments: 1024,
    flow_log: 16,
};

/// A program that is loaded once for many cases, each at its own time.
#[derive(Debug)]
pub struct Kernel {
    object: Option<Vec<u8>>,
    probe: Option<Probe>,
    /// When the next case begins.
    next: u64,
    /// What was counted before this case.
    before: Counts,
    /// How many numbers of rules are in use.
    rules: u32,
    sockets: Vec<Flow>,
    held: Vec<SourceKey>,
}

/// The value, or an end of the test that says what could not be done.
#[track_caller]
fn expect<T, E: std::fmt::Display>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("cannot {what}: {error}"),
    }
}

impl Kernel {
    /// The embedded program, or that of another object.
    #[must_use]
    pub fn new(object: Option<Vec<u8>>) -> Self {
        Self {
            object,
            probe: None,
            next: FIRST,
            before: Counts::default(),
            rules: 0,
            sockets: Vec::new(),
            held: Vec::new(),
        }
    }

    /// When the next case begins: nothing of those before it can matter then.
    /// And where the program has its datagrams in fragments.
    ///
    /// # Panics
    /// If the program cannot be loaded.
    pub fn next_case(&mut self) -> (u64, Fragments) {
        if self.next >= LAST {
            self.probe = None;
        }
        if self.probe.is_none() {
            let object = self.object.as_deref();
            let options = Options { tables: TABLES, object, ..Options::default() };
            self.probe = Some(expect(Probe::private(&options, &Tables::default()), "load"));
            (self.next, self.rules) = (FIRST, 0);
            (self.sockets, self.held) = Default::default();
        }
        (self.next, self.plane().fragment_table())
    }

    fn probe(&mut self) -> &mut Probe {
        self.probe.as_mut().unwrap_or_else(|| panic!("no program is loaded before `next_case`"))
    }

    fn plane(&mut self) -> &mut DataPlane {
        self.probe().plane().unwrap_or_else(|| panic!("the filter is private"))
    }

    fn counts(&mut self) -> Counts {
        let rules = self.rules;
        let plane = self.plane();
        let mut counts = Counts::default();
        for number in Interface::ALL.map(Interface::number) {
            for found in expect(plane.interface_counters(number), "read counters") {
                let (reason, monitored) = (found.reason, found.monitored);
                counts.add(Place::Interface { number, reason, monitored }, found.counter);
            }
        }
        for number in 0..rules {
            for found in expect(plane.rule_counters(number), "read counters of rules") {
                let (reason, scope, monitored) = (found.reason, found.scope, found.monitored);
                counts.add(Place::Rule { number, reason, scope, monitored }, found.counter);
            }
        }
        let packets = expect(plane.contended(), "read the counter of contention");
        counts.add(Place::Contended, Counter { packets, bytes: 0 });
        counts
    }
}

fn arrival(now: u64, interface: Interface) -> Arrival {
    Arrival {
        interface: interface.number(),
        raw_ip: interface.raw_ip(),
        times: Times { monotonic: now, boot: now + SLEPT },
    }
}

impl Filter for Kernel {
    fn begin(&mut self, tables: &Tables, _: u64) {
        for flow in std::mem::take(&mut self.sockets) {
            expect(self.probe().set_socket(&flow, Socket::None), "forget a socket");
        }
        for key in std::mem::take(&mut self.held) {
            expect(self.plane().slots().correct(key, 0), "forget connections");
        }
        let bans: Vec<IpNet> = self.plane().bans().after(None).map(|(net, _)| *net).collect();
        bans.into_iter().for_each(|net| self.unban(net));
        self.switch(tables);
        self.before = self.counts();
    }

    fn switch(&mut self, tables: &Tables) {
        let numbers = tables.rules.iter().skip(1).map(|rule| rule.id + 1);
        self.rules = numbers.max().unwrap_or(0).max(self.rules);
        expect(self.plane().switch(tables), "switch the policy");
    }

    fn receive(&mut self, now: u64, interface: Interface, frame: &[u8]) -> Outcome {
        expect(self.probe().judge(frame, arrival(now, interface)), "judge a frame")
    }

    fn send(&mut self, now: u64, interface: Interface, frame: &[u8]) {
        expect(self.probe().send(frame, arrival(now, interface)), "send a frame");
    }

    fn ban(&mut self, net: IpNet, until: Option<u64>) {
        let until = until.map(|until| Until {
            boot: Duration::from_nanos(until + SLEPT),
            wall: SystemTime::UNIX_EPOCH,
            length: Duration::ZERO,
        });
        expect(self.plane().bans().add(net, Ban { until, reason: None }), "ban a prefix");
    }

    fn unban(&mut self, net: IpNet) {
        expect(self.plane().bans().remove(&net), "take a ban back");
    }

    fn socket(&mut self, flow: Flow, socket: Socket) {
        expect(self.probe().set_socket(&flow, socket), "tell of a socket");
        self.sockets.push(flow);
    }

    fn held(&mut self, key: SourceKey, connections: u32) {
        expect(self.plane().slots().correct(key, connections.into()), "hold connections");
        self.held.push(key);
    }

    fn known(&mut self, now: u64, source: Address) {
        expect(self.plane().note_known(&source, now * TICKS_PER_NS), "note a source");
    }

    fn record(&mut self, now: u64, record: &Record) {
        let Record { table, key, .. } = record;
        let word = record.word(now);
        expect(self.plane().remember(*table, key, word, now), "write an entry");
    }

    fn left(&mut self, now: u64) -> Left {
        self.next = now + APART;
        let rules = self.rules;
        let contents = expect(self.plane().contents(rules), "read the tables");
        let counts = &self.counts() - &self.before;
        Left::of(contents, counts, now)
    }
}
