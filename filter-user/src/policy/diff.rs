//! What changes from one policy to another, as people read it.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::describe::{self, rate_text};
use super::model::{Policy, Rule, Source};
use super::rate::Unit;

/// Prefixes of a change that are named; the others are counted.
pub(super) const FEW: usize = 3;

/// One difference. Displays as a line that begins with `+`, `-` or `~`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happens.
    pub change: ChangeKind,
    /// The rule that it happens to; `None`: the policy around the rules.
    pub rule: Option<String>,
    /// The key, such as `per_source.packets`; `None`: the rule as a whole.
    pub field: Option<String>,
    /// What was; `None` for what is added, and for long lists.
    pub old: Option<String>,
    /// What will be; `None` for what is removed, and for long lists.
    pub new: Option<String>,
    /// For lists of addresses: the prefixes that come in.
    pub added: Option<Listed>,
    /// For lists of addresses: the prefixes that go out.
    pub removed: Option<Listed>,
}

/// What happens to a part of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Only the new policy has it.
    Added,
    /// Only the old policy has it.
    Removed,
    /// Both have it, differently.
    Changed,
}

/// Some of many prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// How many there are.
    pub count: usize,
    /// The first few.
    pub first: Vec<IpNet>,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, first } = self;
        for (index, prefix) in first.iter().enumerate() {
            write!(f, "{}{prefix}", if index == 0 { "" } else { ", " })?;
        }
        match count - first.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { change, rule, field, old, new, added, removed } = self;
        f.write_str(match change {
            ChangeKind::Added => "+",
            ChangeKind::Removed => "-",
            ChangeKind::Changed => "~",
        })?;
        if let Some(rule) = rule {
            write!(f, " rule {rule}:")?;
        }
        if let Some(field) = field {
            write!(f, " {field}")?;
        }
        match (old, new) {
            (Some(old), Some(new)) => write!(f, " {old} -> {new}")?,
            (Some(text), None) | (None, Some(text)) => write!(f, " {text}")?,
            (None, None) => {}
        }
        if let Some(added) = added {
            write!(f, " +{} ({added})", added.count)?;
        }
        if let Some(removed) = removed {
            write!(f, " -{} ({removed})", removed.count)?;
        }
        Ok(())
    }
}

/// The differences that lead from `old` to `new`: first around the rules, then
/// rules that go, then those that come or change, in the order of `new`.
/// Rules are the same by their names; their order has no meaning. Empty
/// where both mean the same.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut out = Vec::new();
    let mut compared = Compared::default();
    diff_around(old, new, &mut out);
    let by_name = |policy: &'_ Policy| -> HashMap<String, usize> {
        policy.rules.iter().enumerate().map(|(index, rule)| (rule.name.clone(), index)).collect()
    };
    let (old_rules, new_rules) = (by_name(old), by_name(new));
    for rule in old.rules.iter().filter(|rule| !new_rules.contains_key(&rule.name)) {
        out.push(Change { old: Some(describe::rule(rule)), ..whole(ChangeKind::Removed, rule) });
    }
    for rule in &new.rules {
        match old_rules.get(&rule.name) {
            Some(index) => diff_rule(&old.rules[*index], rule, &mut compared, &mut out),
            None => out
                .push(Change { new: Some(describe::rule(rule)), ..whole(ChangeKind::Added, rule) }),
        }
    }
    out
}

/// A change that says no more than to which rule.
fn whole(change: ChangeKind, rule: &Rule) -> Change {
    Change {
        change,
        rule: Some(rule.name.clone()),
        field: None,
        old: None,
        new: None,
        added: None,
        removed: None,
    }
}

/// Collects the changed fields of one rule, or of the policy around the rules.
struct Fields<'o> {
    rule: Option<&'o str>,
    out: &'o mut Vec<Change>,
}

impl Fields<'_> {
    /// A field that is short enough to be shown before and after.
    fn value<T: PartialEq>(&mut self, field: &str, old: &T, new: &T, text: impl Fn(&T) -> String) {
        if old != new {
            self.push(field, Some(text(old)), Some(text(new)), None, None);
        }
    }

    /// A list of prefixes: those that come in and those that go out.
    fn list(&mut self, field: &str, (added, removed): (Option<Listed>, Option<Listed>)) {
        if added.is_some() || removed.is_some() {
            self.push(field, None, None, added, removed);
        }
    }

    fn push(
        &mut self,
        field: &str,
        old: Option<String>,
        new: Option<String>,
        added: Option<Listed>,
        removed: Option<Listed>,
    ) {
        let rule = self.rule.map(str::to_owned);
        let change = ChangeKind::Changed;
        self.out.push(Change {
            change,
            rule,
            field: Some(field.to_owned()),
            old,
            new,
            added,
            removed,
        });
    }
}

