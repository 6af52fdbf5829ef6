//! Named addresses: `[sets]`, from the policy, from files and from each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use super::SetFile;
use super::error::ErrorKind;
use super::field::Field;
use super::list::{self, Item, List};
use super::name;
use super::read::ReadError;
use super::report::{Report, SetPlace};
use super::schema::SET;
use super::section::{Entry, Section};
use super::set_file::{self, Target};
use super::suggest::{nearest, shown};

/// How many sets may hold each other, one inside of the next.
const DEEPEST: usize = 16;

const EXPECTED: &str = "a list of addresses, or `{ file = \"peers.txt\" }`";

/// How the content of a set file is got.
pub(super) type Read<'r> = dyn FnMut(&Path) -> Result<Vec<u8>, ReadError> + 'r;

/// The sets of a policy, looked up by their names.
#[derive(Default)]
pub(super) struct Sets<'a> {
    /// `None`: defined, but not well.
    lists: BTreeMap<&'a str, Option<Arc<[IpNet]>>>,
    /// `[sets]` itself could not be read: any name might have been there.
    unreadable: bool,
    /// The files that they come from, by name.
    pub files: Vec<SetFile>,
}

impl Sets<'_> {
    /// The prefixes of the set `name`, which the policy names at byte `at`;
    /// `None` after a report, or where the set itself has been reported.
    pub fn find(
        &self,
        name: &str,
        at: usize,
        field: Field<'_>,
        report: &mut Report<'_>,
    ) -> Option<&Arc<[IpNet]>> {
        match self.lists.get(name) {
            Some(list) => list.as_ref(),
            None => {
                if !self.unreadable {
                    report_unknown(name, self.lists.keys().copied(), at, field, report);
                }
                None
            }
        }
    }

    /// The prefixes of the set `name`, none if there is no good one.
    pub fn prefixes(&self, name: &str) -> &[IpNet] {
        self.lists.get(name).and_then(Option::as_deref).unwrap_or_default()
    }

    /// Whether `name` is a good set without an address.
    pub fn is_empty(&self, name: &str) -> bool {
        matches!(self.lists.get(name), Some(Some(list)) if list.is_empty())
    }
}

fn report_unknown<'n>(
    name: &str,
    names: impl Iterator<Item = &'n str>,
    at: usize,
    field: Field<'_>,
    report: &mut Report<'_>,
) {
    let nearest = if report.is_full() { None } else { nearest(name, names).map(str::to_owned) };
    report.error(at, field, ErrorKind::UnknownSet { name: shown(name), nearest });
}

/// Reads `[sets]`, with every file in it. `folder` is what their paths are relative to.
pub(super) fn read<'a>(
    entry: &'a Entry<'_, 'a>,
    folder: &Path,
    read: &mut Read<'_>,
    report: &mut Report<'_>,
) -> Sets<'a> {
    let Some(table) = entry
        .table(report, "a table of sets, as in `operators = [\"203.0.113.7\"]` below `[sets]`")
    else {
        return Sets { unreadable: true, ..Sets::default() };
    };
    let mut sets = Sets::default();
    let mut definitions = BTreeMap::new();
    for (key, value) in table {
        let key_text: &str = key.get_ref();
        if !name::is_valid(key_text) {
            let kind = ErrorKind::Name { name: shown(key_text) };
            report.error(key.span().start, entry.field.key(key_text), kind);
        }
        let value = Entry::new(entry.field.key(key_text), value);
        if value.is_table() {
            let list = value.section(&SET, report, EXPECTED).and_then(|section| {
                read_from_file(key_text, &section, folder, read, &mut sets.files, report)
            });
            sets.lists.insert(key_text, list);
        } else {
            let list = list::read(&value, report, EXPECTED);
            definitions.insert(key_text, Definition { field: value.field, list });
        }
    }
    let mut resolver =
        Resolver { definitions: &definitions, lists: &mut sets.lists, heights: BTreeMap::new() };
    for name in definitions.keys() {
        resolver.resolve(name, &mut Vec::new(), report);
    }
    sets
}

