//! Random small policies: conflicts are found exactly where looking at every
//! pair of rules, port, prefix and interface finds one.

use super::*;
use crate::policy::{ErrorKind, PortRange, Protocol, Rule};

/// Numbers that look random and are the same in each run (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick(&mut self, from: &[&str], most: u64) -> String {
        let count = 1 + self.below(most);
        let words: Vec<_> = (0..count)
            .map(|_| format!("\"{}\"", from[self.below(from.len() as u64) as usize]))
            .collect();
        words.join(", ")
    }
}

fn policy(numbers: &mut Numbers) -> String {
    let mut text =
        "[sets]\ns = [\"10.0.0.0/8\", \"10.1.0.0/16\"]\nt = [\"10.1.0.0/16\", \"::/0\"]\n"
            .to_owned();
    for rule in 0..2 + numbers.below(4) {
        text.push_str(&format!("[[rule]]\nname = \"r{rule}\"\nports = ["));
        for _ in 0..1 + numbers.below(3) {
            let first = 1 + numbers.below(12);
            let protocol = if numbers.below(3) == 0 { "udp" } else { "tcp" };
            text.push_str(&format!("\"{protocol}/{first}-{}\", ", first + numbers.below(4)));
        }
        text.push_str("]\n");
        match numbers.below(4) {
            0 => {}
            1 => text.push_str("from = [\"@s\"]\n"),
            _ => {
                let from = [
                    "10.0.0.0/8",
                    "10.1.0.0/16",
                    "10.1.2.0/24",
                    "::/0",
                    "2001:db8::/32",
                    "@s",
                    "@t",
                    "0.0.0.0/0",
                ];
                text.push_str(&format!("from = [{}]\n", numbers.pick(&from, 2)));
            }
        }
        if numbers.below(2) == 0 {
            text.push_str(&format!("interfaces = [{}]\n", numbers.pick(&["a", "b", "c"], 2)));
        }
    }
    text
}

fn has_port(rule: &Rule, port: PortRange) -> bool {
    rule.ports.iter().any(|range| {
        range.protocol == port.protocol && range.first <= port.first && port.last <= range.last
    })
}

fn has_interface(rule: &Rule, interface: &str) -> bool {
    rule.interfaces.as_ref().is_none_or(|names| names.iter().any(|name| name == interface))
}

fn meet(one: &Rule, other: &Rule) -> bool {
    let port = (1..=20).any(|number| {
        [Protocol::Tcp, Protocol::Udp].iter().any(|protocol| {
            let port = PortRange { protocol: *protocol, first: number, last: number };
            has_port(one, port) && has_port(other, port)
        })
    });
    let prefix = one.from.prefixes().iter().any(|net| other.from.prefixes().contains(net));
    let interface = ["a", "b", "c", "d"]
        .iter()
        .any(|name| has_interface(one, name) && has_interface(other, name));
    port && prefix && interface
}

/// The rules of `text` each read by itself, where none can be in conflict.
fn rules_alone(text: &str) -> Vec<Rule> {
    let (sets, rules) = text.split_once("[[rule]]").unwrap_or((text, ""));
    let alone = |rule: &str| loaded(&format!("{sets}[[rule]]{rule}")).policy.rules.remove(0);
    rules.split("[[rule]]").map(alone).collect()
}

#[test]
fn conflicts_are_found_exactly_where_there_are_some() {
    let mut numbers = Numbers(1);
    let (mut valid, mut refused) = (0, 0);
    for _ in 0..1_000 {
        let text = policy(&mut numbers);
        let rules = rules_alone(&text);
        let pairs = rules
            .iter()
            .enumerate()
            .flat_map(|(at, one)| rules[at + 1..].iter().map(move |other| (one, other)));
        let expected = pairs.filter(|(one, other)| meet(one, other)).count();
        match parse(&text) {
            Ok(_) => {
                assert_eq!(expected, 0, "{text}");
                valid += 1;
            }
            Err(Errors(errors)) => {
                assert!(errors.len() <= expected, "{text}\n{}", Errors(errors));
                for error in errors {
                    let ErrorKind::Claimed { port, prefix, interface, first, second, .. } =
                        error.kind
                    else {
                        panic!("{error}\n{text}");
                    };
                    let by_name = |name| rules.iter().find(|rule| rule.name == name);
                    for rule in [by_name(first), by_name(second)].into_iter().flatten() {
                        assert!(has_port(rule, port), "{text}");
                        assert!(rule.from.prefixes().contains(&prefix), "{text}");
                        assert!(
                            interface.as_ref().is_none_or(|name| has_interface(rule, name)),
                            "{text}"
                        );
                        assert!(interface.is_some() || rule.interfaces.is_none(), "{text}");
                    }
                }
                refused += 1;
            }
        }
    }
    assert!(valid > 100 && refused > 100, "{valid} valid, {refused} refused");
}
