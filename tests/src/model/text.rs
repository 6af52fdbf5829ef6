//! A case as a file that people read: policies, then a line for each step.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
    str::{FromStr, SplitWhitespace},
    time::Duration,
};

use filter_common::{
    Address, FlowKey, FlowTable, Reason, Scope, Socket, Stage,
    read::{self, Flow, Parsed, Transport, tcp_flags},
};
use ipnet::IpNet;

use super::{Case, Held, Interface, Record, Step};

const SOCKETS: [(&str, Socket); 4] = [
    ("none", Socket::None),
    ("live", Socket::Live),
    ("half_open", Socket::HalfOpen),
    ("cookie", Socket::Cookie),
];
const TABLES: [(&str, FlowTable); 4] = [
    ("flows", FlowTable::Flows),
    ("answered", FlowTable::Answered),
    ("half_open", FlowTable::HalfOpen),
    ("asked", FlowTable::Asked),
];
const STAGES: [(&str, Stage); 3] =
    [("begun", Stage::Begun), ("open", Stage::Open), ("closing", Stage::Closing)];

/// The word for a value, of a table of both.
fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("?", |(word, _)| word)
}

/// The name of a table of flows.
pub(super) fn table_name(table: FlowTable) -> &'static str {
    word(&TABLES, &table)
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for policy in &self.policies {
            writeln!(f, "policy")?;
            for line in policy.lines() {
                writeln!(f, "| {line}")?;
            }
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait(time) => write!(f, "wait {}ns", time.as_nanos()),
            Self::Receive(interface, frame) => write!(f, "receive {}", shown(*interface, frame)),
            Self::Send(interface, frame) => write!(f, "send {}", shown(*interface, frame)),
            Self::Switch(policy) => write!(f, "switch {policy}"),
            Self::Ban(net, None) => write!(f, "ban {net}"),
            Self::Ban(net, Some(time)) => write!(f, "ban {net} {}ns", time.as_nanos()),
            Self::Unban(net) => write!(f, "unban {net}"),
            Self::Socket(flow, socket) => {
                let Flow { source, destination, source_port, destination_port } = flow;
                let (from, to) = (IpAddr::from(*source), IpAddr::from(*destination));
                let socket = word(&SOCKETS, socket);
                write!(f, "socket {socket} {from} {source_port} {to} {destination_port}")
            }
            Self::Held(Held { rule, scope, prefix, connections }) => {
                write!(f, "held {rule} {} {prefix} {connections}", scope.name())
            }
            Self::Known(source) => write!(f, "known {source}"),
            Self::Record(Record { table, stage, key }) => {
                let (from, to) = (IpAddr::from(key.remote), IpAddr::from(key.local));
                let (table, stage) = (table_name(*table), word(&STAGES, stage));
                let FlowKey { remote_port, local_port, protocol, .. } = key;
                write!(
                    f,
                    "record {table} {stage} {protocol} {from} {remote_port} {to} {local_port}"
                )
            }
        }
    }
}

/// A frame in hexadecimal, and what a reader makes of it.
fn shown(interface: Interface, frame: &[u8]) -> String {
    let mut text = format!("{} ", interface.name());
    for byte in frame {
        let _ = write!(text, "{byte:02x}");
    }
    text + " # " + &told(interface, frame)
}

