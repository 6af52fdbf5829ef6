//! Rules that claim the same port, interface and prefix.
//!
//! Only the same prefix is a conflict: of two that lie one inside of the
//! other the longer one decides. Work is near to linear in what the policy
//! says, because prefixes that the same rules name are looked at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::error::ErrorKind;
use super::model::{PortRange, Protocol, Rule, Source};
use super::ports::WrittenPorts;

/// A rule that takes part.
pub(super) struct Claim {
    /// Its place among the rules.
    pub rule: usize,
    /// Its place in the file's list of rules.
    pub index: usize,
    /// Its ports as they are written.
    pub written: Vec<WrittenPorts>,
}

/// Two rules that cannot stand together; it is reported at the later one.
pub(super) struct Conflict {
    /// [`Claim::index`] of the later rule.
    pub index: usize,
    /// The place of the port in its list.
    pub port: usize,
    /// The port's byte offset.
    pub at: usize,
    pub kind: ErrorKind,
}

/// Conflicts between `claims`: each pair of rules at most once, and of several
/// that claim one port at least each with one other.
pub(super) fn find(rules: &[Rule], claims: &[Claim]) -> Vec<Conflict> {
    let mut seen = HashSet::new();
    let mut conflicts = Vec::new();
    for group in groups(rules, claims) {
        for overlap in overlaps(rules, claims, &group.claims) {
            if seen.insert((overlap.first, overlap.second)) {
                conflicts.extend(describe(rules, claims, &overlap, group.prefix));
            }
        }
    }
    conflicts
}

/// Rules that name the same prefix.
struct Group {
    /// One of those prefixes.
    prefix: IpNet,
    /// Indices into the claims, ascending.
    claims: Vec<usize>,
}

/// Every group of two or more claims. Prefixes that exactly the same lists
/// hold make one group.
fn groups(rules: &[Rule], claims: &[Claim]) -> Vec<Group> {
    // Rules that share a list share its fate.
    let mut lists: Vec<(&[IpNet], Vec<usize>)> = Vec::new();
    let mut known: HashMap<Option<*const IpNet>, usize> = HashMap::new();
    for (index, claim) in claims.iter().enumerate() {
        let from = &rules[claim.rule].from;
        let identity = match from {
            Source::Anywhere => None,
            Source::Prefixes(list) => Some(Arc::as_ptr(list).cast::<IpNet>()),
        };
        let list = *known.entry(identity).or_insert_with(|| {
            lists.push((from.prefixes(), Vec::new()));
            lists.len() - 1
        });
        lists[list].1.push(index);
    }

    // The lists that hold a prefix, as the last link of a chain: (the chain before, the list).
    let mut chains: Vec<(Option<usize>, usize)> = Vec::new();
    let mut links: HashMap<(Option<usize>, usize), usize> = HashMap::new();
    let mut chain_of: HashMap<IpNet, usize> =
        HashMap::with_capacity(lists.iter().map(|(list, _)| list.len()).sum());
    for (list, (prefixes, _)) in lists.iter().enumerate() {
        for prefix in *prefixes {
            let link = (chain_of.get(prefix).copied(), list);
            let chain = *links.entry(link).or_insert_with(|| {
                chains.push(link);
                chains.len() - 1
            });
            chain_of.insert(*prefix, chain);
        }
    }

    let mut first_of: BTreeMap<usize, IpNet> = BTreeMap::new();
    for (prefix, chain) in chain_of {
        first_of.entry(chain).and_modify(|first| *first = prefix.min(*first)).or_insert(prefix);
    }
    let mut groups = Vec::new();
    for (chain, prefix) in first_of {
        let mut members = Vec::new();
        let mut next = Some(chain);
        while let Some((before, list)) = next.map(|chain| chains[chain]) {
            members.extend_from_slice(&lists[list].1);
            next = before;
        }
        if members.len() > 1 {
            members.sort_unstable();
            groups.push(Group { prefix, claims: members });
        }
    }
    groups
}

