//! What happens to a filter, from its first policy on.

use std::{net::IpAddr, path::Path, time::Duration};

use filter_common::{FlowKey, FlowTable, HalfOpen, Scope, Sent, Socket, Stage, read::Flow};
use filter_user::{
    compile::{Numbers, Tables, compile},
    policy::{self, Policy},
};
use ipnet::IpNet;

/// Policies, of which the first is in force at the beginning, and what then
/// happens, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// As their files would say it.
    pub policies: Vec<String>,
    /// In their order.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Time passes.
    Wait(Duration),
    /// A frame comes in.
    Receive(Interface, Vec<u8>),
    /// The host sends a frame from a socket of its own.
    Send(Interface, Vec<u8>),
    /// Another of the policies comes into force.
    Switch(usize),
    /// A prefix is banned, for a time or for good.
    Ban(IpNet, Option<Duration>),
    /// A ban is taken back.
    Unban(IpNet),
    /// The socket table says that of a segment of the flow.
    Socket(Flow, Socket),
    /// So many connections are held.
    Held(Held),
    /// A source prefix completes a handshake.
    Known(IpAddr),
    /// An entry is put into a table of what the host, or a container, sends.
    Record(Record),
}

/// Connections that are held under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The rule's name.
    pub rule: String,
    /// In which scope.
    pub scope: Scope,
    /// The source or network; of no meaning for the total.
    pub prefix: IpAddr,
    /// How many.
    pub connections: u32,
}

/// An entry made at the time of its step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The table.
    pub table: FlowTable,
    /// How far the flow is, where the table knows.
    pub stage: Stage,
    /// Whose entry.
    pub key: FlowKey,
}

impl Record {
    /// The entry's word at `now`, in nanoseconds.
    #[must_use]
    pub fn word(&self, now: u64) -> u64 {
        match self.table {
            FlowTable::HalfOpen => HalfOpen::new(now, 0).0,
            _ => Sent::new(now, self.stage).0,
        }
    }
}

/// An interface that frames come in on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// `eth0`.
    Ethernet,
    /// `wg0`, whose frames begin with the IP header.
    Raw,
    /// One that no policy can name.
    Other,
}

impl Interface {
    /// All.
    pub const ALL: [Self; 3] = [Self::Ethernet, Self::Raw, Self::Other];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "eth0",
            Self::Raw => "wg0",
            Self::Other => "other",
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Ethernet => 1,
            Self::Raw => 2,
            Self::Other => 0,
        }
    }

    /// Whether its frames begin with the IP header.
    #[must_use]
    pub const fn raw_ip(self) -> bool {
        matches!(self, Self::Raw)
    }
}

/// A case, ready to be played.
#[derive(Debug)]
pub struct Prepared {
    /// Of each policy.
    pub tables: Vec<Tables>,
    /// The numbers of rules.
    pub rules: Numbers,
    /// What the policies mean.
    pub policies: Vec<Policy>,
}

impl Case {
    /// Compiles the policies.
    ///
    /// # Errors
    /// Why one of them is none.
    pub fn prepare(&self) -> Result<Prepared, String> {
        let policies = self.policies.iter().map(|text| meaning(text));
        self.prepare_as(policies.collect::<Result<_, _>>()?)
    }

    /// Compiles other policies in the place of its own.
    ///
    /// # Errors
    /// Why one of them cannot be.
    pub fn prepare_as(&self, policies: Vec<Policy>) -> Result<Prepared, String> {
        let mut interfaces = Numbers::of_interfaces();
        for interface in [Interface::Ethernet, Interface::Raw] {
            assert_eq!(interfaces.get_or_add(interface.name()), Some(interface.number()));
        }
        let mut rules = Numbers::of_rules();
        let tables = policies.iter().map(|policy| compile(policy, &mut rules, &mut interfaces));
        let tables = tables.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        // Rules that only a step names.
        for step in &self.steps {
            if let Step::Held(held) = step {
                rules.get_or_add(&held.rule);
            }
        }
        Ok(Prepared { tables, rules, policies })
    }

    /// How many frames are received.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Receive(..))).count()
    }
}

/// What a policy's text means.
///
/// # Errors
/// Why it is none.
pub fn meaning(text: &str) -> Result<Policy, String> {
    let parsed = policy::parse(text, Path::new("/nodewall.toml"));
    parsed.map(|loaded| loaded.policy).map_err(|errors| errors.to_string())
}
