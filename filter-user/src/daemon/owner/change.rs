//! What becomes of a change of policy: confirmed, or taken back.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;
use tracing::{error, info, warn};

use super::{Contents, Owner, apply::InForce};
use crate::{
    control::{Applied, Note},
    daemon::DaemonError,
    dataplane::{BootTime, boot_time},
    policy,
    state::policies::{Kept, Policies},
};

/// The least and the most time that there is for a confirmation.
const PATIENCE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// Until when a change must be confirmed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    /// By which the kernel goes.
    pub boot: BootTime,
    /// Which people read.
    pub wall: SystemTime,
}

/// What is known of the last change.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Where policies are kept; `None`: nowhere.
    pub policies: Option<Policies>,
    /// Until when the policy in force must be confirmed.
    pub pending: Option<Deadline>,
    /// To what a rollback leads.
    pub previous: Option<Kept>,
    /// Why the policy in force is not that of the daemon's file.
    pub instead: Option<String>,
}

impl Owner {
    /// A change waits for its confirmation: no other may come before.
    pub(super) fn check_nothing_pending(&self) -> Result<(), DaemonError> {
        match self.change.pending {
            Some(until) => Err(DaemonError::Pending(shown(until))),
            None => Ok(()),
        }
    }

    /// Puts a policy in force that must be confirmed: until when. From before it
    /// is on a start does not load it; where it cannot be put in force it may.
    pub(super) fn switch_pending(
        &mut self,
        next: InForce,
        kept: &Kept,
        patience: Duration,
    ) -> Result<Deadline, DaemonError> {
        if !PATIENCE.contains(&patience) {
            return Err(DaemonError::Patience);
        }
        let policies = self.change.policies.clone();
        let doubted = policies
            .as_ref()
            .map(|policies| policies.doubt(kept, "was never confirmed"))
            .transpose()?;
        let until = Deadline { boot: boot_time() + patience, wall: SystemTime::now() + patience };
        if let Err(error) = self.switch_to(next, Some(until)) {
            if let (Some(policies), Some(doubted)) = (policies, doubted)
                && let Err(error) = policies.set_doubted(&doubted)
            {
                error!("a start will not load what could not be applied: {error}");
            }
            return Err(error);
        }
        Ok(until)
    }

    /// The policy in force, whole.
    pub(super) fn kept(&self) -> Kept {
        let InForce { text, file, .. } = &self.in_force;
        self.sets.kept(file, text)
    }

    /// The policy in force is confirmed: a start may load it. `before`: what a
    /// rollback leads to from now on.
    pub(super) fn confirmed(&mut self, before: Option<Kept>) -> Vec<Note> {
        self.change.previous = before;
        let Some(policies) = &self.change.policies else { return Vec::new() };
        let kept = policies.confirm(&self.kept(), self.change.previous.as_ref());
        let note = |error| {
            Note::new(format!("the policy is in force, and not kept for a reboot: {error}"))
        };
        kept.err().map(note).into_iter().collect()
    }

    /// A start is a confirmed change, unless it goes back to what was confirmed.
    pub(super) fn note_first(&mut self, kept: &Kept) {
        let Some(policies) = self.change.policies.clone() else { return };
        let confirmed = policies.confirmed().ok().flatten();
        self.change.previous = match confirmed {
            Some(confirmed) if confirmed != *kept => Some(confirmed),
            _ => policies.previous().ok().flatten(),
        };
        if self.change.instead.is_none() {
            let before = self.change.previous.take();
            self.confirmed(before).iter().for_each(|note| warn!("{note}"));
        }
    }

    /// Keeps what was applied last.
    pub(super) fn confirm(&mut self) -> Result<Applied, DaemonError> {
        let until = self.change.pending.ok_or(DaemonError::NothingPending)?;
        if boot_time() >= until.boot {
            self.take_back_in_time();
            return Err(DaemonError::TooLate(shown(until)));
        }
        self.plane.settle()?;
        self.change.pending = None;
        let before = self.change.previous.take();
        let mut warnings = self.confirmed(before);
        if let Err(error) = self.release_unwanted() {
            let text = format!("what the policy does not name is still guarded: {error}");
            warnings.push(Note::new(text));
        }
        info!(generation = self.generation, "the change is confirmed");
        Ok(self.applied(Vec::new(), warnings))
    }

    /// Takes back what was applied last.
    pub(super) fn rollback(&mut self, force: bool) -> Result<Applied, DaemonError> {
        let previous = self.change.previous.clone().ok_or(DaemonError::NothingToTakeBack)?;
        let next = self.put_together(&previous)?;
        self.check_lock_out(&next.0.loaded.policy, force)?;
        let changes = policy::diff(&self.in_force.loaded.policy, &next.0.loaded.policy);
        let warnings = self.take_back(previous, next, "was rolled back")?;
        info!(generation = self.generation, changes = changes.len(), "rolled back");
        Ok(self.applied(changes, warnings))
    }

    /// Takes back what was not confirmed in time. The kernel has done so itself
    /// by then; this follows it.
    pub(super) fn take_back_in_time(&mut self) {
        let Some(until) = self.change.pending else { return };
        if boot_time() < until.boot {
            return;
        }
        let Some(previous) = self.change.previous.clone() else { return };
        let taken = self
            .put_together(&previous)
            .and_then(|next| self.take_back(previous, next, "was not confirmed in time"));
        match taken {
            Ok(_) => warn!(
                generation = self.generation,
                "the change was not confirmed by {}: the policy before it is in force again",
                shown(until)
            ),
            // The kernel goes by the earlier policy all the same. Tried again.
            Err(error) => error!("what was not confirmed could not be taken back whole: {error}"),
        }
    }

    fn take_back(
        &mut self,
        previous: Kept,
        (next, contents): (InForce, Contents),
        why: &str,
    ) -> Result<Vec<Note>, DaemonError> {
        let refused = self.kept();
        self.switch_to(next, None)?;
        self.sets.replace(&self.in_force.loaded, contents);
        self.watch_sets();
        let was_confirmed = self.change.pending.take().is_none();
        self.change.previous = None;
        let mut notes = Vec::new();
        if let Some(policies) = &self.change.policies {
            let doubted = policies.doubt(&refused, why);
            let kept = if was_confirmed { policies.confirm(&previous, None) } else { Ok(()) };
            let note = |error| Note::new(format!("a restart may bring it back: {error}"));
            notes.extend(doubted.and(kept).err().map(note));
        }
        let own = self.in_force.file == self.own_file;
        self.change.instead = own.then(|| format!("{} {why}", self.own_file.display()));
        Ok(notes)
    }

    /// A policy that was kept, read again.
    fn put_together(&self, kept: &Kept) -> Result<(InForce, Contents), DaemonError> {
        let mut contents = Contents::of(&kept.sets);
        let loaded = policy::parse_with(&kept.text, &kept.file, &mut |path| contents.read(path))?;
        let loaded = self.overridden(loaded);
        Ok((InForce::new(kept.text.clone(), kept.file.clone(), loaded), contents))
    }

    /// Until when the policy in force must be confirmed, as `status` shows it.
    pub(super) fn pending_until(&self) -> Option<String> {
        self.change.pending.map(shown)
    }
}

fn shown(until: Deadline) -> String {
    format_rfc3339_seconds(until.wall).to_string()
}
