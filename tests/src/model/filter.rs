//! What a case is played on, and what playing it shows.

use std::fmt;

use filter_common::{Outcome, read::Flow, tables::SourceKey};
use filter_user::compile::Tables;
use ipnet::IpNet;

use super::{Case, Interface, Left, Prepared, Record, Step};

/// A filter whose clock is set by who plays: nanoseconds of the monotonic one.
pub trait Filter {
    /// Begins anew at that time, under a policy. Whatever was there before is gone.
    fn begin(&mut self, tables: &Tables, now: u64);
    /// The policy that is in force from now on.
    fn switch(&mut self, tables: &Tables);
    /// Judges a frame.
    fn receive(&mut self, now: u64, interface: Interface, frame: &[u8]) -> Outcome;
    /// The host sends a frame.
    fn send(&mut self, now: u64, interface: Interface, frame: &[u8]);
    /// Bans a prefix until then; `None`: for good.
    fn ban(&mut self, net: IpNet, until: Option<u64>);
    /// Takes a ban back, if there is one.
    fn unban(&mut self, net: IpNet);
    /// What the socket table says of a flow.
    fn socket(&mut self, flow: Flow, socket: filter_common::Socket);
    /// How many connections are held.
    fn held(&mut self, key: SourceKey, connections: u32);
    /// A source prefix completes a handshake.
    fn known(&mut self, now: u64, source: filter_common::Address);
    /// Makes an entry in a table of flows.
    fn record(&mut self, now: u64, record: &Record);
    /// What is left at that time of all that came.
    fn left(&mut self, now: u64) -> Left;
}

/// What a filter made of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// Of each frame that came in: the number of its step, and what became of it.
    pub outcomes: Vec<(usize, Outcome)>,
    /// What is left in the end.
    pub left: Left,
    /// The time of the last step.
    pub end: u64,
}

/// Plays a case that begins at `start`.
pub fn play(case: &Case, prepared: &Prepared, filter: &mut impl Filter, start: u64) -> Played {
    play_with(case, prepared, filter, start, |_, _, _, _| {})
}

/// [`play`], with a look at the filter after each frame: with the number of its
/// step, the time, and what became of it.
pub fn play_with<F: Filter>(
    case: &Case,
    prepared: &Prepared,
    filter: &mut F,
    start: u64,
    mut look: impl FnMut(&mut F, usize, u64, &Outcome),
) -> Played {
    let mut now = start;
    let mut outcomes = Vec::with_capacity(case.packets());
    filter.begin(&prepared.tables[0], now);
    for (number, step) in case.steps.iter().enumerate() {
        match step {
            Step::Wait(time) => now += nanoseconds(*time),
            Step::Receive(interface, frame) => {
                let outcome = filter.receive(now, *interface, frame);
                look(filter, number, now, &outcome);
                outcomes.push((number, outcome));
            }
            Step::Send(interface, frame) => filter.send(now, *interface, frame),
            Step::Switch(policy) => {
                filter.switch(&prepared.tables[policy % prepared.tables.len()]);
            }
            Step::Ban(net, length) => {
                filter.ban(*net, length.map(|length| now + nanoseconds(length)));
            }
            Step::Unban(net) => filter.unban(*net),
            Step::Socket(flow, socket) => filter.socket(*flow, *socket),
            Step::Held(held) => {
                let rule = prepared.rules.get(&held.rule).unwrap_or_default();
                let source = match held.scope {
                    filter_common::Scope::Total => filter_common::Address([0; 4]),
                    _ => held.prefix.into(),
                };
                let key = SourceKey { rule, scope: held.scope as u32, source };
                filter.held(key, held.connections);
            }
            Step::Known(source) => filter.known(now, (*source).into()),
            Step::Record(record) => filter.record(now, record),
        }
    }
    Played { outcomes, left: filter.left(now), end: now }
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Where two filters differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference(pub String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Compares what two filters made of a case, each with its name.
///
/// # Errors
/// The first thing in which they differ.
pub fn compare(one: (&str, &Played), other: (&str, &Played)) -> Result<(), Difference> {
    let ((a, left), (b, right)) = (one, other);
    for ((step, x), (_, y)) in left.outcomes.iter().zip(&right.outcomes) {
        if x != y {
            let text = format!("step {step}: {a} says {}, {b} says {}", told(x), told(y));
            return Err(Difference(text));
        }
    }
    let ends = [
        ("counters", format!("{:#?}", left.left.counts), format!("{:#?}", right.left.counts)),
        ("rates", format!("{:#?}", left.left.owed), format!("{:#?}", right.left.owed)),
        (
            "datagrams",
            format!("{:#x?}", left.left.datagrams),
            format!("{:#x?}", right.left.datagrams),
        ),
        ("flows", format!("{:#?}", left.left.flows), format!("{:#?}", right.left.flows)),
    ];
    if left.left == right.left {
        return Ok(());
    }
    let differing = ends.into_iter().filter(|(_, x, y)| x != y);
    let text = differing.map(|(what, x, y)| format!("{what} after it: {a} has {x}, {b} has {y}\n"));
    Err(Difference(text.collect()))
}

/// An outcome in words.
#[must_use]
pub fn told(outcome: &Outcome) -> String {
    let Outcome { reason, monitored, rule, scope } = outcome;
    let mut text = reason.name().to_owned();
    if let Some(reason) = monitored {
        text += &format!(" ({})", reason.name());
    }
    if let Some(rule) = rule {
        text += &format!(" rule {}", rule.get());
    }
    if let Some(scope) = scope {
        text += &format!(" {}", scope.name());
    }
    text
}
