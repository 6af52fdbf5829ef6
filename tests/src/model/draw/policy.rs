//! Policies: small ones, in which rules overlap and limits are soon met.

use std::fmt::Write as _;

use proptest::{
    collection::vec,
    option::weighted,
    prelude::{Just, any},
    prop_oneof,
    sample::{select, subsequence},
    strategy::{BoxedStrategy, Strategy},
};

use super::pool;
use crate::model::case::meaning;

/// The text of a valid policy.
pub fn policies() -> impl Strategy<Value = String> {
    (head(), vec(rule(), 0..=pool::RULES.len())).prop_map(|(head, rules)| {
        let rules = pool::RULES.iter().zip(rules);
        let mut rules: Vec<String> = rules.map(|(name, rule)| rule.text(name)).collect();
        // A rule that claims what another has is an error: the last go, until none is left.
        loop {
            let text = format!("{head}{}", rules.concat());
            if rules.pop().is_none() || meaning(&text).is_ok() {
                return text;
            }
        }
    })
}

/// What is in a policy besides its rules.
fn head() -> impl Strategy<Value = String> {
    let listed = || subsequence(&pool::LISTED[..], 0..3);
    (
        weighted(0.12, Just("mode = \"monitor\"\n")),
        weighted(0.6, listed()),
        weighted(0.6, listed()),
        weighted(0.6, packets()),
        weighted(0.6, packets()),
        weighted(0.6, subsequence(vec!["esp", "gre", "igmp", "sctp"], 1..3)),
        weighted(0.2, (select(vec![32, 24]), select(vec![64, 128, 56]), select(vec![24, 16]))),
    )
        .prop_map(|(mode, trusted, denied, echo, errors, protocols, prefixes)| {
            let mut text = mode.unwrap_or_default().to_owned();
            if trusted.is_some() || denied.is_some() {
                text += "[sources]\n";
            }
            for (name, list) in [("trusted", trusted), ("denied", denied)] {
                if let Some(list) = list {
                    let _ = writeln!(text, "{name} = {list:?}");
                }
            }
            if echo.is_some() || errors.is_some() {
                text += "[icmp]\n";
            }
            for (name, rate) in [("echo", echo), ("errors", errors)] {
                if let Some(rate) = rate {
                    let _ = writeln!(text, "{name} = {rate}");
                }
            }
            if let Some(protocols) = protocols {
                let _ = writeln!(text, "[protocols]\nallow = {protocols:?}");
            }
            if let Some((v4, v6, network)) = prefixes {
                let _ = writeln!(
                    text,
                    "[prefixes]\nsource_ipv4 = {v4}\nsource_ipv6 = {v6}\nnetwork_ipv4 = {network}"
                );
            }
            text
        })
}

/// A rate of packets or connections.
fn packets() -> impl Strategy<Value = String> {
    let rates = vec!["1/s", "10/s", "1000/s", "2/m", "3/h", "7000000/s"];
    (select(rates), weighted(0.8, select(vec![1, 2, 3, 5, 9]))).prop_map(rate)
}

/// A rate of bytes. Bursts below 64 kB are no error, but a warning.
fn bytes() -> impl Strategy<Value = String> {
    let rates = vec!["1kB/s", "100kB/m", "1MB/s", "2GB/s", "50GB/s"];
    (select(rates), weighted(0.8, select(vec![500, 3000, 70_000]))).prop_map(rate)
}

fn rate((rate, burst): (&str, Option<u32>)) -> String {
    match burst {
        Some(burst) => format!("{{ rate = \"{rate}\", burst = {burst} }}"),
        None => format!("{{ rate = \"{rate}\" }}"),
    }
}

/// A rule without its name.
#[derive(Debug, Clone)]
struct Rule {
    ports: Vec<&'static str>,
    from: Option<Vec<&'static str>>,
    interfaces: Option<Vec<&'static str>>,
    monitor: bool,
    scopes: [Limits; 3],
}

#[derive(Debug, Clone)]
struct Limits {
    connections: Option<u32>,
    new_connections: Option<String>,
    packets: Option<String>,
    bytes: Option<String>,
}

fn rule() -> BoxedStrategy<Rule> {
    let interfaces = prop_oneof![
        3 => Just(vec!["eth0"]),
        1 => Just(vec!["wg0"]),
        1 => Just(vec!["eth0", "wg0"]),
    ];
    (
        subsequence(&pool::PORTS[..], 1..4),
        weighted(0.5, subsequence(&pool::PREFIXES[..], 1..4)),
        weighted(0.2, interfaces),
        any::<[bool; 3]>(),
        [limits(0.3), limits(0.15), limits(0.15)],
    )
        .prop_map(|(ports, from, interfaces, monitor, scopes)| {
            let monitor = monitor == [true; 3];
            Rule { ports, from, interfaces, monitor, scopes }
        })
        .boxed()
}

/// The limits of a scope, each there with that probability.
fn limits(there: f64) -> impl Strategy<Value = Limits> {
    (
        weighted(there, 1..4_u32),
        weighted(there, packets()),
        weighted(there, packets()),
        weighted(there, bytes()),
    )
        .prop_map(|(connections, new_connections, packets, bytes)| Limits {
            connections,
            new_connections,
            packets,
            bytes,
        })
}

impl Rule {
    fn text(&self, name: &str) -> String {
        let mut text = format!("[[rule]]\nname = \"{name}\"\nports = {:?}\n", self.ports);
        let lists = [("from", &self.from), ("interfaces", &self.interfaces)];
        for (key, list) in lists {
            if let Some(list) = list {
                let _ = writeln!(text, "{key} = {list:?}");
            }
        }
        if self.monitor {
            text += "mode = \"monitor\"\n";
        }
        let tcp = self.ports.iter().any(|ports| ports.starts_with("tcp"));
        for (scope, limits) in ["per_source", "per_network", "total"].iter().zip(&self.scopes) {
            let Limits { connections, new_connections, packets, bytes } = limits;
            let connections = connections.map(|most| most.to_string());
            let keys = [
                // These are TCP's, and an error where there is none.
                ("connections", connections.as_ref().filter(|_| tcp)),
                ("new_connections", new_connections.as_ref().filter(|_| tcp)),
                ("packets", packets.as_ref()),
                ("bytes", bytes.as_ref()),
            ];
            let keys = keys.iter().filter_map(|(key, value)| value.map(|value| (key, value)));
            let lines: String = keys.map(|(key, value)| format!("{key} = {value}\n")).collect();
            if !lines.is_empty() {
                let _ = write!(text, "[rule.{scope}]\n{lines}");
            }
        }
        text
    }
}