fn read_from_file(
    name: &str,
    section: &Section<'_, '_>,
    folder: &Path,
    read: &mut Read<'_>,
    files: &mut Vec<SetFile>,
    report: &mut Report<'_>,
) -> Option<Arc<[IpNet]>> {
    let entry = section.require("file", "file = \"peers.txt\"", report)?;
    let text = entry.string(report, "the path of a file, such as \"peers.txt\"")?;
    if text.chars().any(char::is_control) {
        report.error(entry.at, entry.field, ErrorKind::SetPath { path: shown(text) });
        return None;
    }
    let path = folder.join(text);
    let path: PathBuf = std::path::absolute(&path).unwrap_or(path);
    files.push(SetFile { name: name.to_owned(), path: path.clone() });
    match read(&path) {
        Ok(bytes) => {
            let target = Target { name, field: section.field, at: entry.at };
            set_file::parse(&bytes, &path, &target, report)
        }
        Err(reason) => {
            let place = SetPlace { file: &path, set: name, position: None, at: entry.at };
            report.set_file_error(
                &place,
                entry.field,
                ErrorKind::SetFile { path: path.clone(), reason },
            );
            None
        }
    }
}

/// A set that is written in the policy.
struct Definition<'a> {
    field: Field<'a>,
    list: List<'a>,
}

/// Follows sets into the sets that they name.
struct Resolver<'r, 'a> {
    definitions: &'r BTreeMap<&'a str, Definition<'a>>,
    /// What is known so far; those from files are from the beginning.
    lists: &'r mut BTreeMap<&'a str, Option<Arc<[IpNet]>>>,
    /// How many sets deep each is; one that names no other is 1.
    heights: BTreeMap<&'a str, usize>,
}

impl<'a> Resolver<'_, 'a> {
    /// Fills in `lists` and `heights` for `name`. `above` are the sets that are being
    /// resolved, each named by the one before it; recursion ends at [`DEEPEST`].
    fn resolve(&mut self, name: &'a str, above: &mut Vec<&'a str>, report: &mut Report<'_>) {
        let Some(definition) = self.definitions.get(name) else {
            return;
        };
        if self.lists.contains_key(name) {
            return;
        }
        above.push(name);
        let mut whole = definition.list.whole;
        let mut height = 1;
        let mut nets = Vec::new();
        for written in &definition.list.entries {
            let field = definition.field.item(written.index);
            let inner = match written.item {
                Item::Net(network) => {
                    nets.push(network);
                    continue;
                }
                Item::Set(inner) => inner,
            };
            if let Some(start) = above.iter().position(|outer| *outer == inner) {
                let circle =
                    above[start..].iter().chain([&inner]).map(|name| shown(name)).collect();
                report.error(written.at, field, ErrorKind::SetCircle { circle });
                whole = false;
                continue;
            }
            if above.len() < DEEPEST {
                self.resolve(inner, above, report);
            }
            let depth = self.heights.get(inner).copied().unwrap_or(1);
            match self.lists.get(inner) {
                Some(Some(list)) if depth < DEEPEST => {
                    height = height.max(depth + 1);
                    nets.extend_from_slice(list);
                }
                // It has been reported itself.
                Some(None) => whole = false,
                None if !self.definitions.contains_key(inner) => {
                    let names = self.definitions.keys().chain(self.lists.keys()).copied();
                    report_unknown(inner, names, written.at, field, report);
                    whole = false;
                }
                Some(Some(_)) | None => {
                    report.error(written.at, field, ErrorKind::SetDepth { deepest: DEEPEST });
                    whole = false;
                }
            }
        }
        above.pop();
        self.heights.insert(name, height);
        self.lists.insert(name, whole.then(|| list::sorted(nets)));
    }
}
