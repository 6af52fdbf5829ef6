//! The program in the kernel and the model beside it, under one policy.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use filter_common::{Outcome, Reason, Socket, tables::bans};
use filter_user::{
    compile::{self, Numbers, compile},
    dataplane::{Ban, BootTime, DataPlane, Events, FlowCounts, Options, Until, boot_time},
    model::Model,
    policy::{self, FlowTables, Tables},
};
use ipnet::IpNet;
use nix::unistd::geteuid;
use sandbox::Namespace;

use super::{Counts, Expected, Place, Program, SHORTEST_FRAME, reply_flow};

/// The interface that frames come in on unless a test says otherwise.
pub const LOOPBACK: &str = "lo";
/// Room for what the host sends, small enough for many tests side by side.
const SMALL: FlowTables = FlowTables { flows: 4096, answered: 4096, half_open: 4096, asked: 4096 };
/// Flows of one minute, likewise.
pub const FLOWS: u32 = 256;
const LOOPBACK_INDEX: u32 = 1;

/// A filter in the kernel, the same filter in user space, and what they
/// should agree on. It lives in a network namespace of its own, in which the
/// calling thread is.
pub struct Kernel {
    /// Where it lives, to make links in.
    pub namespace: Namespace,
    /// The filter in the kernel.
    pub plane: DataPlane,
    /// What it tells of single packets: nothing, until a test grants it.
    pub events: Events,
    /// The flows that it counts: none, until a test asks for it.
    pub flow_counts: FlowCounts,
    /// The filter in user space.
    pub model: Model,
    /// The names that rules have been given numbers by.
    pub rules: Numbers,
    interfaces: Numbers,
    program: Program,
    /// The interface that frames come in on: its number and, unless it is the
    /// loopback, its index.
    number: u32,
    index: Option<u32>,
    counts: Counts,
    failures: Vec<String>,
}

/// Runs a test with a filter that has no policy yet. Without root it only says
/// that it was skipped.
///
/// # Panics
/// If anything that the test expected did not happen, or the program cannot be
/// loaded.
pub fn with_kernel(test: impl FnOnce(&mut Kernel) + Send) {
    run(None, test);
}

/// [`with_kernel`], with another object than the embedded one.
///
/// # Panics
/// As it does.
pub fn with_object(object: &[u8], test: impl FnOnce(&mut Kernel) + Send) {
    run(Some(object), test);
}

