//! Lists of addresses: prefixes and `@sets`.

use std::sync::Arc;

use ipnet::IpNet;

use super::address;
use super::report::Report;
use super::section::Entry;
use super::sets::Sets;
use super::suggest::shown;
use super::warning::WarningKind;

/// Prefixes of one list that are warned about each by itself.
pub(super) const LISTED: usize = 5;

const EXPECTED_ITEM: &str =
    "a string such as \"203.0.113.7\", \"2001:db8:1::/48\" or \"@operators\"";

/// One entry of a list.
#[derive(Clone, Copy)]
pub(super) enum Item<'a> {
    Net(IpNet),
    /// The name of a set, without `@`.
    Set(&'a str),
}

/// One entry of a list, and where it is written.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub item: Item<'a>,
    /// Its byte offset in the policy.
    pub at: usize,
    /// Its place in the list.
    pub index: usize,
}

/// The good entries of a list, and whether all were good.
pub(super) struct List<'a> {
    pub entries: Vec<Written<'a>>,
    pub whole: bool,
}

/// Reads the list at `entry`; reports and leaves out what is no address.
pub(super) fn read<'a>(
    entry: &Entry<'_, 'a>,
    report: &mut Report<'_>,
    expected: &'static str,
) -> List<'a> {
    let mut list = List { entries: Vec::new(), whole: false };
    let Some(items) = entry.items(report, expected) else {
        return list;
    };
    list.whole = true;
    list.entries.reserve(items.size_hint().0);
    let mut with_host_bits = 0;
    for (index, value) in items.enumerate() {
        let Some(text) = value.string(report, EXPECTED_ITEM) else {
            list.whole = false;
            continue;
        };
        let item = match text.strip_prefix('@') {
            Some(name) => Item::Set(name),
            None => match address::parse(text) {
                Ok((network, host_bits)) => {
                    if host_bits {
                        with_host_bits += 1;
                        if with_host_bits <= LISTED {
                            let kind = WarningKind::HostBits { written: shown(text), network };
                            report.warn(value.at, value.field, kind);
                        }
                    }
                    Item::Net(network)
                }
                Err(error) => {
                    report.error(value.at, value.field, error);
                    list.whole = false;
                    continue;
                }
            },
        };
        list.entries.push(Written { item, at: value.at, index });
    }
    if let Some(count) = with_host_bits.checked_sub(LISTED).filter(|count| *count > 0) {
        report.warn(entry.at, entry.field, WarningKind::MoreHostBits { count });
    }
    list
}

impl List<'_> {
    /// The prefixes that the list stands for, sorted, each once. `None` where
    /// a part of it could not be read, which has been reported.
    pub fn expand(
        &self,
        entry: &Entry<'_, '_>,
        sets: &Sets<'_>,
        report: &mut Report<'_>,
    ) -> Option<Arc<[IpNet]>> {
        let mut whole = self.whole;
        let mut nets = Vec::with_capacity(self.entries.len());
        let mut only = None;
        for written in &self.entries {
            match written.item {
                Item::Net(network) => nets.push(network),
                Item::Set(name) => {
                    match sets.find(name, written.at, entry.field.item(written.index), report) {
                        // The usual list is one set: it is shared, not copied.
                        Some(list) if self.entries.len() == 1 => only = Some(Arc::clone(list)),
                        Some(list) => nets.extend_from_slice(list),
                        None => whole = false,
                    }
                }
            }
        }
        whole.then(|| only.unwrap_or_else(|| sorted(nets)))
    }

    /// Warns of each set that the list names and that is empty.
    pub fn warn_of_empty_sets(
        &self,
        entry: &Entry<'_, '_>,
        sets: &Sets<'_>,
        effect: &'static str,
        report: &mut Report<'_>,
    ) {
        for written in &self.entries {
            if let Item::Set(name) = written.item
                && sets.is_empty(name)
            {
                let kind = WarningKind::EmptySet { name: shown(name), effect };
                report.warn(written.at, entry.field.item(written.index), kind);
            }
        }
    }
}

/// `nets` in order, each once. A prefix inside of another stays: in a rule it
/// may win over another rule's that lies between.
pub(super) fn sorted(mut nets: Vec<IpNet>) -> Arc<[IpNet]> {
    nets.sort_unstable();
    nets.dedup();
    nets.into()
}
