//! A host under the policies, what happens to it, and what must hold then.

use std::net::IpAddr;

use filter_common::{
    Address, Buckets as _, Cell as _, Origin, Outcome, Reason, Socket, State as _, banned,
    rate::{TICKS_PER_NS, ahead},
    read::{Parsed, Transport},
    tables::{Limits, Rule, SourceKey, bans, rule},
};
use filter_user::{
    model::{Buckets, Model},
    policy::{Mode, Protocol},
};
use ipnet::IpNet;

use super::{
    check::{self, is_limit, would},
    policies::{Compiled, INTERFACES, Policies},
};
use crate::PLANTED;

/// Nanoseconds that a script may wait before a packet.
const WAITS: [u64; 8] =
    [0, 1, 1_000_000, 60_000_000, 400_000_000, 3_000_000_000, 31_000_000_000, 1 << 38];

/// What a script may ban.
const BANNED: [&str; 8] = [
    "203.0.113.9/32",
    "203.0.112.0/20",
    "192.0.2.7/32",
    "10.8.0.0/15",
    "2001:db8:9::9/128",
    "2001:db8:9::/44",
    "2001:db8:a::/47",
    "::/0",
];

/// A host, and what came to it last.
pub struct Host {
    model: Model,
    policies: &'static Policies,
    inner: usize,
    bans: Vec<(IpNet, u64)>,
    frame: Vec<u8>,
    parsed: Option<Parsed>,
    last: Option<Outcome>,
    /// What a source owes, if nobody has paid since.
    owed: Option<(Address, Vec<[u64; 3]>)>,
}

impl Host {
    pub fn new(policy: u8) -> Self {
        let policies = Policies::get();
        let inner = usize::from(policy) % policies.all.len();
        let mut model = Model::new(policies.all[inner].tables.clone());
        // Two buckets: a script can fill one.
        model.fragment_table.buckets = 2;
        model.now.set(1 << 40);
        let (bans, frame) = (Vec::new(), Vec::new());
        Self { model, policies, inner, bans, frame, parsed: None, last: None, owed: None }
    }

