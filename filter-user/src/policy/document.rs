//! The policy from the top of its document: everything but sets and rules.

use std::path::Path;

use toml::de::DeTable;

use super::error::ErrorKind;
use super::field::Field;
use super::model::{Attach, FlowTables, Icmp, Mode, OnStop, Policy, Prefixes, Tables};
use super::report::Report;
use super::schema::{ICMP, PREFIXES, SERVICE, TABLES, TOP};
use super::section::{Entry, Section};
use super::sets::{self, Read, Sets};
use super::suggest::shown;
use super::warning::WarningKind;
use super::{SetFile, interfaces, log, metrics, protocols, rate, rules, sources};

/// Most entries that a table of the kernel may be asked for.
const LARGEST_TABLE: u32 = 1 << 24;

/// What `document` means. It is a policy only if nothing was reported as an error.
pub(super) fn read(
    document: &DeTable<'_>,
    folder: &Path,
    read: &mut Read<'_>,
    report: &mut Report<'_>,
) -> (Policy, Vec<SetFile>) {
    let top = Section::new(Field::Top, document, 0, &TOP, report);
    let mut policy = Policy::default();

    if let Some(entry) = top.get("interfaces") {
        let remedy =
            "name an interface, or take the key out to guard every one with a default route";
        policy.interfaces = interfaces::read(&entry, remedy, None, report);
    }
    if let Some(entry) = top.get("mode") {
        policy.mode = read_mode(&entry, report);
    }
    if let Some(entry) = top.get("attach") {
        let choices =
            [("auto", Attach::Auto), ("native", Attach::Native), ("generic", Attach::Generic)];
        policy.attach =
            choice(&entry, &["auto", "native", "generic"], choices, report).unwrap_or(Attach::Auto);
    }
    let sets_entry = top.get("sets");
    let sets = match &sets_entry {
        Some(entry) => sets::read(entry, folder, read, report),
        None => Sets::default(),
    };
    if let Some(entry) = top.get("sources") {
        let lists = sources::read(&entry, &sets, report);
        policy.trusted = lists.trusted;
        policy.denied = lists.denied;
    }
    if let Some(entry) = top.get("icmp") {
        policy.icmp = read_icmp(&entry, report);
    }
    if let Some(entry) = top.get("protocols") {
        policy.protocols = protocols::read(&entry, report);
    }
    if let Some(entry) = top.get("prefixes") {
        policy.prefixes = read_prefixes(&entry, report);
    }
    if let Some(entry) = top.get("log") {
        policy.log = log::read(&entry, folder, report);
    }
    if let Some(entry) = top.get("tables") {
        policy.tables = read_tables(&entry, report);
    }
    if let Some(entry) = top.get("service")
        && let Some(section) =
            entry.section(&SERVICE, report, "a table, as in `[service]` with `on_stop = \"keep\"`")
        && let Some(entry) = section.get("on_stop")
    {
        let choices = [("keep", OnStop::Keep), ("detach", OnStop::Detach)];
        policy.on_stop =
            choice(&entry, &["keep", "detach"], choices, report).unwrap_or(OnStop::Keep);
    }
    if let Some(entry) = top.get("metrics") {
        policy.metrics = metrics::read(&entry, report);
    }
    if let Some(entry) = top.get("rule") {
        policy.rules = rules::read(&entry, policy.interfaces.as_deref(), &sets, report);
    }
    if policy.rules.is_empty() {
        report.warn_whole(WarningKind::NoRules);
    }
    (policy, sets.files)
}

/// `mode`, at the top or in a rule.
pub(super) fn read_mode(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Mode {
    let choices = [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)];
    choice(entry, &["enforce", "monitor"], choices, report).unwrap_or(Mode::Enforce)
}

fn choice<T, const N: usize>(
    entry: &Entry<'_, '_>,
    valid: &'static [&'static str],
    choices: [(&str, T); N],
    report: &mut Report<'_>,
) -> Option<T> {
    let text = entry.string(report, "one of the words that are allowed here, as a string")?;
    let found = choices.into_iter().find(|(word, _)| *word == text);
    if found.is_none() {
        report.error(entry.at, entry.field, ErrorKind::Choice { found: shown(text), valid });
    }
    found.map(|(_, value)| value)
}

fn read_icmp(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Icmp {
    let Some(section) =
        entry.section(&ICMP, report, "a table, as in `[icmp]` with `echo = { rate = \"10/s\" }`")
    else {
        return Icmp::default();
    };
    let echo = section.get("echo").and_then(|entry| rate::read_or_false(&entry, report));
    let errors = section.get("errors").and_then(|entry| rate::read_or_false(&entry, report));
    Icmp { echo, errors }
}

fn read_prefixes(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Prefixes {
    let default = Prefixes::default();
    let Some(section) =
        entry.section(&PREFIXES, report, "a table, as in `[prefixes]` with `source_ipv6 = 64`")
    else {
        return default;
    };
    let mut read = |key, default, most| match section.get(key) {
        Some(entry) => {
            entry.integer_in(1, most, report, "a prefix length, such as 24").unwrap_or(default)
        }
        None => default,
    };
    let source_ipv4 = read("source_ipv4", default.source_ipv4, 32);
    let source_ipv6 = read("source_ipv6", default.source_ipv6, 128);
    // A network holds sources whole. Where only the source's length is
    // written, and is shorter than a network's would be, they are the same.
    Prefixes {
        source_ipv4,
        source_ipv6,
        network_ipv4: read("network_ipv4", default.network_ipv4.min(source_ipv4), source_ipv4),
        network_ipv6: read("network_ipv6", default.network_ipv6.min(source_ipv6), source_ipv6),
    }
}

fn read_tables(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Tables {
    let default = Tables::default();
    let Some(section) =
        entry.section(&TABLES, report, "a table, as in `[tables]` with `bans = 1_000_000`")
    else {
        return default;
    };
    let mut read = |key, default| match section.get(key) {
        Some(entry) => entry
            .integer_in(1, LARGEST_TABLE, report, "a number of entries, such as 1_000_000")
            .unwrap_or(default),
        None => default,
    };
    let flows = default.flows;
    Tables {
        bans: read("bans", default.bans),
        sources: read("sources", default.sources),
        known: read("known", default.known),
        flows: FlowTables {
            flows: read("flows", flows.flows),
            answered: read("answered", flows.answered),
            half_open: read("half_open", flows.half_open),
            asked: read("asked", flows.asked),
        },
        slots: read("slots", default.slots),
        fragments: read("fragments", default.fragments),
        flow_log: read("flow_log", default.flow_log),
    }
}
