//! The filter in the kernel: loads the program, switches generations, guards
//! interfaces, bans sources, reads counters.

mod attach;
mod bans;
mod clock;
mod conntrack;
mod contents;
mod control;
mod counters;
mod egress;
mod error;
mod events;
mod flow_log;
mod flows;
mod fragments;
mod generations;
mod link;
mod load;
mod names;
mod namespace;
mod own_ports;
mod pins;
mod probe;
mod slots;
mod sources;

pub(crate) use attach::program_name;
pub use attach::{AttachMode, Attachment, Interface};
pub use bans::{Ban, Bans, Restored, Until};
pub use clock::{BootTime, boot_time, monotonic};
pub use counters::{InterfaceCounter, RuleCounter};
pub use egress::{Hook, is_own_filter, take_off as take_off_egress};
pub use error::{AttachError, LoadError, MapFault};
pub use events::Events;
pub use flow_log::{FlowCounts, Half};
pub use flows::Fill;
pub use load::{KernelLog, Options, minimum_kernel};
pub use own_ports::Marks;
pub use pins::{DEFAULT_PINS, NO_PINS, PinError, Pins};
pub use probe::{Arrival, Origin, Probe, ProbeError, Times};
pub use slots::{CgroupError, Slots};

use std::{collections::BTreeSet, sync::Arc, thread};

use aya::{
    Ebpf,
    programs::{SchedClassifier, SockOps, Xdp, tc::SchedClassifierLink},
};
use filter_common::{
    FlowKey, FlowTable,
    tables::{
        generation, interface_name_place,
        interfaces::{self, Entry},
    },
};
use tracing::debug;

use crate::compile::Numbers;

/// The program's name in the object.
const PROGRAM: &str = "nodewall";

/// The filter in the kernel. Where it is pinned it outlives this value.
pub struct DataPlane {
    ebpf: Ebpf,
    pins: Option<Pins>,
    found: pins::Found,
    names: names::Names,
    generations: generations::Generations,
    control: control::Control,
    slots: slots::Slots,
    sources: sources::Sources,
    flows: flows::Flows,
    totals: counters::Totals,
    rule_counters: counters::RuleCounters,
    bans: Bans,
    fragments: fragments::Fragments,
    own_ports: own_ports::OwnPorts,
    /// Until somebody takes them.
    events: Option<Events>,
    flow_counts: Option<FlowCounts>,
    /// What others are made of that look at it.
    origin: Arc<Origin>,
}

impl std::fmt::Debug for DataPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataPlane").finish_non_exhaustive()
    }
}

impl DataPlane {
    /// Puts a policy in force for every packet that arrives from now on, in
    /// one step. On failure the policy before it stands.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a map or an entry (memory, most likely).
    pub fn switch(&mut self, tables: &crate::compile::Tables) -> Result<(), MapFault> {
        let staged = self.stage(tables)?;
        self.activate(staged, None)
    }

    /// Writes a policy into maps that no packet reads yet.
    ///
    /// # Errors
    ///
    /// As [`switch`](Self::switch).
    pub fn stage(&mut self, tables: &crate::compile::Tables) -> Result<Staged, MapFault> {
        let highest = tables.rules.iter().skip(1).map(|rule| rule.id).max();
        let Self { rule_counters, generations, .. } = self;
        // Side by side, because each waits for a grace period.
        let staged = thread::scope(|scope| {
            let room = scope.spawn(|| highest.map_or(Ok(()), |it| rule_counters.make_room(it)));
            let staged = generations.stage(tables);
            room.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(staged)
        })?;
        let monitor = tables.generation.flags & generation::MONITOR != 0;
        self.rule_counters.expect(tables.rules.get(1..).unwrap_or_default(), monitor);
        Ok(staged)
    }

    /// Puts a staged policy in force: the one write that a packet sees. `until`:
    /// the kernel takes it back then, whether or not this process lives, unless
    /// it is [settled](Self::settle) before.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write.
    pub fn activate(&mut self, staged: Staged, until: Option<BootTime>) -> Result<(), MapFault> {
        self.generations.activate(staged, until)
    }

    /// The policy in force is so for good.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write; then it is taken back as it would have been.
    pub fn settle(&mut self) -> Result<(), MapFault> {
        self.generations.settle()
    }

    /// Takes back the last activation: what was in force before is so again.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write.
    pub fn revert(&mut self) -> Result<(), MapFault> {
        self.generations.revert()
    }

    /// Whether an earlier start has left its program on an interface.
    #[must_use]
    pub fn is_attached(&self, index: u32) -> bool {
        self.pins.as_ref().is_some_and(|pins| pins.link("xdp", index).exists())
    }

    /// Whether the table of bans is that of an earlier start.
    #[must_use]
    pub fn has_earlier_bans(&self) -> bool {
        self.found.bans()
    }

