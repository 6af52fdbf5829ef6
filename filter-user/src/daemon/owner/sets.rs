//! Set files: what they held when they were last good, and what became of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use tracing::{error, info, warn};

use super::{Owner, apply::InForce};
use crate::{
    control::SetEntry,
    daemon::watch::Signature,
    policy::{self, Errors, Loaded, ReadError, read_file},
    state::policies::Kept,
    telemetry::metrics,
};

/// What was read from each file.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Contents {
    bytes: HashMap<PathBuf, Vec<u8>>,
    /// As they were just before they were read.
    signatures: HashMap<PathBuf, Option<Signature>>,
}

impl Contents {
    /// What was kept of files, taken for what they hold until they change.
    pub(in crate::daemon) fn of(sets: &BTreeMap<PathBuf, String>) -> Self {
        Self {
            bytes: sets.iter().map(|(path, text)| (path.clone(), text.clone().into())).collect(),
            signatures: sets.keys().map(|path| (path.clone(), Signature::of(path))).collect(),
        }
    }

    /// A policy with what was read for it, whole.
    pub(in crate::daemon) fn kept(&self, file: &Path, text: &str) -> Kept {
        kept(file, text, &self.bytes)
    }

    /// Reads a file, once.
    pub(in crate::daemon) fn read(&mut self, path: &Path) -> Result<Vec<u8>, ReadError> {
        if let Some(bytes) = self.bytes.get(path) {
            return Ok(bytes.clone());
        }
        self.signatures.insert(path.to_owned(), Signature::of(path));
        let bytes = read_file(path)?;
        self.bytes.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

/// The files of the sets in force.
#[derive(Debug, Default)]
pub(super) struct SetStore {
    /// What is in force.
    good: HashMap<PathBuf, Vec<u8>>,
    /// Of the files as they were last looked at.
    seen: HashMap<PathBuf, Option<Signature>>,
    /// By set: why its file as it is now is not in force.
    problems: BTreeMap<String, String>,
    /// By set: how often its file could not be taken.
    read_errors: BTreeMap<String, u64>,
}

/// Set files are text: one that is not was refused.
fn kept(file: &Path, text: &str, bytes: &HashMap<PathBuf, Vec<u8>>) -> Kept {
    let content = |(path, bytes): (&PathBuf, &Vec<u8>)| {
        (path.clone(), String::from_utf8_lossy(bytes).into_owned())
    };
    let sets = bytes.iter().map(content).collect();
    Kept { file: file.to_owned(), text: text.to_owned(), sets }
}

impl SetStore {
    /// A policy with the sets in force, whole.
    pub(super) fn kept(&self, file: &Path, text: &str) -> Kept {
        kept(file, text, &self.good)
    }

    /// After a change of policy: its sets are those of these contents.
    pub(super) fn replace(&mut self, loaded: &Loaded, contents: Contents) {
        let named: BTreeSet<&PathBuf> = loaded.set_files.iter().map(|file| &file.path).collect();
        self.good = contents.bytes;
        self.good.retain(|path, _| named.contains(path));
        self.seen = contents.signatures;
        self.problems.clear();
    }

    /// The sets of a policy and how their files fare.
    pub(super) fn entries(&self, loaded: &Loaded) -> Vec<SetEntry> {
        let entry = |file: &policy::SetFile| SetEntry {
            name: file.name.clone(),
            file: file.path.display().to_string(),
            problem: self.problems.get(&file.name).cloned(),
        };
        loaded.set_files.iter().map(entry).collect()
    }

    /// The same for metrics.
    pub(super) fn metrics(&self, loaded: &Loaded) -> Vec<metrics::Set> {
        let set = |file: &policy::SetFile| metrics::Set {
            name: file.name.clone(),
            in_force: !self.problems.contains_key(&file.name),
            read_errors: self.read_errors.get(&file.name).copied().unwrap_or(0),
        };
        loaded.set_files.iter().map(set).collect()
    }

    fn has_changed(&self, loaded: &Loaded) -> bool {
        loaded
            .set_files
            .iter()
            .any(|file| self.seen.get(&file.path).copied().flatten() != Signature::of(&file.path))
    }
}

/// The policy in force with its set files as they are now.
struct Reread {
    loaded: Loaded,
    contents: Contents,
    problems: BTreeMap<String, String>,
}

impl Owner {
    /// Watches the directories of the set files in force.
    pub(super) fn watch_sets(&mut self) {
        self.watch.set(self.in_force.loaded.set_files.iter().map(|file| file.path.as_path()));
    }

    /// Puts set files that have changed in force. Where one is missing or bad,
    /// or is in conflict with the rest, its earlier content stays.
    pub(super) fn reread_sets(&mut self) {
        if self.change.pending.is_some() || !self.sets.has_changed(&self.in_force.loaded) {
            return;
        }
        let Reread { mut loaded, contents, mut problems } = self.reread();
        self.sets.seen.extend(contents.signatures);
        loaded = self.overridden(loaded);
        if loaded.policy == self.in_force.loaded.policy {
            self.sets.good.extend(contents.bytes);
        } else {
            let changes = policy::diff(&self.in_force.loaded.policy, &loaded.policy);
            let InForce { text, file, .. } = &self.in_force;
            let next = InForce::new(text.clone(), file.clone(), loaded);
            match self.switch_to(next, None) {
                Ok(()) => {
                    self.sets.good.extend(contents.bytes);
                    let before = self.change.previous.take();
                    self.confirmed(before).iter().for_each(|note| warn!("{note}"));
                    for change in &changes {
                        info!(generation = self.generation, "set files were read again: {change}");
                    }
                }
                Err(error) => {
                    for file in &self.in_force.loaded.set_files {
                        problems.entry(file.name.clone()).or_insert_with(|| error.to_string());
                    }
                    // Whatever it was may be over at the next look.
                    self.sets.seen.clear();
                }
            }
        }
        self.tell_of_problems(problems);
    }

    fn tell_of_problems(&mut self, problems: BTreeMap<String, String>) {
        for (name, problem) in &problems {
            *self.sets.read_errors.entry(name.clone()).or_default() += 1;
            if self.sets.problems.get(name) != Some(problem) {
                error!("the set `{name}` keeps its earlier content: {problem}");
            }
        }
        for name in self.sets.problems.keys().filter(|name| !problems.contains_key(*name)) {
            info!("the set `{name}` is read from its file again");
        }
        self.sets.problems = problems;
    }

    fn reread(&self) -> Reread {
        let InForce { text, file, loaded: now, .. } = &self.in_force;
        let mut fresh = Contents::default();
        let mut problems = BTreeMap::new();
        let mut kept: BTreeSet<PathBuf> = BTreeSet::new();
        loop {
            let mut read = |path: &Path| match self.sets.good.get(path) {
                Some(bytes) if kept.contains(path) => Ok(bytes.clone()),
                _ => fresh.read(path),
            };
            let errors = match policy::parse_with(text, file, &mut read) {
                Ok(loaded) => {
                    fresh.bytes.retain(|path, _| !kept.contains(path));
                    return Reread { loaded, contents: fresh, problems };
                }
                Err(Errors(errors)) => errors,
            };
            let before = kept.len();
            for set in now.set_files.iter() {
                let of_set = errors.iter().find(|error| error.set.as_deref() == Some(&set.name));
                if let Some(error) = of_set {
                    kept.insert(set.path.clone());
                    problems.entry(set.name.clone()).or_insert_with(|| error.to_string());
                }
            }
            if kept.len() > before {
                continue;
            }
            // Good files that do not go together: all stay as they were.
            let why = errors.first().map(ToString::to_string).unwrap_or_default();
            for set in &now.set_files {
                if !kept.contains(&set.path)
                    && fresh.bytes.get(&set.path) != self.sets.good.get(&set.path)
                {
                    problems.insert(set.name.clone(), why.clone());
                }
            }
            if problems.is_empty() {
                warn!("the policy in force could not be put together again: {why}");
            }
            fresh.bytes.clear();
            return Reread { loaded: now.clone(), contents: fresh, problems };
        }
    }
}