fn diff_around(old: &Policy, new: &Policy, out: &mut Vec<Change>) {
    // Taken apart whole, so that a new field must be thought of here.
    let Policy {
        interfaces,
        mode,
        attach,
        trusted,
        denied,
        rules: _,
        icmp,
        protocols,
        prefixes,
        log,
        tables,
        on_stop,
        metrics,
    } = old;
    let mut fields = Fields { rule: None, out };
    fields.value("interfaces", interfaces, &new.interfaces, |list| {
        describe::interfaces(list.as_deref(), "every interface with a default route")
    });
    fields.value("mode", mode, &new.mode, ToString::to_string);
    fields.value("attach", attach, &new.attach, ToString::to_string);
    fields.list("sources.trusted", compare(trusted, &new.trusted));
    fields.list("sources.denied", compare(denied, &new.denied));
    let rate = |rate: &Option<_>| {
        rate.map_or_else(|| "false".to_owned(), |rate| rate_text(rate, Unit::Packets))
    };
    fields.value("icmp.echo", &icmp.echo, &new.icmp.echo, rate);
    fields.value("icmp.errors", &icmp.errors, &new.icmp.errors, rate);
    fields.value("protocols.allow", protocols, &new.protocols, |list| describe::protocols(list));
    let (was, will) = (prefixes, &new.prefixes);
    for (field, was, will) in [
        ("prefixes.source_ipv4", was.source_ipv4, will.source_ipv4),
        ("prefixes.source_ipv6", was.source_ipv6, will.source_ipv6),
        ("prefixes.network_ipv4", was.network_ipv4, will.network_ipv4),
        ("prefixes.network_ipv6", was.network_ipv6, will.network_ipv6),
    ] {
        fields.value(field, &was, &will, ToString::to_string);
    }
    fields.value("service.on_stop", on_stop, &new.on_stop, ToString::to_string);
    fields.value("log.drops", &log.drops, &new.log.drops, rate);
    fields.value("log.flows", &log.flows, &new.log.flows, |file| {
        file.as_ref().map_or_else(|| "false".to_owned(), |file| file.display().to_string())
    });
    let (flows, new_flows) = (&tables.flows, &new.tables.flows);
    for (field, was, will) in [
        ("tables.bans", tables.bans, new.tables.bans),
        ("tables.sources", tables.sources, new.tables.sources),
        ("tables.known", tables.known, new.tables.known),
        ("tables.flows", flows.flows, new_flows.flows),
        ("tables.answered", flows.answered, new_flows.answered),
        ("tables.half_open", flows.half_open, new_flows.half_open),
        ("tables.asked", flows.asked, new_flows.asked),
        ("tables.slots", tables.slots, new.tables.slots),
        ("tables.fragments", tables.fragments, new.tables.fragments),
        ("tables.flow_log", tables.flow_log, new.tables.flow_log),
    ] {
        fields.value(field, &was, &will, ToString::to_string);
    }
    fields.value("metrics.listen", metrics, &new.metrics, |listen| {
        listen.map_or_else(|| "false".to_owned(), |address| address.to_string())
    });
}

fn diff_rule(old: &Rule, new: &Rule, compared: &mut Compared, out: &mut Vec<Change>) {
    let Rule { name, ports, from, interfaces, mode, idle_timeout, .. } = old;
    let mut fields = Fields { rule: Some(name), out };
    fields.value("ports", ports, &new.ports, |ports| describe::ports(ports));
    match (from, &new.from) {
        (Source::Anywhere, Source::Anywhere) => {}
        (Source::Prefixes(old), Source::Prefixes(new)) => {
            fields.list("from", compared.lists(old, new))
        }
        (old, new) => fields.push(
            "from",
            Some(describe::source(old)),
            Some(describe::source(new)),
            None,
            None,
        ),
    }
    fields.value("interfaces", interfaces, &new.interfaces, |list| {
        describe::interfaces(list.as_deref(), "all guarded interfaces")
    });
    fields.value("mode", mode, &new.mode, ToString::to_string);
    fields.value("idle_timeout", idle_timeout, &new.idle_timeout, |idle| describe::idle(*idle));
    for (was, will) in describe::connections(old).into_iter().zip(describe::connections(new)) {
        fields.value(was.0, &was.1, &will.1, |most| {
            most.map_or_else(|| "none".to_owned(), |most| most.to_string())
        });
    }
    for (was, will) in describe::limits(old).into_iter().zip(describe::limits(new)) {
        fields.value(was.key, &was.rate, &will.rate, |rate| {
            rate.map_or_else(|| "none".to_owned(), |rate| rate_text(rate, was.unit))
        });
    }
}

/// Lists that were compared before. Rules that name the same set share its
/// list, which may be long, and as many may have changed.
#[derive(Default)]
struct Compared(HashMap<[*const IpNet; 2], (Option<Listed>, Option<Listed>)>);

impl Compared {
    fn lists(&mut self, old: &[IpNet], new: &[IpNet]) -> (Option<Listed>, Option<Listed>) {
        self.0.entry([old.as_ptr(), new.as_ptr()]).or_insert_with(|| compare(old, new)).clone()
    }
}

/// What `new` has more than `old`, and the other way round; both are sorted.
fn compare(old: &[IpNet], new: &[IpNet]) -> (Option<Listed>, Option<Listed>) {
    let (mut added, mut removed) = (None, None);
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return (added, removed),
        };
        match order {
            Ordering::Less => count(&mut removed, old.next()),
            Ordering::Greater => count(&mut added, new.next()),
            Ordering::Equal => {
                old.next();
                new.next();
            }
        }
    }
}

fn count(listed: &mut Option<Listed>, prefix: Option<&IpNet>) {
    let Some(prefix) = prefix else {
        return;
    };
    let listed = listed.get_or_insert(Listed { count: 0, first: Vec::new() });
    listed.count += 1;
    if listed.first.len() < FEW {
        listed.first.push(*prefix);
    }
}
