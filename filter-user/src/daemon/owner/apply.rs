//! Changes of policy: whole or not at all.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use super::{Owner, change::Deadline, interfaces, sets};
use crate::{
    compile::compile,
    control::{Applied, Difference, Note, PolicyText},
    daemon::{DaemonError, is_same_file},
    policy::{self, Loaded, Policy},
};

/// A policy, and what it was made from.
#[derive(Debug)]
pub(super) struct InForce {
    /// As it was read: set files that change are put together with this.
    pub text: String,
    /// Where it was read.
    pub file: PathBuf,
    /// Of the text.
    pub sha256: String,
    /// What it means.
    pub loaded: Loaded,
}

impl InForce {
    pub(super) fn new(text: String, file: PathBuf, loaded: Loaded) -> Self {
        Self { sha256: sha256(text.as_bytes()), text, file, loaded }
    }

    /// What is in force before anything is.
    pub(super) fn nothing(file: PathBuf) -> Self {
        let loaded =
            Loaded { policy: Policy::default(), warnings: Vec::new(), set_files: Vec::new() };
        Self::new(String::new(), file, loaded)
    }
}

/// In hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts the interfaces of the command line in the place of the policy's.
pub(super) fn override_interfaces(policy: &mut Policy, interfaces: &[String]) {
    if !interfaces.is_empty() {
        let sorted: BTreeSet<&String> = interfaces.iter().collect();
        policy.interfaces = Some(sorted.into_iter().cloned().collect());
    }
}

impl Owner {
    /// Puts a policy in force; `None`: that of the daemon's own file. `patience`:
    /// for how long it waits for its confirmation, if it does.
    pub(super) fn apply(
        &mut self,
        policy: Option<PolicyText>,
        patience: Option<Duration>,
        force: bool,
    ) -> Result<Applied, DaemonError> {
        self.check_nothing_pending()?;
        let PolicyText { file, text } = self.policy_text(policy)?;
        let (loaded, contents) = self.judge(&text, &file)?;
        self.check_lock_out(&loaded.policy, force)?;
        let mut warnings: Vec<Note> = loaded.warnings.iter().map(Note::from).collect();
        let old = &self.in_force.loaded.policy;
        let new = &loaded.policy;
        let changes = policy::diff(old, new);
        warnings.extend(self.notes_on_change(new));
        let before = self.kept();
        let patience = patience.filter(|_| !changes.is_empty());
        let kept = contents.kept(&file, &text);
        let next = InForce::new(text, file.clone(), loaded);
        let mut until = None;
        if changes.is_empty() {
            self.in_force = next;
        } else if let Some(patience) = patience {
            until = Some(self.switch_pending(next, &kept, patience)?);
        } else {
            self.switch_to(next, None)?;
        }
        self.sets.replace(&self.in_force.loaded, contents);
        self.watch_sets();
        self.change.instead = None;
        if until.is_some() {
            self.change.pending = until;
            self.change.previous = Some(before);
        } else {
            let earlier = self.change.previous.take();
            let before = if changes.is_empty() { earlier } else { Some(before) };
            warnings.extend(self.confirmed(before));
        }
        for warning in &warnings {
            warn!("{warning}");
        }
        // Which was logged when it was tried.
        warnings.extend(self.metrics.problem().map(Note::new));
        info!(
            generation = self.generation,
            changes = changes.len(),
            "{} is in force",
            file.display()
        );
        Ok(self.applied(changes, warnings))
    }

    /// What is told of a change.
    pub(super) fn applied(&self, changes: Vec<policy::Change>, warnings: Vec<Note>) -> Applied {
        let file = &self.in_force.file;
        Applied {
            changes,
            warnings,
            generation: self.generation,
            file: file.display().to_string(),
            until_reload: !is_same_file(file, &self.own_file),
            pending_until: self.pending_until(),
        }
    }

    /// What [`apply`](Self::apply) would change.
    pub(super) fn diff(&self, policy: Option<PolicyText>) -> Result<Difference, DaemonError> {
        let PolicyText { file, text } = self.policy_text(policy)?;
        let (loaded, _) = self.judge(&text, &file)?;
        let mut warnings: Vec<Note> = loaded.warnings.iter().map(Note::from).collect();
        warnings.extend(self.notes_on_change(&loaded.policy));
        Ok(Difference {
            changes: policy::diff(&self.in_force.loaded.policy, &loaded.policy),
            warnings,
            file: file.display().to_string(),
        })
    }

