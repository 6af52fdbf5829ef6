//! The interfaces: which are guarded, and what became of those that are not.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{error, info, warn};

use super::Owner;
use crate::{
    compile::Numbers,
    control::{Detached, InterfaceEntry, Looked},
    daemon::{DaemonError, network::Snapshot, remembered::Remembered},
    dataplane::{AttachMode, Attachment, Hook, Interface},
    policy::{Attach, Policy},
};

const GONE: &str = "the interface is gone; it is guarded again as soon as it comes back";

/// The interfaces that are, or are to be, guarded, by name.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    entries: BTreeMap<String, Entry>,
    /// Those that have had a default route while the policy named no others.
    remembered: Remembered,
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
    /// None yet; `remembered` are those of earlier starts.
    pub(super) fn new(remembered: Remembered) -> Self {
        Self { remembered, ..Self::default() }
    }

    /// The interfaces that a policy wants guarded.
    pub(super) fn wanted(&self, policy: &Policy, snapshot: &Snapshot) -> BTreeSet<String> {
        match &policy.interfaces {
            Some(names) => names.iter().cloned().collect(),
            None => unnamed(&snapshot.default_routes, self.remembered.names(), snapshot),
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
            self.remembered.replace(wanted);
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

    /// Those with the program on.
    pub(super) fn names(&self) -> Vec<&str> {
        let attached = self.entries.iter().filter(|(_, entry)| entry.attachment.is_some());
        attached.map(|(name, _)| name.as_str()).collect()
    }

    /// Those with the program on, and how it is.
    pub(super) fn attached(&self) -> Vec<(&str, &Attachment)> {
        let entries = self.entries.iter();
        entries
            .filter_map(|(name, entry)| Some((name.as_str(), entry.attachment.as_ref()?)))
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

/// No two of the interfaces that a policy names may see the same frames.
pub(super) fn check_stacks(
    wanted: &BTreeSet<String>,
    snapshot: &Snapshot,
) -> Result<(), DaemonError> {
    for upper in wanted {
        if let Some(lower) = wanted.iter().find(|lower| snapshot.is_above(upper, lower)) {
            return Err(DaemonError::Stacked { upper: upper.clone(), lower: lower.clone() });
        }
    }
    Ok(())
}

/// What is guarded where nobody names any: what has a default route, of two
/// that see the same frames the lower one; and what had one before, unless it
/// has become a part of these.
fn unnamed(
    default_routes: &BTreeSet<String>,
    remembered: &BTreeSet<String>,
    snapshot: &Snapshot,
) -> BTreeSet<String> {
    let is_lowest = |name: &&String| !default_routes.iter().any(|low| snapshot.is_above(name, low));
    let mut chosen: BTreeSet<String> = default_routes.iter().filter(is_lowest).cloned().collect();
    for name in remembered {
        let is_apart =
            |other: &String| !snapshot.is_above(name, other) && !snapshot.is_above(other, name);
        if chosen.iter().all(is_apart) {
            chosen.insert(name.clone());
        }
    }
    chosen
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
        let mut new: Vec<String> = wanted
            .iter()
            .filter(|name| !self.guarded.entries.contains_key(*name))
            .cloned()
            .collect();
        // Last those that an earlier start guards: they hardly ever fail.
        new.sort_by_key(|name| {
            snapshot.find(name).is_some_and(|link| self.plane.is_attached(link.index))
        });
        for name in new {
            let entry = match snapshot.find(&name) {
                Some(link) => match self.attach(link, attach, numbers) {
                    Ok(attachment) => Entry { attachment: Some(attachment), why: None },
                    Err(error) => {
                        self.leave_taken_over();
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

    /// A start that fails leaves on what an earlier one has left on.
    fn leave_taken_over(&mut self) {
        let leave =
            |entry: &Entry| entry.attachment.as_ref().is_some_and(Attachment::is_taken_over);
        if self.generation == 0 {
            self.guarded.entries.retain(|_, entry| !leave(entry));
        }
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
        if let Err(error) = self.plane.unpin() {
            error!("what was pinned is still there: {error}");
        }
        Detached { interfaces }
    }

    /// The kernel's indexes of the guarded interfaces.
    pub(super) fn guarded_indexes(&self) -> BTreeSet<u32> {
        let attached = self.guarded.entries.values().filter_map(|entry| entry.attachment.as_ref());
        attached.map(|attachment| attachment.index).collect()
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
            self.guarded.remembered.replace(&wanted);
        }
        self.follow_vanished(&snapshot, &wanted);
        self.put_classifiers_back(&snapshot);
        self.tell_loggers();
        let attach = self.in_force.loaded.policy.attach;
        for name in &wanted {
            let known = self.guarded.entries.get(name);
            if known.is_some_and(|entry| entry.attachment.is_some()) {
                continue;
            }
            let Some(link) = snapshot.find(name) else { continue };
            let before = known.map(|entry| entry.why.clone());
            let mut numbers = self.interface_numbers.clone();
            let attached = self
                .check_apart(name, &wanted, &snapshot)
                .and_then(|()| self.attach(link, attach, &mut numbers));
            let entry = match attached {
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
            self.guarded.entries.insert(name.clone(), entry);
            self.tell_loggers();
        }
        // One that has become a port of another, where nobody named it.
        self.release_all_but(&wanted);
    }

    /// Before Linux 6.6 whoever may can delete the qdisc on which the classifier is.
    fn put_classifiers_back(&mut self, snapshot: &Snapshot) {
        if Hook::of_kernel() != Hook::Clsact {
            return;
        }
        for (name, entry) in &mut self.guarded.entries {
            let (Some(attachment), Some(link)) = (&mut entry.attachment, snapshot.find(name))
            else {
                continue;
            };
            match self.runtime.block_on(self.network.has_classifier(link.index)) {
                Ok(true) => continue,
                // It has no such qdisc any more.
                Ok(false) | Err(rtnetlink::Error::NetlinkError(_)) => {}
                Err(error) => {
                    error!("what classifies on interface {name} cannot be told: {error}");
                    continue;
                }
            }
            match self.plane.put_classifier_back(link, attachment) {
                Ok(()) => warn!(
                    "somebody took the program off that records what interface {name} sends (the qdisc clsact, or a filter of it): it is on again; what was asked in between has no answer"
                ),
                Err(error) => error!("answers to what interface {name} sends do not pass: {error}"),
            }
        }
    }

    /// Looks for what is new, and says what became of one interface.
    pub(super) fn look_at_interface(&mut self, name: &str) -> Looked {
        self.follow_interfaces();
        Looked { interface: self.guarded.list().into_iter().find(|entry| entry.name == name) }
    }

    /// One that appears must not see the frames of one that is guarded, and stays so.
    fn check_apart(
        &self,
        name: &str,
        wanted: &BTreeSet<String>,
        snapshot: &Snapshot,
    ) -> Result<(), DaemonError> {
        let stays = |other: &&String| {
            let entry = self.guarded.entries.get(*other);
            *other == name || entry.is_some_and(|entry| entry.attachment.is_some())
        };
        check_stacks(&wanted.iter().filter(stays).cloned().collect(), snapshot)
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
        self.plane.note_interfaces(numbers)?;
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
        attachment.take_off();
        if let Err(error) = self.plane.unguard(index) {
            error!("the interface with index {index} could not be forgotten: {error}");
        }
    }
}
