//! Ports, the views behind them, and the rules that source prefixes choose.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use filter_common::{
    Address,
    tables::{VIEW_BITS, View, ViewPrefix, ports, view},
};
use ipnet::IpNet;

use super::{CompileError, Numbers, Prefix, Tables};
use crate::policy::{Mode, Protocol, Rule};

/// Entries of the prefix table: about 200 MB of kernel memory.
const PREFIXES_MAX: usize = 2_000_000;

/// Fills in port tables, views, prefixes and the interfaces' groups. Rule
/// `rules[n]` has the number `n + 1`.
pub(super) fn compile(
    rules: &[Rule],
    interfaces: &mut Numbers,
    tables: &mut Tables,
) -> Result<(), CompileError> {
    let mut views = Views { rules, numbers: HashMap::new(), tables };
    views.tables.views.push(View::default());

    // Group 0 is every interface that no rule names.
    let unbound = |rule: &Rule| rule.interfaces.is_none();
    let words = views.port_table(unbound)?;
    views.tables.ports.push(words);
    let mut named: Vec<&String> =
        rules.iter().filter_map(|r| r.interfaces.as_ref()).flatten().collect();
    named.sort_unstable();
    named.dedup();
    for (name, group) in named.into_iter().zip(1_u8..) {
        let number =
            interfaces.get_or_add(name).ok_or(CompileError::Interfaces(interfaces.count()))?;
        views.tables.generation.groups[number as usize] = group;
        let words = views
            .port_table(|rule| rule.interfaces.as_ref().is_none_or(|list| list.contains(name)))?;
        views.tables.ports.push(words);
    }
    let tables = views.tables;
    tables.generation.group_count = u32::try_from(tables.ports.len()).unwrap_or(u32::MAX);
    Ok(())
}

/// Makes a view for each set of rules that share a port.
struct Views<'a> {
    rules: &'a [Rule],
    numbers: HashMap<Vec<u32>, u32>,
    tables: &'a mut Tables,
}

impl Views<'_> {
    /// The port table of an interface on which the rules hold that `holds` tells.
    fn port_table(
        &mut self,
        holds: impl Fn(&Rule) -> bool,
    ) -> Result<Vec<(u32, u64)>, CompileError> {
        let mut words = BTreeMap::new();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            // Where along the ports which rules begin and end.
            let mut edges: BTreeMap<u32, Vec<(u32, bool)>> = BTreeMap::new();
            for (rule, number) in self.rules.iter().zip(1_u32..) {
                if !holds(rule) {
                    continue;
                }
                for range in rule.ports.iter().filter(|range| range.protocol == protocol) {
                    edges.entry(range.first.into()).or_default().push((number, true));
                    edges.entry(u32::from(range.last) + 1).or_default().push((number, false));
                }
            }
            let mut open: Vec<u32> = Vec::new();
            let mut edges = edges.into_iter().peekable();
            while let Some((start, changes)) = edges.next() {
                for (number, begins) in changes {
                    match (open.binary_search(&number), begins) {
                        (Err(place), true) => open.insert(place, number),
                        (Ok(place), false) => {
                            open.remove(place);
                        }
                        // A rule's ranges do not touch one another.
                        (Ok(_), true) | (Err(_), false) => {}
                    }
                }
                let (Some((end, _)), false) = (edges.peek(), open.is_empty()) else { continue };
                let view = self.number(&open)?;
                for port in start..*end {
                    let port = u16::try_from(port).unwrap_or(u16::MAX);
                    let (index, shift) = ports::place(protocol == Protocol::Udp, port);
                    *words.entry(index).or_insert(0_u64) |= u64::from(view) << shift;
                }
            }
        }
        Ok(words.into_iter().collect())
    }

    /// The view of a set of rules, made if it is new.
    fn number(&mut self, open: &[u32]) -> Result<u32, CompileError> {
        if let Some(number) = self.numbers.get(open) {
            return Ok(*number);
        }
        let number = u32::try_from(self.tables.views.len()).unwrap_or(u32::MAX);
        if number > ports::VIEWS_MAX {
            return Err(CompileError::Views(ports::VIEWS_MAX));
        }
        let mut made = View { flags: view::MONITOR, ..View::default() };
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for rule_number in open {
            let rule = &self.rules[*rule_number as usize - 1];
            if rule.mode != Mode::Monitor {
                made.flags &= !view::MONITOR;
            }
            for net in rule.from.prefixes() {
                match net {
                    IpNet::V4(net) if net.prefix_len() == 0 => made.default_ipv4 = *rule_number,
                    IpNet::V6(net) if net.prefix_len() == 0 => made.default_ipv6 = *rule_number,
                    _ => {
                        if net.addr().is_ipv4() { &mut ipv4 } else { &mut ipv6 }.push(*net);
                        let (address, length) = bits(net);
                        self.tables.prefixes.push(Prefix {
                            key: ViewPrefix { view: number, address },
                            length: VIEW_BITS + length,
                            value: *rule_number,
                        });
                    }
                }
            }
            if self.tables.prefixes.len() > PREFIXES_MAX {
                return Err(CompileError::Prefixes(PREFIXES_MAX));
            }
        }
        if !ipv4.is_empty() {
            made.flags |= view::PREFIXES_IPV4;
            made.filter_ipv4 = self.tables.filters.add(&ipv4);
        }
        if !ipv6.is_empty() {
            made.flags |= view::PREFIXES_IPV6;
            made.filter_ipv6 = self.tables.filters.add(&ipv6);
        }
        // IPv4 sources stand in the table as mapped addresses: an IPv6 prefix that
        // holds these must not let them in.
        const BOTH: u32 = view::PREFIXES_IPV4 | view::PREFIXES_IPV6;
        if made.flags & BOTH == BOTH {
            self.tables.prefixes.push(Prefix {
                key: ViewPrefix { view: number, address: Address::from(IpAddr::from(MAPPED)) },
                length: VIEW_BITS + 96,
                value: 0,
            });
        }
        self.tables.views.push(made);
        self.numbers.insert(open.to_vec(), number);
        Ok(number)
    }
}

/// The mapped IPv4 addresses, a /96 (RFC 4291, section 2.5.5.2).
const MAPPED: Ipv6Addr = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();

/// A prefix as the tables write it: an address and how many of its 128 bits count.
pub(crate) fn bits(net: &IpNet) -> (Address, u32) {
    let mapped = if net.addr().is_ipv4() { 96 } else { 0 };
    (Address::from(net.network()), mapped + u32::from(net.prefix_len()))
}