    /// Puts a policy that was judged in force, interfaces included: new ones
    /// are guarded first, then the tables are switched, then those that go are
    /// freed. On failure nothing has changed. `until`: when the kernel takes it back.
    pub(super) fn switch_to(
        &mut self,
        next: InForce,
        until: Option<Deadline>,
    ) -> Result<(), DaemonError> {
        let policy = &next.loaded.policy;
        let (mut rules, mut numbers) = (self.rule_numbers.clone(), self.interface_numbers.clone());
        let tables = compile(policy, &mut rules, &mut numbers)?;
        let snapshot = self.snapshot()?;
        let wanted = self.guarded.wanted(policy, &snapshot);
        let known = self.in_force.loaded.policy.interfaces.as_deref().unwrap_or_default();
        interfaces::check_existence(policy, known, &snapshot)?;
        interfaces::check_stacks(&wanted, &snapshot)?;
        let staged = self.plane.stage(&tables)?;
        self.plane.note_rules(&rules)?;
        let is_first = self.generation == 0;
        if is_first {
            self.recount_under(tables);
            self.begin_to_count();
            // Before the first packet that this program judges. What an earlier
            // start has left goes by its own block until it is replaced.
            self.plane.activate(staged, None)?;
            if let Err(error) = self.guard_new(&wanted, &snapshot, policy.attach, &mut numbers) {
                self.plane.revert()?;
                return Err(error);
            }
        } else {
            self.guard_new(&wanted, &snapshot, policy.attach, &mut numbers)?;
            if let Err(error) = self.plane.activate(staged, until.map(|until| until.boot)) {
                let settled = self.guarded.settled();
                self.release_all_but(&settled);
                return Err(error.into());
            }
            self.recount_under(tables);
        }
        self.guarded.settle(policy, &wanted);
        self.rule_numbers = rules;
        self.interface_numbers = numbers;
        self.generation += 1;
        self.in_force = next;
        // What may be guarded again in a moment stays guarded.
        if until.is_none() {
            self.release_all_but(&wanted);
        }
        self.tell_loggers();
        self.follow_metrics();
        Ok(())
    }

    /// Frees what the policy in force does not want guarded.
    pub(super) fn release_unwanted(&mut self) -> Result<(), DaemonError> {
        let snapshot = self.snapshot()?;
        let wanted = self.guarded.wanted(&self.in_force.loaded.policy, &snapshot);
        self.release_all_but(&wanted);
        self.tell_loggers();
        Ok(())
    }

    /// With the interfaces of the command line in the place of its own.
    pub(super) fn overridden(&self, mut loaded: Loaded) -> Loaded {
        override_interfaces(&mut loaded.policy, &self.overrides);
        loaded
    }

    fn policy_text(&self, policy: Option<PolicyText>) -> Result<PolicyText, DaemonError> {
        match policy {
            Some(policy) => Ok(policy),
            None => {
                let file = self.own_file.clone();
                Ok(PolicyText { text: policy::read_text(&file)?, file })
            }
        }
    }

    /// Judges a text, with what its set files hold.
    fn judge(&self, text: &str, file: &Path) -> Result<(Loaded, sets::Contents), DaemonError> {
        let mut contents = sets::Contents::default();
        let loaded = policy::parse_with(text, file, &mut |path| contents.read(path))?;
        Ok((self.overridden(loaded), contents))
    }

    /// What a change does not do, or not at once.
    fn notes_on_change(&self, new: &Policy) -> Vec<Note> {
        let old = &self.in_force.loaded.policy;
        let mut notes = Vec::new();
        if old.tables != new.tables && new.tables != self.tables_at_start {
            notes.push(Note::new("`[tables]` takes effect at the daemon's next start"));
        }
        let stays =
            |name: &String| new.interfaces.as_ref().is_none_or(|names| names.contains(name));
        let mut others = self.guarded.attached_otherwise(new.attach);
        others.retain(stays);
        if old.attach != new.attach && !others.is_empty() {
            notes.push(Note::new(format!(
                "`attach` takes effect for what is guarded already when it is guarded anew, after `nodewall detach`: {}",
                others.join(", ")
            )));
        }
        for name in self.guarded.missing() {
            if new.interfaces.as_ref().is_some_and(|names| names.contains(&name)) {
                notes.push(Note::new(format!(
                    "interface {name} is not there: it is guarded as soon as it comes back"
                )));
            }
        }
        notes
    }
}
