//! The interfaces: which are guarded, and what became of those that are not.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{error, info, warn};

use super::Owner;
use crate::{
    compile::Numbers,
    control::{Detached, InterfaceEntry},
    daemon::{DaemonError, network::Snapshot},
    dataplane::{AttachMode, Attachment, Interface},
    policy::{Attach, Policy},
};

const GONE: &str = "the interface is gone; it is guarded again as soon as it comes back";

/// The interfaces that are, or are to be, guarded, by name.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    entries: BTreeMap<String, Entry>,
    /// Those that have had a default route while the policy named no others.
    remembered: BTreeSet<String>,
    /// Those that a change of policy has added and may yet take back.
    unsettled: BTreeSet<String>,
}

#[derive(Debug)]
struct Entry {
    attachment: Option<Attachment>,
    /// Why it is not guarded.
    why: Option<String>,
}

impl Entry {
    fn missing(why: impl Into<String>) -> Self {
        Self { attachment: None, why: Some(why.into()) }
    }
}

impl Guarded {
    /// The interfaces that a policy wants guarded.
    pub(super) fn wanted(&self, policy: &Policy, snapshot: &Snapshot) -> BTreeSet<String> {
        match &policy.interfaces {
            Some(names) => names.iter().cloned().collect(),
            None => self.remembered.union(&snapshot.default_routes).cloned().collect(),
        }
    }

    /// Those that stay whatever becomes of the change under way.
    pub(super) fn settled(&self) -> BTreeSet<String> {
        self.entries.keys().filter(|name| !self.unsettled.contains(*name)).cloned().collect()
    }

    /// The change to `policy` is through.
    pub(super) fn settle(&mut self, policy: &Policy, wanted: &BTreeSet<String>) {
        self.unsettled.clear();
        if policy.interfaces.is_none() {
            self.remembered.clone_from(wanted);
        }
    }

    /// Those that should be guarded and are not.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = self.entries.iter().filter(|(_, entry)| entry.attachment.is_none());
        missing.map(|(name, _)| name.clone()).collect()
    }

    /// Those that are attached in another way than `wanted` would have them.
    pub(super) fn attached_otherwise(&self, wanted: Attach) -> Vec<String> {
        let differs = |entry: &Entry| match (&entry.attachment, wanted) {
            (Some(attachment), Attach::Native) => attachment.mode == AttachMode::Generic,
            (Some(attachment), Attach::Generic) => attachment.mode == AttachMode::Native,
            // Generic by choice rather than because the driver refused.
            (Some(attachment), Attach::Auto) => {
                attachment.mode == AttachMode::Generic && attachment.why.is_none()
            }
            (None, _) => false,
        };
        self.entries
            .iter()
            .filter(|(_, entry)| differs(entry))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// As `status` shows them.
    pub(super) fn list(&self) -> Vec<InterfaceEntry> {
        let show = |(name, entry): (&String, &Entry)| InterfaceEntry {
            name: name.clone(),
            attach: entry.attachment.as_ref().map(|attachment| attachment.mode.name().to_owned()),
            why: match &entry.attachment {
                Some(attachment) => attachment.why.clone(),
                None => entry.why.clone(),
            },
        };
        self.entries.iter().map(show).collect()
    }
}

/// Every interface that a policy names must exist. One that the policy before
/// it named too was there once, and is waited for.
pub(super) fn check_existence(
    policy: &Policy,
    known: &[String],
    snapshot: &Snapshot,
) -> Result<(), DaemonError> {
    let named = policy.interfaces.as_deref().unwrap_or_default();
    let absent = |name: &&String| !known.contains(name) && snapshot.find(name).is_none();
    let absent: Vec<String> = named.iter().filter(absent).cloned().collect();
    if absent.is_empty() { Ok(()) } else { Err(DaemonError::NoInterface(absent)) }
}

impl Owner {
    /// The interfaces and routes now.
    pub(super) fn snapshot(&self) -> Result<Snapshot, DaemonError> {
        self.runtime.block_on(self.network.snapshot()).map_err(DaemonError::Network)
    }

    /// Guards those of `wanted` that are new. On failure none of them is.
    pub(super) fn guard_new(
        &mut self,
        wanted: &BTreeSet<String>,
        snapshot: &Snapshot,
        attach: Attach,
        numbers: &mut Numbers,
    ) -> Result<(), DaemonError> {
        if wanted.is_empty() {
            warn!(
                "no interface has a default route, so nothing is guarded: name some in `interfaces`, or one is guarded as soon as it has one"
            );
        }
        self.guarded.unsettled.clear();
        for name in wanted
            .iter()
            .filter(|name| !self.guarded.entries.contains_key(*name))
            .cloned()
            .collect::<Vec<_>>()
        {
            let entry = match snapshot.find(&name) {
                Some(link) => match self.attach(link, attach, numbers) {
                    Ok(attachment) => Entry { attachment: Some(attachment), why: None },
                    Err(error) => {
                        let settled = self.guarded.settled();
                        self.release_all_but(&settled);
                        self.guarded.unsettled.clear();
                        return Err(error);
                    }
                },
                None => Entry::missing(GONE),
            };
            self.guarded.entries.insert(name.clone(), entry);
            self.guarded.unsettled.insert(name);
        }
        Ok(())
    }

