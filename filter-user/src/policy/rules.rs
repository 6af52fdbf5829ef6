//! The rules: `[[rule]]`.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::conflicts::{self, Claim};
use super::document::read_mode;
use super::error::ErrorKind;
use super::field::Field;
use super::model::{Limits, Mode, Protocol, Rule, Source};
use super::ports::{self, WrittenPorts};
use super::rate::{self, Unit};
use super::report::Report;
use super::schema::{LIMITS, RULE};
use super::section::{Entry, Section};
use super::sets::Sets;
use super::suggest::shown;
use super::{duration, interfaces, list, name};

/// The rules at `entry`, in the order of the file. `guarded` are the
/// interfaces that the policy names, if it names any.
pub(super) fn read(
    entry: &Entry<'_, '_>,
    guarded: Option<&[String]>,
    sets: &Sets<'_>,
    report: &mut Report<'_>,
) -> Vec<Rule> {
    let Some(items) =
        entry.items(report, "a list of tables, each headed `[[rule]]` with two brackets")
    else {
        return Vec::new();
    };
    let mut rules = Vec::with_capacity(items.size_hint().0);
    let mut claims = Vec::with_capacity(items.size_hint().0);
    let mut lines: HashMap<String, u32> = HashMap::new();
    for (index, item) in items.enumerate() {
        let Some(section) = item.section(&RULE, report, "a table, headed `[[rule]]`") else {
            continue;
        };
        let line = report.line(item.at);
        let name = read_name(&section, report);
        if let Some((at, name)) = &name {
            if let Some(first) = lines.get(name) {
                let kind = ErrorKind::DuplicateRule { name: name.clone(), line: *first };
                report.error(*at, section.field.key("name"), kind);
            } else {
                lines.insert(name.clone(), line);
            }
        }
        let name = name.map_or_else(|| item.field.to_string(), |(_, name)| name);
        let (rule, written, complete) = read_rule(name, line, &section, guarded, sets, report);
        if complete {
            claims.push(Claim { rule: rules.len(), index, written });
        }
        rules.push(rule);
    }
    for conflict in conflicts::find(&rules, &claims) {
        let field = entry.field.item(conflict.index);
        let ports = field.key("ports");
        report.error(conflict.at, ports.item(conflict.port), conflict.kind);
    }
    rules
}

/// The name, and where it is written.
fn read_name(section: &Section<'_, '_>, report: &mut Report<'_>) -> Option<(usize, String)> {
    let entry = section.require("name", "name = \"ssh\"", report)?;
    let text = entry.string(report, "a string, such as \"ssh\"")?;
    if !name::is_valid(text) {
        report.error(entry.at, entry.field, ErrorKind::Name { name: shown(text) });
        return None;
    }
    Some((entry.at, text.to_owned()))
}

/// A rule, its ports as they are written, and whether enough of it could be
/// read to compare it with others.
fn read_rule(
    name: String,
    line: u32,
    section: &Section<'_, '_>,
    guarded: Option<&[String]>,
    sets: &Sets<'_>,
    report: &mut Report<'_>,
) -> (Rule, Vec<WrittenPorts>, bool) {
    let ports_entry = section.require("ports", "ports = [\"tcp/22\"]", report);
    let (written, ports) = match &ports_entry {
        Some(entry) => {
            let written = ports::read(entry, report);
            let merged = ports::merge(&written, entry, report);
            (written, merged)
        }
        None => Default::default(),
    };
    let from = match section.get("from") {
        Some(entry) => read_from(&entry, sets, report),
        None => Some(Source::Anywhere),
    };
    let interfaces_entry = section.get("interfaces");
    let interfaces = interfaces_entry.as_ref().and_then(|entry| {
        let remedy =
            "name an interface, or take the key out to let the rule hold for all that are guarded";
        interfaces::read(entry, remedy, guarded, report)
    });
    let complete = from.is_some() && interfaces.is_some() == interfaces_entry.is_some();
    let mode = section.get("mode").map_or(Mode::Enforce, |entry| read_mode(&entry, report));
    let only_udp = !ports.is_empty() && ports.iter().all(|range| range.protocol == Protocol::Udp);
    let idle_timeout = section.get("idle_timeout").and_then(|entry| {
        if only_udp {
            report.error(entry.at, entry.field, ErrorKind::NoTcpPort { key: "idle_timeout" });
            return None;
        }
        duration::read(&entry, report)
    });
    let mut limits = |scope| match section.get(scope) {
        Some(entry) => read_limits(&entry, only_udp, report),
        None => Limits::default(),
    };
    let (per_source, per_network, total) =
        (limits("per_source"), limits("per_network"), limits("total"));
    let from = from.unwrap_or(Source::Anywhere);
    let rule = Rule {
        name,
        ports,
        from,
        interfaces,
        mode,
        idle_timeout,
        per_source,
        per_network,
        total,
        line,
    };
    (rule, written, complete)
}

/// `None` where a part of it could not be read, which has been reported.
fn read_from(entry: &Entry<'_, '_>, sets: &Sets<'_>, report: &mut Report<'_>) -> Option<Source> {
    let list = list::read(
        entry,
        report,
        "a list of addresses, as in `from = [\"@operators\", \"2001:db8::/32\"]`",
    );
    if list.whole && list.entries.is_empty() {
        let remedy = "take the key out to let everybody in, or the rule to let nobody in";
        report.error(entry.at, entry.field, ErrorKind::EmptyList { remedy });
        return None;
    }
    let prefixes = list.expand(entry, sets, report)?;
    list.warn_of_empty_sets(entry, sets, "it lets nobody in", report);
    Some(prefixes.into())
}

fn read_limits(entry: &Entry<'_, '_>, only_udp: bool, report: &mut Report<'_>) -> Limits {
    let expected = "a table, as in `[rule.per_source]` with `packets = { rate = \"2000/s\" }`";
    let Some(section) = entry.section(&LIMITS, report, expected) else {
        return Limits::default();
    };
    for key in ["connections", "new_connections"] {
        if only_udp && let Some(entry) = section.get(key) {
            let field: Field<'_> = entry.field;
            report.error(section.at_key(key), field, ErrorKind::NoTcpPort { key });
        }
    }
    let connections = section.get("connections").and_then(|entry| {
        entry.integer_in(1, u32::MAX, report, "a number of connections, such as 8")
    });
    let mut read = |key, unit| section.get(key).and_then(|entry| rate::read(&entry, unit, report));
    Limits {
        connections: connections.and_then(NonZeroU32::new),
        new_connections: read("new_connections", Unit::Packets),
        packets: read("packets", Unit::Packets),
        bytes: read("bytes", Unit::Bytes),
    }
}
