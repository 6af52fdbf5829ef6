//! `[sources]`: who is trusted, who is denied.

use ipnet::IpNet;

use super::list::{self, Item, List};
use super::report::Report;
use super::schema::SOURCES;
use super::section::{Entry, Section};
use super::sets::Sets;
use super::warning::WarningKind;

/// Both lists, each sorted and aggregated.
#[derive(Default)]
pub(super) struct Sources {
    pub trusted: Vec<IpNet>,
    pub denied: Vec<IpNet>,
}

pub(super) fn read(entry: &Entry<'_, '_>, sets: &Sets<'_>, report: &mut Report<'_>) -> Sources {
    let expected = "a table, as in `[sources]` with `trusted = [\"10.8.0.0/24\"]`";
    let Some(section) = entry.section(&SOURCES, report, expected) else {
        return Sources::default();
    };
    let trusted = read_list(&section, "trusted", "it trusts nobody", sets, report);
    let denied = read_list(&section, "denied", "it denies nobody", sets, report);
    let trusted_nets = trusted.as_ref().map(|list| list.nets.clone()).unwrap_or_default();
    if let Some(trusted) = &trusted {
        warn_of_everybody(trusted, sets, report);
    }
    if let Some(denied) = &denied {
        warn_of_no_effect(denied, &trusted_nets, sets, report);
    }
    Sources { trusted: trusted_nets, denied: denied.map(|list| list.nets).unwrap_or_default() }
}

/// A list as it is written, and what it stands for.
struct Read<'f, 'd> {
    entry: Entry<'f, 'd>,
    list: List<'d>,
    nets: Vec<IpNet>,
}

fn read_list<'s, 'd>(
    section: &'s Section<'_, 'd>,
    key: &str,
    if_empty: &'static str,
    sets: &Sets<'_>,
    report: &mut Report<'_>,
) -> Option<Read<'s, 'd>> {
    let entry = section.get(key)?;
    let list = list::read(
        &entry,
        report,
        "a list of addresses, as in `[\"10.8.0.0/24\", \"@operators\"]`",
    );
    let nets = list.expand(&entry, sets, report)?;
    list.warn_of_empty_sets(&entry, sets, if_empty, report);
    // Nothing is decided between these prefixes: fewer mean the same.
    let nets = IpNet::aggregate(&nets.to_vec());
    Some(Read { entry, list, nets })
}

/// The prefixes of one entry of a list.
fn nets_of<'n>(item: &'n Item<'_>, sets: &'n Sets<'_>) -> &'n [IpNet] {
    match item {
        Item::Net(network) => std::slice::from_ref(network),
        Item::Set(name) => sets.prefixes(name),
    }
}

/// A default route is nobody's address: most likely it was not meant.
fn warn_of_everybody(trusted: &Read<'_, '_>, sets: &Sets<'_>, report: &mut Report<'_>) {
    for written in &trusted.list.entries {
        for prefix in nets_of(&written.item, sets).iter().filter(|net| net.prefix_len() == 0) {
            let family = if prefix.addr().is_ipv4() { "IPv4" } else { "IPv6" };
            let kind = WarningKind::TrustsEverybody { prefix: *prefix, family };
            report.warn(written.at, trusted.entry.field.item(written.index), kind);
        }
    }
}

/// Trusted is asked before denied, whatever the lengths of the prefixes.
fn warn_of_no_effect(
    denied: &Read<'_, '_>,
    trusted: &[IpNet],
    sets: &Sets<'_>,
    report: &mut Report<'_>,
) {
    for written in &denied.list.entries {
        let mut inside = nets_of(&written.item, sets).iter().filter(|net| is_inside(trusted, net));
        if let Some(prefix) = inside.next() {
            let kind = WarningKind::DeniedButTrusted { prefix: *prefix, count: 1 + inside.count() };
            report.warn(written.at, denied.entry.field.item(written.index), kind);
        }
    }
}

/// Whether one of `nets`, which are sorted and none inside another, holds `net`.
fn is_inside(nets: &[IpNet], net: &IpNet) -> bool {
    let after = nets.partition_point(|other| other.network() <= net.network());
    after.checked_sub(1).is_some_and(|last| nets[last].contains(net))
}