    /// Frees all interfaces that are not in `wanted`.
    pub(super) fn release_all_but(&mut self, wanted: &BTreeSet<String>) {
        let unwanted: Vec<String> =
            self.guarded.entries.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in unwanted {
            if let Some(Entry { attachment: Some(attachment), .. }) =
                self.guarded.entries.remove(&name)
            {
                self.release(attachment);
                info!("interface {name} is not guarded any more");
            }
        }
    }

    /// Takes the filter off every interface.
    pub(super) fn detach_all(&mut self) -> Detached {
        let mut interfaces = Vec::new();
        for (name, entry) in std::mem::take(&mut self.guarded.entries) {
            if let Some(attachment) = entry.attachment {
                self.release(attachment);
                interfaces.push(name);
            }
        }
        if !interfaces.is_empty() {
            warn!("the filter is off: unguarded from now on are {}", interfaces.join(", "));
        }
        // What has a default route must not be guarded again before the end.
        self.detached = true;
        Detached { interfaces }
    }

    /// Brings what is guarded in step with the interfaces that there are.
    pub(super) fn follow_interfaces(&mut self) {
        if self.detached {
            return;
        }
        let snapshot = match self.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return error!("{error}"),
        };
        let wanted = self.guarded.wanted(&self.in_force.loaded.policy, &snapshot);
        if self.in_force.loaded.policy.interfaces.is_none() {
            self.guarded.remembered.clone_from(&wanted);
        }
        self.follow_vanished(&snapshot, &wanted);
        self.tell_loggers();
        let attach = self.in_force.loaded.policy.attach;
        for name in wanted {
            let known = self.guarded.entries.get(&name);
            if known.is_some_and(|entry| entry.attachment.is_some()) {
                continue;
            }
            let Some(link) = snapshot.find(&name) else { continue };
            let before = known.map(|entry| entry.why.clone());
            let mut numbers = self.interface_numbers.clone();
            let entry = match self.attach(link, attach, &mut numbers) {
                Ok(attachment) => {
                    self.interface_numbers = numbers;
                    Entry { attachment: Some(attachment), why: None }
                }
                Err(error) => {
                    let why = error.to_string();
                    if before.flatten().as_ref() != Some(&why) {
                        error!("interface {name} is not guarded: {why}");
                    }
                    Entry::missing(why)
                }
            };
            self.guarded.entries.insert(name, entry);
            self.tell_loggers();
        }
    }

    /// Lets go of interfaces that are gone, or have another name or index now.
    fn follow_vanished(&mut self, snapshot: &Snapshot, wanted: &BTreeSet<String>) {
        let mut moved = Vec::new();
        for (name, entry) in &mut self.guarded.entries {
            let index = snapshot.find(name).map(|link| link.index);
            match &entry.attachment {
                Some(attachment) if Some(attachment.index) != index => {
                    moved.extend(
                        entry.attachment.take().map(|attachment| (name.clone(), attachment)),
                    );
                    *entry = Entry::missing(GONE);
                }
                _ => {}
            }
        }
        for (name, attachment) in moved {
            let now = snapshot.links.iter().find(|link| link.index == attachment.index);
            match now {
                Some(link) if wanted.contains(&link.name) => self.rename(&name, link, attachment),
                Some(link) => {
                    self.release(attachment);
                    warn!(
                        "interface {name} is called {} now, which the policy does not name: it is not guarded any more",
                        link.name
                    );
                }
                None => {
                    self.release(attachment);
                    warn!("interface {name} is gone: it is guarded again as soon as it comes back");
                }
            }
        }
    }

    /// The program stays where it is, and counts under the new name.
    fn rename(&mut self, old: &str, link: &Interface, attachment: Attachment) {
        let number = self.interface_numbers.get_or_add(&link.name).unwrap_or(0);
        if let Err(error) = self.plane.guard(link.index, number, link.is_raw_ip()) {
            error!("what interface {} sees is counted as {old}: {error}", link.name);
        }
        info!("interface {old} is called {} now, and stays guarded", link.name);
        self.guarded
            .entries
            .insert(link.name.clone(), Entry { attachment: Some(attachment), why: None });
        self.tell_loggers();
    }

    fn attach(
        &mut self,
        link: &Interface,
        attach: Attach,
        numbers: &mut Numbers,
    ) -> Result<Attachment, DaemonError> {
        let number = numbers
            .get_or_add(&link.name)
            .ok_or(DaemonError::TooManyInterfaces(numbers.count()))?;
        let attachment = self.plane.attach(link, number, attach)?;
        let mode = attachment.mode.name();
        let why =
            attachment.why.as_deref().map(|why| format!(", because {why}")).unwrap_or_default();
        info!("guarding interface {} ({mode}{why})", link.name);
        if !std::mem::replace(&mut self.has_guarded, true) {
            let after = self.began.elapsed();
            info!(
                milliseconds = after.as_millis(),
                "the first interface is guarded since the start"
            );
        }
        Ok(attachment)
    }

    /// Takes the program off, then forgets the interface's number: every
    /// packet that is judged is counted under its name.
    fn release(&mut self, attachment: Attachment) {
        let index = attachment.index;
        drop(attachment);
        if let Err(error) = self.plane.unguard(index) {
            error!("the interface with index {index} could not be forgotten: {error}");
        }
    }
}