/// A frame in words.
fn told(interface: Interface, frame: &[u8]) -> String {
    let mut parsed = Parsed::default();
    match read::packet(frame, interface.raw_ip(), &mut parsed) {
        Reason::Rule => {}
        reason => return reason.name().to_owned(),
    }
    let Parsed { flow, protocol, transport, tcp, icmp, fragment, .. } = parsed;
    let ends = [(flow.source, flow.source_port), (flow.destination, flow.destination_port)];
    let [from, to] = ends.map(|(address, port)| match IpAddr::from(address) {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    });
    let mut text = match transport {
        Transport::Tcp => format!("tcp {from} > {to}"),
        Transport::Udp => format!("udp {from} > {to}"),
        Transport::Icmp => format!("icmp {} id {} {from} > {to}", icmp.kind, icmp.identifier),
        Transport::Other | Transport::Later => format!("protocol {protocol} {from} > {to}"),
    };
    if matches!(transport, Transport::Tcp) {
        use tcp_flags::{ACK, FIN, RST, SYN};
        for (bit, name) in [(SYN, " syn"), (ACK, " ack"), (FIN, " fin"), (RST, " rst")] {
            text += if tcp.flags & bit == 0 { "" } else { name };
        }
    }
    let _ = write!(text, " len {}", frame.len());
    if !fragment.is_whole() {
        let more = if fragment.has_more() { ",MF" } else { "" };
        let _ = write!(text, " frag {},{}{more}", fragment.identification, fragment.offset());
    }
    text
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut case = Self { policies: Vec::new(), steps: Vec::new() };
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(line) = line.strip_prefix('|') {
                let policy = case.policies.last_mut();
                let policy = policy.ok_or_else(|| format!("line {number}: of no policy"))?;
                *policy += line.strip_prefix(' ').unwrap_or(line);
                policy.push('\n');
                continue;
            }
            let line = line.split('#').next().unwrap_or_default().trim();
            match line {
                "" => {}
                "policy" => case.policies.push(String::new()),
                line => {
                    let step =
                        step(line).ok_or_else(|| format!("line {number}: no step: {line}"))?;
                    case.steps.push(step);
                }
            }
        }
        if case.policies.is_empty() {
            return Err("there is no policy".to_owned());
        }
        Ok(case)
    }
}

/// The next word, as what it stands for.
fn next<T: FromStr>(words: &mut SplitWhitespace<'_>) -> Option<T> {
    words.next()?.parse().ok()
}

/// The next word, as one of a table.
fn one_of<T: Copy>(words: &mut SplitWhitespace<'_>, known: &[(&str, T)]) -> Option<T> {
    let word = words.next()?;
    known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

fn duration(word: &str) -> Option<Duration> {
    word.strip_suffix("ns")?.parse().ok().map(Duration::from_nanos)
}

fn flow(words: &mut SplitWhitespace<'_>) -> Option<Flow> {
    let (source, source_port) = (next::<IpAddr>(words)?.into(), next(words)?);
    let (destination, destination_port): (Address, _) =
        (next::<IpAddr>(words)?.into(), next(words)?);
    Some(Flow { source, destination, source_port, destination_port })
}

fn frame(words: &mut SplitWhitespace<'_>) -> Option<(Interface, Vec<u8>)> {
    let interface = one_of(words, &Interface::ALL.map(|interface| (interface.name(), interface)))?;
    let digits = words.next()?;
    let bytes = (0..digits.len()).step_by(2);
    let bytes = bytes.map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok());
    Some((interface, bytes.collect::<Option<_>>()?))
}

fn step(line: &str) -> Option<Step> {
    let mut words = line.split_whitespace();
    let words = &mut words;
    let step = match words.next()? {
        "wait" => Step::Wait(duration(words.next()?)?),
        "receive" => frame(words).map(|(interface, bytes)| Step::Receive(interface, bytes))?,
        "send" => frame(words).map(|(interface, bytes)| Step::Send(interface, bytes))?,
        "switch" => Step::Switch(next(words)?),
        "ban" => {
            let net: IpNet = next(words)?;
            let length = match words.next() {
                Some(word) => Some(duration(word)?),
                None => None,
            };
            Step::Ban(net, length)
        }
        "unban" => Step::Unban(next(words)?),
        "socket" => {
            let socket = one_of(words, &SOCKETS)?;
            Step::Socket(flow(words)?, socket)
        }
        "held" => Step::Held(Held {
            rule: next(words)?,
            scope: {
                let name = words.next()?;
                *Scope::ALL.iter().find(|scope| scope.name() == name)?
            },
            prefix: next(words)?,
            connections: next(words)?,
        }),
        "known" => Step::Known(next(words)?),
        "record" => {
            let (table, stage) = (one_of(words, &TABLES)?, one_of(words, &STAGES)?);
            let protocol = next(words)?;
            Step::Record(Record { table, stage, key: FlowKey::received(&flow(words)?, protocol) })
        }
        _ => return None,
    };
    words.next().is_none().then_some(step)
}
