//! Says in the words of the policy file why a packet has the outcome that the
//! kernel program gave it. Nothing is judged here: the outcome is given, and
//! what is looked up is what the policy has to say about it.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use filter_common::{Outcome, Reason, Scope, read::tcp_flags};
use ipnet::IpNet;

use crate::{
    control::{Explained, OutcomeEntry},
    packet::{Packet, Transport},
    policy::{
        Limits, Mode, Policy, Protocol, Rate, Rule, Unit,
        describe::{rate_text, source},
    },
};

/// Rules that are named one by one.
const FEW: usize = 3;

/// What an outcome is explained with.
pub struct World<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// The bans that hold the source.
    pub bans: Vec<Ban>,
    /// A copy, in which nothing has happened and no socket is.
    pub is_private: bool,
}

/// A ban.
#[derive(Debug)]
pub struct Ban {
    /// Whom it holds.
    pub prefix: IpNet,
    /// When it ends.
    pub until: Option<String>,
    /// What the operator said of it.
    pub reason: Option<String>,
}

/// An outcome, explained. `rule`: the name of the rule that decided.
#[must_use]
pub fn explain(
    world: &World<'_>,
    packet: &Packet,
    length: usize,
    outcome: &Outcome,
    rule: Option<String>,
) -> Explained {
    let length = u32::try_from(length).ok();
    let interface = packet.interface.clone();
    let name = rule.clone();
    let entry = OutcomeEntry::new(outcome, |_| name.unwrap_or_default());
    let told = Told { world, packet, rule: rule.as_deref() };
    let mut why = told.why(outcome);
    if let Some(reason) = outcome.monitored {
        let whose = match told.rule() {
            _ if world.policy.mode == Mode::Monitor => "The policy".to_owned(),
            Some(rule) => format!("Rule `{}`", rule.name),
            None => "Every rule of the port".to_owned(),
        };
        why.push(format!(
            "{whose} is in monitor mode and lets it pass; enforced, it would be dropped as {}.",
            reason.name()
        ));
    }
    let packet = Packet { length, ..packet.clone() }.to_string();
    Explained { packet, interface, outcome: entry, why }
}

struct Told<'a> {
    world: &'a World<'a>,
    packet: &'a Packet,
    rule: Option<&'a str>,
}