fn run(object: Option<&[u8]>, test: impl FnOnce(&mut Kernel) + Send) {
    if !geteuid().is_root() {
        println!("skipped: loading a BPF program needs root");
        return;
    }
    let namespace = expect(Namespace::new("verdict"), "make a network namespace");
    let inside = namespace.clone();
    let entered = namespace.enter(move || {
        let mut kernel = Kernel::new(inside, object);
        test(&mut kernel);
        kernel.finish();
    });
    expect(entered, "enter the network namespace");
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
    fn new(namespace: Namespace, object: Option<&[u8]>) -> Self {
        // Tables small enough for many tests side by side.
        let tables = Tables {
            bans: 1000,
            sources: 4096,
            known: 1024,
            slots: 1024,
            flows: SMALL,
            fragments: 4096,
            flow_log: FLOWS,
        };
        let options = Options { tables, object, ..Options::default() };
        let mut plane = expect(DataPlane::load(&options), "load the program");
        let (Some(events), Some(flow_counts)) = (plane.take_events(), plane.take_flow_counts())
        else {
            panic!("there are no events or no flows")
        };
        let program = expect(plane.program(), "find the program");
        let program = expect(Program::same_as(program), "open the program");
        let mut interfaces = Numbers::of_interfaces();
        let number = interfaces.get_or_add(LOOPBACK).unwrap_or_default();
        let mut kernel = Self {
            namespace,
            plane,
            events,
            flow_counts,
            model: Model::default(),
            rules: Numbers::of_rules(),
            interfaces,
            program,
            number,
            index: None,
            counts: Counts::default(),
            failures: Vec::new(),
        };
        // Both must find a datagram in the same place.
        kernel.model.fragment_table = kernel.plane.fragment_table();
        // Any time will do; a clock that has just started is a corner of its own.
        kernel.model.now.set(1 << 40);
        kernel.loopback(false);
        kernel
    }

    /// Puts a policy in force, in the kernel and in the model.
    ///
    /// # Panics
    /// If it is none, or the kernel refuses it.
    #[track_caller]
    pub fn policy(&mut self, text: &str) {
        let tables = self.compile(text);
        expect(self.plane.switch(&tables), "switch the policy");
        self.model.switch(tables);
        self.refresh();
    }

    /// Puts a policy in force that the kernel takes back after a while; until
    /// when, on its clock.
    ///
    /// # Panics
    /// If it is none, or the kernel refuses it.
    #[track_caller]
    pub fn policy_until(&mut self, text: &str, patience: Duration) -> BootTime {
        let tables = self.compile(text);
        let staged = expect(self.plane.stage(&tables), "stage the policy");
        self.model.switch(tables);
        self.refresh();
        let until = boot_time() + patience;
        expect(self.plane.activate(staged, Some(until)), "switch the policy");
        until
    }

    /// Puts a policy in force in the model alone: the kernel has done so itself.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn model_policy(&mut self, text: &str) {
        let tables = self.compile(text);
        self.model.switch(tables);
    }

    /// Compiles a policy with the numbers of this filter.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn compile(&mut self, text: &str) -> compile::Tables {
        let loaded = match policy::parse(text, Path::new("/nodewall.toml")) {
            Ok(loaded) => loaded,
            Err(errors) => panic!("the policy of this test is not valid: {errors:?}"),
        };
        expect(compile(&loaded.policy, &mut self.rules, &mut self.interfaces), "compile the policy")
    }

    /// Has frames come in on the loopback; `raw_ip`: without Ethernet framing.
    pub fn loopback(&mut self, raw_ip: bool) {
        self.come_in(LOOPBACK, LOOPBACK_INDEX, raw_ip);
        self.index = None;
    }

    /// Has frames come in on another interface of the namespace.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn come_in(&mut self, name: &str, index: u32, raw_ip: bool) {
        let Some(number) = self.interfaces.get_or_add(name) else {
            panic!("there is no number for the interface `{name}`")
        };
        expect(self.plane.guard(index, number, raw_ip), "guard the interface");
        (self.number, self.index) = (number, Some(index));
        (self.model.interface, self.model.raw_ip) = (number, raw_ip);
    }

    /// Has frames come in on an interface that nothing was said about.
    pub fn come_in_unknown(&mut self, index: u32) {
        (self.number, self.index) = (0, Some(index));
        (self.model.interface, self.model.raw_ip) = (0, false);
    }

    /// Bans a prefix, for good or for a time.
    ///
    /// # Panics
    /// If it is no prefix, or the kernel refuses it.
    #[track_caller]
    pub fn ban(&mut self, prefix: &str, duration: Option<Duration>) {
        let net = prefix_of(prefix);
        let until = duration.map(|duration| Until {
            boot: boot_time() + duration,
            wall: SystemTime::now() + duration,
            length: duration,
        });
        expect(self.plane.bans().add(net, Ban { until, reason: None }), "ban the prefix");
        let end = duration.map_or(bans::FOREVER, |duration| {
            self.model.now.get() + u64::try_from(duration.as_nanos()).unwrap_or(bans::FOREVER)
        });
        self.model.ban(net, end);
    }

    /// Takes a ban back.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn unban(&mut self, prefix: &str) {
        let net = prefix_of(prefix);
        assert!(
            expect(self.plane.bans().remove(&net), "take the ban back").is_some(),
            "{prefix} is not banned"
        );
        // The model knows no other way than that it is over.
        self.model.ban(net, 0);
    }

    /// Tells the model of a socket that the kernel has at `local`, whose other
    /// end is `remote`.
    pub fn tell_of_socket(
        &mut self,
        remote: std::net::SocketAddr,
        local: std::net::SocketAddr,
        socket: Socket,
    ) {
        self.model.set_socket(reply_flow(remote, local), socket);
    }

    /// Lets time pass for both.
    pub fn wait(&mut self, duration: Duration) {
        std::thread::sleep(duration);
        let passed = u64::try_from(duration.as_nanos()).unwrap_or_default();
        self.model.now.set(self.model.now.get() + passed);
    }

    /// Judges a frame and notes where model or program (verdict, counters)
    /// differ from what is expected. Frames that the kernel runs no program on
    /// are the model's alone.
    pub fn expect(&mut self, what: impl AsRef<str>, frame: &[u8], expected: impl Into<Expected>) {
        let what = what.as_ref();
        let wanted = expected.into().outcome(&self.rules);
        let judged = self.model.judge(frame);
        if judged != wanted {
            self.failures.push(format!(
                "{what}: the model says {}, not {}",
                told(&judged),
                told(&wanted)
            ));
        }
        if frame.len() < SHORTEST_FRAME {
            return;
        }
        let verdict = self.program.run(frame, self.index, 1);
        if verdict != wanted.verdict() {
            self.failures.push(format!(
                "{what}: the program says {}, not {}",
                verdict.name(),
                told(&wanted)
            ));
        }
        let counted = self.added();
        let bytes = frame.len() as u64;
        let due = Counts::of(&wanted, self.number, 1, bytes);
        if counted != due {
            self.failures.push(format!("{what}: counted {counted:?}, not {due:?}"));
        }
    }

    /// Runs the program alone, `times` times, without a look at the outcome.
    pub fn run(&mut self, frame: &[u8], times: u32) {
        let _last = self.program.run(frame, self.index, times);
    }

    /// The model alone, `times` times: how many passed.
    pub fn model_passes(&self, frame: &[u8], times: u32) -> u32 {
        (0..times)
            .map(|_| u32::from(self.model.judge(frame).verdict() == filter_common::Verdict::Pass))
            .sum()
    }

    /// What was counted since the last look.
    pub fn added(&mut self) -> Counts {
        let before = std::mem::take(&mut self.counts);
        self.refresh();
        &self.counts - &before
    }

    /// How many packets the interface at hand counted for a reason since the
    /// last look.
    pub fn added_for(&mut self, reason: Reason) -> u64 {
        let number = self.number;
        self.added().of_interface(number, reason)
    }

    /// Notes a failure unless `holds`.
    pub fn check(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.failures.push(what.into());
        }
    }

    /// The number of the interface at hand.
    #[must_use]
    pub fn interface(&self) -> u32 {
        self.number
    }

    /// A handle for other threads.
    #[must_use]
    pub fn another_program(&mut self) -> Program {
        let program = expect(self.plane.program(), "find the program");
        expect(Program::same_as(program), "open the program")
    }

    /// The kernel's index of the interface at hand; `None`: the loopback.
    pub(super) fn interface_index(&self) -> Option<u32> {
        self.index
    }

    /// Looks at all counters.
    fn refresh(&mut self) {
        let mut counts = Counts::default();
        let numbers = self.interfaces.iter().map(|(_, number)| number).chain([0]);
        for number in numbers {
            for found in
                expect(self.plane.interface_counters(number), "read the interfaces' counters")
            {
                let (reason, monitored) = (found.reason, found.monitored);
                counts.add(Place::Interface { number, reason, monitored }, found.counter);
            }
        }
        for (_, number) in self.rules.iter() {
            for found in expect(self.plane.rule_counters(number), "read the rules' counters") {
                let (reason, scope, monitored) = (found.reason, found.scope, found.monitored);
                counts.add(Place::Rule { number, reason, scope, monitored }, found.counter);
            }
        }
        let packets = expect(self.plane.contended(), "read the counter of contention");
        counts.add(Place::Contended, filter_common::tables::Counter { packets, bytes: 0 });
        self.counts = counts;
    }

    fn finish(self) {
        let count = self.failures.len();
        assert!(count == 0, "{count} differences:\n{}", self.failures.join("\n"));
    }
}

/// A prefix, or the one that a single address is.
///
/// # Panics
/// If it is neither.
#[must_use]
pub fn prefix_of(text: &str) -> IpNet {
    let whole = text.parse().map(|address: std::net::IpAddr| IpNet::from(address));
    whole.or_else(|_| text.parse()).unwrap_or_else(|error| panic!("`{text}` is no prefix: {error}"))
}

/// An outcome in words.
fn told(outcome: &Outcome) -> String {
    let Outcome { reason, monitored, rule, scope } = outcome;
    let mut text = format!("{} ({}", outcome.verdict().name(), reason.name());
    if let Some(reason) = monitored {
        text += &format!(", instead of {}", reason.name());
    }
    if let Some(rule) = rule {
        text += &format!(", rule {}", rule.get());
    }
    if let Some(scope) = scope {
        text += &format!(", {}", scope.name());
    }
    text + ")"
}