    /// Whether the filter outlives this process.
    #[must_use]
    pub const fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// What is taken over from an earlier start: `None` if nothing was there;
    /// otherwise what could not be, each with the reason.
    #[must_use]
    pub fn taken_over(&self) -> Option<Vec<String>> {
        self.found.any().then(|| {
            let tell = |(group, why): &(&pins::Group, String)| {
                format!("{} could not be taken over, for {why}: started anew", group.holds)
            };
            self.found.renewed.iter().map(tell).collect()
        })
    }

    /// The numbers that rules and interfaces have had so far.
    #[must_use]
    pub fn numbers(&self) -> [Numbers; 2] {
        self.names.numbers()
    }

    /// Notes the numbers of rules for the next start: before anything is
    /// counted under them.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write.
    pub fn note_rules(&mut self, numbers: &Numbers) -> Result<(), MapFault> {
        self.names.note(numbers.iter())
    }

    /// As [`note_rules`](Self::note_rules), of interfaces.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn note_interfaces(&mut self, numbers: &Numbers) -> Result<(), MapFault> {
        self.names.note(numbers.iter().map(|(name, number)| (name, interface_name_place(number))))
    }

    /// Forgets interfaces that are not among those with these indexes, and what
    /// earlier versions have pinned: the start is through.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a write, or a file cannot be removed.
    pub fn settle_in(&mut self, guarded: &BTreeSet<u32>) -> Result<(), LoadError> {
        let known: Vec<u32> = self.control.interfaces();
        for index in known.into_iter().filter(|index| !guarded.contains(index)) {
            self.unguard(index)?;
        }
        let Some(pins) = &self.pins else { return Ok(()) };
        self.control.settle_in(pins)?;
        for index in pins.interfaces().difference(guarded) {
            for kind in ["xdp", "egress"] {
                let path = pins.link(kind, *index);
                link::remove(&path).map_err(|reason| PinError::File {
                    path,
                    action: "removed",
                    reason,
                })?;
            }
        }
        Ok(pins.remove_other_versions()?)
    }

    /// Removes all pins: what is not held by this process any more ends.
    ///
    /// # Errors
    ///
    /// When a file cannot be removed.
    pub fn unpin(&mut self) -> Result<(), PinError> {
        self.slots.detach();
        self.pins.take().map_or(Ok(()), |pins| pins.remove_all())
    }

    /// Tells the program which number and framing an interface has.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write, or when more interfaces fall on one
    /// place than it holds (the fifth with the same index modulo 64).
    pub fn guard(&mut self, index: u32, number: u32, raw_ip: bool) -> Result<(), MapFault> {
        self.control.change(|control| {
            let entries = &mut control.guarded[interfaces::bucket(index) as usize].entries;
            let place_of = |wanted| entries.iter().position(|entry| entry.index == wanted);
            let at = place_of(index)
                .or_else(|| place_of(0))
                .ok_or(MapFault::InterfacePlace { index })?;
            entries[at] = Entry {
                index,
                number: u16::try_from(number).unwrap_or(0),
                flags: if raw_ip { interfaces::RAW_IP } else { 0 },
            };
            Ok(())
        })
    }

    /// Forgets an interface that is no more.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write.
    pub fn unguard(&mut self, index: u32) -> Result<(), MapFault> {
        self.control.change(|control| {
            let entries = &mut control.guarded[interfaces::bucket(index) as usize].entries;
            for entry in entries.iter_mut().filter(|entry| entry.index == index) {
                *entry = Entry::default();
            }
            Ok(())
        })
    }

    /// The bans.
    pub fn bans(&mut self) -> &mut Bans {
        &mut self.bans
    }

    /// The bans, to look at.
    #[must_use]
    pub fn bans_ref(&self) -> &Bans {
        &self.bans
    }

    /// The connections that are held.
    pub fn slots(&mut self) -> &mut Slots {
        &mut self.slots
    }

    /// The connections that are held, to look at.
    #[must_use]
    pub fn slots_ref(&self) -> &Slots {
        &self.slots
    }

    /// How many places for the rates of sources and networks were ever taken, and
    /// how many there are: the program counts them, so that none need be read.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn sources(&self) -> Result<(u64, u32), MapFault> {
        Ok((self.totals.taken()?, self.sources.capacity()))
    }

    /// What is known of the rates of each source and network.
    pub fn source_entries(
        &self,
    ) -> impl Iterator<Item = Result<filter_common::table::SourceEntry, MapFault>> {
        self.sources.entries()
    }

    /// What all sources of a rule owe together, by the rule's number.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn total(&self, rule: u32) -> Result<filter_common::table::Rates, MapFault> {
        self.sources.total(rule)
    }

    /// Sources and networks whose debt was forgotten to make room for others.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn evicted(&self) -> Result<u64, MapFault> {
        self.totals.evicted()
    }

    /// The drops that the program tells of, for whoever reads them from now on.
    /// There is one reader: `None` for a second.
    pub fn take_events(&mut self) -> Option<Events> {
        self.events.take()
    }

    /// The flows that the program counts for the flow log, for whoever reads
    /// them from now on. There is one reader: `None` for a second.
    pub fn take_flow_counts(&mut self) -> Option<FlowCounts> {
        self.flow_counts.take()
    }

    /// How full the tables of what this host sends are.
    #[must_use]
    pub fn flows(&self) -> [Fill; 4] {
        self.flows.fill()
    }

    /// What this host or a container began or answered, and how long ago
    /// something was last sent there.
    pub fn recorded_flows(&self) -> impl Iterator<Item = (FlowKey, std::time::Duration)> {
        self.flows.live(monotonic())
    }

    /// Takes into the tables what connection tracking knows of, so that what
    /// containers had open goes on whoever speaks next. Without connection
    /// tracking, or leave to ask it, there is nothing to take.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write.
    fn seed(&mut self) -> Result<(), MapFault> {
        let seeds = match conntrack::seeds() {
            Ok(seeds) => seeds,
            Err(error) => {
                debug!("connection tracking tells nothing: {error}");
                return Ok(());
            }
        };
        let now = monotonic();
        for seed in &seeds {
            self.flows.remember(seed.table, &seed.key, seed.word(now), now)?;
        }
        debug!(entries = seeds.len(), "connections taken from connection tracking");
        Ok(())
    }

    /// Puts an entry into a table of what this host sends, as of `now`
    /// ([`monotonic`]): for tests of what takes days.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write.
    #[doc(hidden)]
    pub fn remember(
        &mut self,
        table: FlowTable,
        key: &FlowKey,
        word: u64,
        now: u64,
    ) -> Result<(), MapFault> {
        self.flows.remember(table, key, word, now)
    }

    /// The entry of a flow, zero for none: for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn flow_entry(&self, table: FlowTable, key: &FlowKey) -> u64 {
        self.flows.entry(table, key)
    }

    /// Attaches the classifier alone, until the value goes: for tests of hooks
    /// that this kernel would not choose.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    #[doc(hidden)]
    pub fn attach_classifier(
        &mut self,
        interface: &Interface,
        hook: Hook,
    ) -> Result<SchedClassifierLink, AttachError> {
        egress::attach(&mut self.ebpf, interface, hook)
    }

    /// The classifier, for tests that run it on packets of their own.
    ///
    /// # Errors
    ///
    /// Never, once it was loaded.
    pub fn classifier(&mut self) -> Result<&mut SchedClassifier, LoadError> {
        egress::program(&mut self.ebpf)
    }

    /// The program that counts connections, to look at.
    ///
    /// # Errors
    ///
    /// Never, once it was loaded.
    pub fn counter(&mut self) -> Result<&mut SockOps, LoadError> {
        slots::Slots::program(&mut self.ebpf)
    }

    /// How many datagrams in fragments are known, and how many there is room for.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn fragments(&self) -> Result<(u32, u32), MapFault> {
        self.fragments.fill()
    }

    /// Where the program looks for datagrams in fragments, for a model that is
    /// to agree with it.
    #[must_use]
    pub fn fragment_table(&self) -> filter_common::tables::Fragments {
        self.fragments.table()
    }

    /// Datagrams whose later fragments dropped because the first one found no room.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn fragments_full(&self) -> Result<u64, MapFault> {
        self.totals.fragments_full()
    }

    /// What was counted on the interface with that number.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn interface_counters(&self, number: u32) -> Result<Vec<InterfaceCounter>, MapFault> {
        let mut all = self.all_interface_counters(number)?;
        all.retain(|found| found.counter.packets != 0);
        Ok(all)
    }

    /// The same, with the counters that stand at zero.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn all_interface_counters(&self, number: u32) -> Result<Vec<InterfaceCounter>, MapFault> {
        self.totals.of_interface(number)
    }

    /// Packets refused because other CPUs won every swap of their bucket.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn contended(&self) -> Result<u64, MapFault> {
        self.totals.contended()
    }

    /// What was counted for the rule with that number.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn rule_counters(&self, number: u32) -> Result<Vec<RuleCounter>, MapFault> {
        let mut all = self.all_rule_counters(number)?;
        all.retain(|found| found.counter.packets != 0);
        Ok(all)
    }

    /// The same, with the counters that stand at zero and could have counted.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn all_rule_counters(&self, number: u32) -> Result<Vec<RuleCounter>, MapFault> {
        self.rule_counters.of_rule(number)
    }

    /// The program, for tests that run it on packets of their own.
    ///
    /// # Errors
    ///
    /// Never, once it was loaded.
    pub fn program(&mut self) -> Result<&mut Xdp, LoadError> {
        load::program(&mut self.ebpf)
    }
}

/// A policy in maps that no packet reads yet.
#[derive(Debug)]
#[must_use = "it is not in force until it is activated"]
pub struct Staged {
    slot: u32,
}

impl Staged {
    /// Another policy that was staged or in force and is still whole, to flip
    /// back to. Only tests of the switch itself want this.
    #[doc(hidden)]
    pub fn again(&self) -> Self {
        Self { slot: self.slot }
    }
}