/// Two claims, the earlier first, and where they meet.
struct Overlap<'r> {
    first: usize,
    second: usize,
    port: u32,
    interface: Option<&'r str>,
}

/// A range of one claim, protocol and port in one number.
#[derive(Clone, Copy)]
struct Span {
    first: u32,
    last: u32,
    claim: usize,
}

const UDP: u32 = 1 << 16;

fn span(range: &PortRange, claim: usize) -> Span {
    let base = if range.protocol == Protocol::Udp { UDP } else { 0 };
    Span { first: base + u32::from(range.first), last: base + u32::from(range.last), claim }
}

/// Where ports and interfaces of `members` meet. A rule bound to no
/// interface meets those bound to any.
fn overlaps<'r>(rules: &'r [Rule], claims: &[Claim], members: &[usize]) -> Vec<Overlap<'r>> {
    let mut unbound = Vec::new();
    let mut bound: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for &claim in members {
        let rule = &rules[claims[claim].rule];
        let spans = rule.ports.iter().map(|range| span(range, claim));
        match &rule.interfaces {
            None => unbound.extend(spans),
            Some(interfaces) => {
                for interface in interfaces {
                    bound.entry(interface).or_default().extend(spans.clone());
                }
            }
        }
    }
    let mut out = Vec::new();
    let furthest = sweep(&mut unbound, None, &mut out);
    for (interface, mut spans) in bound {
        sweep(&mut spans, Some(interface), &mut out);
        for span in &spans {
            // Of those that begin before this one ends, the one that reaches furthest.
            let before = unbound.partition_point(|other| other.first <= span.last);
            if let Some(other) = before.checked_sub(1).map(|last| furthest[last])
                && other.last >= span.first
            {
                out.push(meeting(span, &other, Some(interface)));
            }
        }
    }
    out
}

/// Sorts `spans` and adds those that overlap one before them. Gives for each
/// the span, of those up to it, that reaches furthest.
fn sweep<'r>(
    spans: &mut [Span],
    interface: Option<&'r str>,
    out: &mut Vec<Overlap<'r>>,
) -> Vec<Span> {
    spans.sort_unstable_by_key(|span| (span.first, span.claim));
    let mut furthest: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans.iter() {
        let reach = match furthest.last() {
            Some(other) => {
                if other.last >= span.first {
                    out.push(meeting(span, other, interface));
                }
                if other.last >= span.last { *other } else { *span }
            }
            None => *span,
        };
        furthest.push(reach);
    }
    furthest
}

fn meeting<'r>(one: &Span, other: &Span, interface: Option<&'r str>) -> Overlap<'r> {
    Overlap {
        first: one.claim.min(other.claim),
        second: one.claim.max(other.claim),
        port: one.first.max(other.first),
        interface,
    }
}

fn describe(
    rules: &[Rule],
    claims: &[Claim],
    overlap: &Overlap<'_>,
    prefix: IpNet,
) -> Option<Conflict> {
    let (first, later) = (&rules[claims[overlap.first].rule], &claims[overlap.second]);
    let second = &rules[later.rule];
    let protocol = if overlap.port >= UDP { Protocol::Udp } else { Protocol::Tcp };
    let number = u16::try_from(overlap.port % UDP).ok()?;
    let port = PortRange { protocol, first: number, last: number };
    let covers = |range: &PortRange| {
        range.protocol == protocol && range.first <= number && number <= range.last
    };
    let written = later.written.iter().find(|written| covers(&written.range))?;
    Some(Conflict {
        index: later.index,
        port: written.index,
        at: written.at,
        kind: ErrorKind::Claimed {
            port,
            prefix,
            interface: overlap.interface.map(str::to_owned),
            first: first.name.clone(),
            first_line: first.line,
            second: second.name.clone(),
            second_line: second.line,
        },
    })
}