    fn policy(&self) -> &'static Compiled {
        &self.policies.all[self.inner]
    }

    pub fn wait(&self, how: u8) {
        self.model.now.set(self.model.now.get() + WAITS[usize::from(how) % WAITS.len()]);
    }

    pub fn switch(&mut self, policy: u8) {
        self.inner = usize::from(policy) % self.policies.all.len();
        self.model.switch(self.policy().tables.clone());
        (self.last, self.owed) = (None, None);
    }

    pub fn ban(&mut self, which: u8, until: u8) {
        let Ok(net) = BANNED[usize::from(which) % BANNED.len()].parse() else { return };
        let until = match until {
            0 => bans::FOREVER,
            tenths => self.model.now.get() + u64::from(tenths) * 100_000_000,
        };
        self.model.ban(net, until);
        // Never early, and an IPv4 address a little late.
        let is_ipv4 = matches!(net, IpNet::V4(net) if net.prefix_len() == 32);
        let until = if is_ipv4 { banned::kept(until) } else { until };
        self.bans.retain(|(other, _)| *other != net);
        self.bans.push((net, until));
        self.last = None;
    }

    pub fn set_socket(&mut self, socket: Socket) {
        if let Some(parsed) = &self.parsed {
            self.model.set_socket(parsed.flow, socket);
            self.last = None;
        }
    }

    /// Connections are held by the last source.
    pub fn hold(&mut self, rule: u8, held: u8) {
        let Some(source) = self.parsed.map(|parsed| parsed.flow.source) else { return };
        let rules = self.rules();
        if rules.is_empty() {
            return;
        }
        let id = rules[usize::from(rule) % rules.len()].id;
        let key = self.key(id, u32::from(rule >> 3) % 3, &source);
        self.model.set_slots(key, held.into());
        self.last = None;
    }

    /// The last source has completed a handshake, or no socket speaks from the
    /// last port.
    pub fn know(&mut self, how: u8) {
        let Some(parsed) = &self.parsed else { return };
        if how & 1 == 0 {
            self.model.set_known(self.key(0, 0, &parsed.flow.source).source);
        } else {
            self.model.silent.insert(parsed.flow.destination_port);
        }
        self.last = None;
    }

    pub fn send(&mut self, interface: u8, frame: &[u8], origin: Origin) {
        self.come_by(interface);
        self.model.send(frame, origin);
        self.last = None;
    }

    pub fn receive(&mut self, interface: u8, frame: &[u8]) {
        self.come_by(interface);
        self.frame = frame.to_vec();
        self.last = None;
        self.judge();
    }

    pub fn receive_again(&mut self) {
        self.judge();
    }

    fn come_by(&mut self, interface: u8) {
        self.model.interface = u32::from(interface) % INTERFACES.len() as u32;
        self.model.raw_ip = self.model.interface == 3;
    }

    fn judge(&mut self) {
        let frame = std::mem::take(&mut self.frame);
        let (read, parsed) = check::parsed(&frame, self.model.raw_ip);
        let is_read = read == Reason::Rule;
        let source = &parsed.flow.source;
        let before = match self.owed.take() {
            _ if !is_read => Vec::new(),
            Some((of, words)) if of == *source => words,
            _ => self.words(source),
        };
        let outcome = self.model.judge(&frame);
        if PLANTED && outcome.scope.is_some() && parsed.hop_limit < 32 {
            // A refused packet pays.
            self.pay(&parsed);
        }

        let is_monitor = self.policy().policy.mode == Mode::Monitor;
        check::outcome(&outcome, is_monitor, self.policies.rules.len());
        assert_eq!(self.model.contended_packets(), 0, "nobody else is there");
        if is_read {
            self.listed(&parsed, &outcome);
            self.named(&parsed, &outcome);
            let after = self.words(source);
            self.paid(&outcome, &before, &after);
            self.owed = Some((*source, after));
        } else {
            assert_eq!(would(&outcome), read);
        }
        if is_read && parsed.fragment.is_whole() {
            if let Some(last) = self.last.filter(|last| is_limit(would(last))) {
                assert_eq!(outcome, last, "what was refused fares otherwise at the same moment");
            }
            self.last = Some(outcome);
        }
        self.parsed = is_read.then_some(parsed);
        self.frame = frame;
    }

    /// Trusted beats denied beats banned beats all that follows.
    fn listed(&self, parsed: &Parsed, outcome: &Outcome) {
        let policy = &self.policy().policy;
        let source = IpAddr::from(parsed.flow.source);
        let holds = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&source));
        let is_banned = self.bans.iter().any(|(net, until)| {
            net.contains(&source) && (*until == bans::FOREVER || self.model.now.get() < *until)
        });
        let expected = if holds(&policy.trusted) {
            Some(Reason::Trusted)
        } else if holds(&policy.denied) {
            Some(Reason::Denied)
        } else {
            is_banned.then_some(Reason::Banned)
        };
        let would = would(outcome);
        let by_list = matches!(would, Reason::Trusted | Reason::Denied | Reason::Banned);
        if would != Reason::Essential {
            assert_eq!(by_list.then_some(would), expected, "{source}");
        }
    }

    /// The rule that decides is one for the packet.
    fn named(&self, parsed: &Parsed, outcome: &Outcome) {
        let Some(id) = outcome.rule else { return };
        // A later fragment may follow a rule that is there no more.
        let protocol = match parsed.transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
            Transport::Later => return,
            _ => panic!("a rule decides of {parsed:?}"),
        };
        let name = &self.policies.rules[id.get() as usize];
        let rule = self.policy().policy.rules.iter().find(|rule| rule.name == *name);
        let Some(rule) = rule else { panic!("{name} is not in force") };
        let port = parsed.flow.destination_port;
        let is_open = |range: &filter_user::policy::PortRange| {
            range.protocol == protocol && (range.first..=range.last).contains(&port)
        };
        assert!(rule.ports.iter().any(is_open), "{name} has no port {port}");
        let interface = INTERFACES[self.model.interface as usize];
        let bound = rule.interfaces.as_ref();
        assert!(bound.is_none_or(|names| names.iter().any(|name| name == interface)), "{name}");
        let (source, from) = (IpAddr::from(parsed.flow.source), rule.from.prefixes());
        let is_anywhere = rule.from == filter_user::policy::Source::Anywhere;
        assert!(is_anywhere || from.iter().any(|net| net.contains(&source)), "{name}: {source}");
    }

    /// What is admitted has paid its rule alone, and owes no more than the rule
    /// allows; nothing else has paid any rule.
    fn paid(&self, outcome: &Outcome, before: &[[u64; 3]], after: &[[u64; 3]]) {
        let now = self.model.now.get() * TICKS_PER_NS;
        for (index, (before, after)) in before.iter().zip(after).enumerate() {
            if before == after {
                continue;
            }
            let rule = &self.rules()[index / rule::SCOPES];
            let is_its_own = outcome.rule.is_some_and(|id| id.get() == rule.id);
            assert!(outcome.reason == Reason::Rule && is_its_own, "{outcome:?} paid {}", rule.id);
            let Limits { new_connections, packets, bytes } = rule.limits[index % rule::SCOPES];
            let limits = [new_connections, packets, bytes];
            for ((owed, owes), limit) in before.iter().zip(after).zip(limits) {
                let ahead = ahead(*owes, now);
                assert!(owed == owes || ahead <= limit.window, "it owes more than the burst");
                assert!(ahead >= self::ahead(*owed, now), "it was given something");
            }
        }
    }

    fn rules(&self) -> &'static [Rule] {
        &self.policy().tables.rules[1..]
    }

    /// What a source owes: by rule and scope, three buckets each.
    fn words(&self, source: &Address) -> Vec<[u64; 3]> {
        let scopes = self.rules().iter().flat_map(|rule| (0..rule::SCOPES).map(|s| (rule.id, s)));
        let words = scopes.map(|(rule, scope)| match self.buckets(rule, scope, source) {
            Some(buckets) => {
                [buckets.new_connections(), buckets.packets(), buckets.bytes()].map(|w| w.load())
            }
            None => [0; 3],
        });
        words.collect()
    }

    fn buckets(&self, rule: u32, scope: usize, source: &Address) -> Option<Buckets> {
        match scope {
            0 | 1 => self.model.find_buckets(&self.key(rule, scope as u32, source)),
            _ => self.model.total_buckets(rule, scope == rule::STRANGERS),
        }
    }

    fn key(&self, rule: u32, scope: u32, source: &Address) -> SourceKey {
        let generation = &self.policy().tables.generation;
        let masks = if scope == 1 { &generation.network } else { &generation.source };
        let mask = Address(if source.is_ipv4() { masks.ipv4 } else { masks.ipv6 });
        let source = if scope == 2 { Address([0; 4]) } else { source.masked(&mask) };
        SourceKey { rule, scope, source }
    }

    /// The planted bug.
    fn pay(&self, parsed: &Parsed) {
        for rule in self.rules() {
            if let Some(buckets) = self.buckets(rule.id, 0, &parsed.flow.source) {
                let word = buckets.bytes();
                word.compare_exchange(word.load(), word.load() + 1);
            }
        }
    }
}