impl Told<'_> {
    fn why(&self, outcome: &Outcome) -> Vec<String> {
        let from = self.packet.source;
        match outcome.monitored.unwrap_or(outcome.reason) {
            Reason::NotIp => vec!["It is not IP, and none of the filter's business.".to_owned()],
            Reason::Essential => vec![self.essential()],
            Reason::Trusted => vec![format!(
                "`[sources] trusted` has {}: what is trusted passes before any rule or limit.",
                holder(&self.world.policy.trusted, from)
            )],
            Reason::Denied => vec![format!(
                "`[sources] denied` has {}: what is denied is dropped before any rule. To let it in, take that out, or trust the source.",
                holder(&self.world.policy.denied, from)
            )],
            Reason::Banned => self.banned(),
            Reason::Rule => self.admitted(),
            Reason::Reply => vec![self.reply()],
            Reason::Icmp => vec![self.icmp()],
            Reason::Protocol => {
                vec!["`[protocols] allow` names its protocol.".to_owned()]
            }
            Reason::ProtocolClosed => {
                vec!["`[protocols] allow` does not name its protocol.".to_owned()]
            }
            // What is told with it is the reason that it stands for.
            Reason::Monitor => Vec::new(),
            Reason::Malformed => {
                vec![
                    "It cannot be read as far as its transport header, or lies about its length."
                        .to_owned(),
                ]
            }
            Reason::PortClosed => self.closed(),
            Reason::SourceNotAllowed => self.not_allowed(),
            Reason::OutOfState => vec![self.out_of_state()],
            Reason::Fragment => vec![self.fragment()],
            reason @ (Reason::ConnectionLimit
            | Reason::ConnectionRate
            | Reason::PacketRate
            | Reason::ByteRate) => vec![self.refused(reason, outcome.scope)],
            Reason::IcmpRate => vec![self.icmp_rate()],
            Reason::IcmpClosed => vec![self.icmp_closed()],
        }
    }

    fn rule(&self) -> Option<&Rule> {
        let name = self.rule?;
        self.world.policy.rules.iter().find(|rule| rule.name == name)
    }

    /// Its port, as a policy names it.
    fn port(&self) -> Option<(Protocol, u16)> {
        let (_, port) = self.packet.ports()?;
        match self.packet.transport {
            Transport::Tcp { .. } => Some((Protocol::Tcp, port)),
            Transport::Udp { .. } => Some((Protocol::Udp, port)),
            Transport::Icmp { .. } => None,
        }
    }

    fn port_text(&self) -> String {
        self.port().map_or_else(String::new, |(protocol, port)| format!("{protocol}/{port}"))
    }

    /// The rules that name its port: those of its interface, and those of others alone.
    fn rules_of_port(&self) -> (Vec<&Rule>, Vec<&Rule>) {
        let Some((protocol, port)) = self.port() else { return Default::default() };
        let names_port = |rule: &&Rule| {
            let mut ranges = rule.ports.iter();
            ranges.any(|range| {
                range.protocol == protocol && (range.first..=range.last).contains(&port)
            })
        };
        let is_here = |rule: &&Rule| match (&rule.interfaces, &self.packet.interface) {
            (None, _) => true,
            (Some(names), Some(interface)) => names.contains(interface),
            (Some(_), None) => false,
        };
        self.world.policy.rules.iter().filter(names_port).partition(is_here)
    }

    fn essential(&self) -> String {
        let what = match self.packet.transport {
            Transport::Udp { .. } => "a DHCP answer",
            Transport::Icmp { kind: 133..=137, .. } => "neighbour or router discovery",
            _ => "group membership",
        };
        format!(
            "It is {what}, without which the network does not work, and passes before any list or rule."
        )
    }

    fn banned(&self) -> Vec<String> {
        let ban = |Ban { prefix, until, reason }: &Ban| {
            let until = until
                .as_ref()
                .map_or("until it is taken back".to_owned(), |until| format!("until {until}"));
            let reason = reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
            format!("{prefix} is banned {until}{reason}: `nodewall unban {prefix}` takes it back.")
        };
        let mut why: Vec<String> = self.world.bans.iter().map(ban).collect();
        if why.is_empty() {
            why.push(format!("A ban holds {}.", self.packet.source));
        }
        why
    }

    fn admitted(&self) -> Vec<String> {
        let Some(rule) = self.rule() else { return Vec::new() };
        let from = self.packet.source;
        let mut why = vec![if self.packet.is_later_fragment() {
            format!(
                "It follows the first fragment of its datagram, which rule `{}` admitted.",
                rule.name
            )
        } else {
            let port = self.port_text();
            let (here, _) = self.rules_of_port();
            let best = if here.len() > 1 { ", the longest prefix of the port's rules" } else { "" };
            format!(
                "Rule `{}` admits {port} from {}{best}.",
                rule.name,
                holder(rule.from.prefixes(), from)
            )
        }];
        if let Transport::Tcp { flags, .. } = self.packet.transport
            && !is_bare_syn(flags)
            && !self.packet.is_later_fragment()
        {
            why.push("It belongs to a connection of this host.".to_owned());
        }
        let limits = self.limits_charged(rule);
        why.push(match limits.as_slice() {
            [] => "No limit of the rule counts it.".to_owned(),
            limits => format!("It is within {}.", limits.join(", ")),
        });
        why
    }

    /// The limits that hold such a packet, with their numbers.
    fn limits_charged(&self, rule: &Rule) -> Vec<String> {
        let is_new =
            matches!(self.packet.transport, Transport::Tcp { flags, .. } if is_bare_syn(flags));
        let mut charged = Vec::new();
        for scope in Scope::ALL {
            let Limits { connections, new_connections, packets, bytes } = rule.limits(*scope);
            let mut add = |name: &str, number: Option<String>| {
                charged.extend(number.map(|number| format!("{} {name} {number}", scope.name())));
            };
            let of = |rate: &Option<Rate>, unit| rate.map(|rate| rate_text(rate, unit));
            if is_new {
                add("connections", connections.map(|most| most.to_string()));
                add("new_connections", of(new_connections, Unit::Packets));
            } else {
                add("packets", of(packets, Unit::Packets));
                add("bytes", of(bytes, Unit::Bytes));
            }
        }
        charged
    }

    fn reply(&self) -> String {
        match self.packet.transport {
            Transport::Tcp { .. } => {
                "No rule admits it, and it belongs to a connection that this host, or a container behind it, has open."
            }
            Transport::Udp { .. } => {
                "No rule admits it, and it answers what this host, or a container behind it, sent there within the last two minutes."
            }
            Transport::Icmp { .. } => "It answers an echo request of this host.",
        }
        .to_owned()
    }

    fn closed(&self) -> Vec<String> {
        let port = self.port_text();
        let (_, elsewhere) = self.rules_of_port();
        let here = self.packet.interface.as_ref().filter(|_| !elsewhere.is_empty());
        let here = here.map_or(String::new(), |interface| format!(" on {interface}"));
        let mut why = vec![format!("No rule names {port}{here}{}.", self.nor_open())];
        for rule in elsewhere.iter().take(FEW) {
            let names = rule.interfaces.as_deref().unwrap_or_default().join(", ");
            why.push(format!("Rule `{}` names it, for {names} alone.", rule.name));
        }
        why.push(format!(
            "To open it, add a `[[rule]]` with `ports = [\"{port}\"]`, and `from` with those who may use it."
        ));
        why
    }

    fn not_allowed(&self) -> Vec<String> {
        let (port, from) = (self.port_text(), self.packet.source);
        let (here, _) = self.rules_of_port();
        let rules: Vec<String> = here
            .iter()
            .take(FEW)
            .map(|rule| format!("rule `{}` from {}", rule.name, source(&rule.from)))
            .collect();
        let more = here.len().saturating_sub(FEW);
        let more = if more > 0 { format!(", and {more} more rules") } else { String::new() };
        vec![
            format!(
                "{port} is open to others, and none of them is {from}{}: {}{more}.",
                self.nor_open(),
                rules.join("; ")
            ),
            match here.as_slice() {
                [rule] => {
                    format!("To let it in, add {from} to the `from` of rule `{}`.", rule.name)
                }
                _ => format!("To let it in, add {from} to the `from` of one of them."),
            },
        ]
    }

    /// What else could have let it in.
    fn nor_open(&self) -> &'static str {
        match self.packet.transport {
            Transport::Tcp { flags, .. } if !is_bare_syn(flags) => {
                ", and it belongs to no connection of this host"
            }
            Transport::Udp { .. } => ", and it answers nothing that this host sent",
            _ => "",
        }
    }

    fn out_of_state(&self) -> String {
        let there = if self.world.is_private { ": with `--config` there are none" } else { "" };
        format!(
            "Rule `{}` admits port and source, but only a bare SYN begins a connection, and this segment belongs to none that this host has{there}.",
            self.rule.unwrap_or_default()
        )
    }

    fn fragment(&self) -> String {
        if self.packet.is_later_fragment() {
            "A later fragment shares the verdict of its datagram's first, and no such first fragment has come lately."
        } else {
            "A first fragment of this datagram came already, and a second one could say something else."
        }
        .to_owned()
    }

    fn refused(&self, reason: Reason, scope: Option<Scope>) -> String {
        let limit = match reason {
            Reason::ConnectionLimit => "connections",
            Reason::ConnectionRate => "new_connections",
            Reason::PacketRate => "packets",
            _ => "bytes",
        };
        let name = self.rule.unwrap_or_default();
        let (Some(scope), Some(rule)) = (scope, self.rule()) else {
            return format!("A limit of rule `{name}`, {limit}, is used up.");
        };
        let limits = rule.limits(scope);
        let number = match reason {
            Reason::ConnectionLimit => limits.connections.map(|most| most.to_string()),
            Reason::ConnectionRate => {
                limits.new_connections.map(|rate| rate_text(rate, Unit::Packets))
            }
            Reason::PacketRate => limits.packets.map(|rate| rate_text(rate, Unit::Packets)),
            _ => limits.bytes.map(|rate| rate_text(rate, Unit::Bytes)),
        };
        let whom = self.who(scope);
        let number = number.unwrap_or_default();
        let verb = if reason == Reason::ConnectionLimit { "holds all of" } else { "has used up" };
        format!("{whom} {verb} the {} {limit} of rule `{name}`: {number}.", scope.name())
    }

    /// Who shares what was used up.
    fn who(&self, scope: Scope) -> String {
        let lengths = &self.world.policy.prefixes;
        let (v4, v6) = match scope {
            Scope::PerSource => (lengths.source_ipv4, lengths.source_ipv6),
            Scope::PerNetwork => (lengths.network_ipv4, lengths.network_ipv6),
            Scope::Total => return "All sources together".to_owned(),
        };
        let from = self.packet.source;
        let length = if from.is_ipv4() { v4 } else { v6 };
        IpNet::new(from, length).map_or_else(|_| from.to_string(), |net| shown(net.trunc()))
    }

    fn icmp(&self) -> String {
        let icmp = &self.world.policy.icmp;
        let within = |key: &str, rate: Option<Rate>, whose: &str| {
            let rate = rate.map_or(String::new(), |rate| rate_text(rate, Unit::Packets));
            format!("`[icmp] {key}` admits it, within {rate} {whose}.")
        };
        if self.is_echo() {
            within("echo", icmp.echo, "for each source")
        } else {
            within("errors", icmp.errors, "for each interface")
        }
    }

    fn icmp_rate(&self) -> String {
        let icmp = &self.world.policy.icmp;
        let text =
            |rate: Option<Rate>| rate.map_or(String::new(), |rate| rate_text(rate, Unit::Packets));
        if self.is_echo() {
            format!(
                "{} has used up `[icmp] echo`: {}.",
                self.who(Scope::PerSource),
                text(icmp.echo)
            )
        } else {
            format!("The interface has used up `[icmp] errors`: {}.", text(icmp.errors))
        }
    }

    fn icmp_closed(&self) -> String {
        let Transport::Icmp { kind, .. } = self.packet.transport else {
            return "`[icmp]` does not admit it.".to_owned();
        };
        if self.is_echo() {
            return "The policy has no `[icmp] echo`: add one, such as `echo = { rate = \"10/s\", burst = 20 }`.".to_owned();
        }
        let errors: &[u8] = if self.packet.source.is_ipv4() { &[3, 11, 12] } else { &[1, 2, 3, 4] };
        if errors.contains(&kind) {
            return "It quotes nothing that this host sent, and the policy has no `[icmp] errors`: add one, such as `errors = { rate = \"1000/s\" }`.".to_owned();
        }
        format!(
            "Of ICMP only echo requests, errors, and answers to this host's own echo requests come in; type {kind} is none of these."
        )
    }

    fn is_echo(&self) -> bool {
        let request = if self.packet.source.is_ipv4() { 8 } else { 128 };
        matches!(self.packet.transport, Transport::Icmp { kind, .. } if kind == request)
    }
}

const fn is_bare_syn(flags: u8) -> bool {
    use tcp_flags::{ACK, FIN, RST, SYN};
    flags & (SYN | ACK | RST | FIN) == SYN
}

/// The longest of the prefixes that holds an address, and that it does.
fn holder(list: &[IpNet], address: IpAddr) -> String {
    let holds = list.iter().filter(|net| net.contains(&address));
    match holds.max_by_key(|net| net.prefix_len()) {
        Some(net) if net.prefix_len() == 0 => "everywhere".to_owned(),
        Some(net) if net.prefix_len() == net.max_prefix_len() => address.to_string(),
        Some(net) => format!("{net}, which holds {address}"),
        // It was taken out while this was asked.
        None => address.to_string(),
    }
}

/// A single address is shown without its length.
fn shown(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}
