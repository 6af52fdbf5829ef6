//! The filter in the kernel: loads the program, switches generations, guards
//! interfaces, bans sources, reads counters.

mod attach;
mod bans;
mod clock;
mod control;
mod counters;
mod error;
mod generations;
mod load;

pub use attach::{AttachMode, Attachment, Interface};
pub use bans::{Ban, Bans, Until};
pub use clock::{BootTime, boot_time};
pub use counters::{InterfaceCounter, RuleCounter};
pub use error::{AttachError, LoadError, MapFault};
pub use load::{KernelLog, Options, minimum_kernel};

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
    programs::Xdp,
};
use filter_common::tables::interfaces::{self, Entry};

/// The program's name in the object.
const PROGRAM: &str = "nodewall";

/// The filter in the kernel. It ends with this value: nothing is pinned yet.
pub struct DataPlane {
    ebpf: Ebpf,
    generations: generations::Generations,
    control: control::Control,
    sources:
        HashMap<MapData, filter_common::tables::SourceKey, filter_common::tables::SourceBuckets>,
    sources_capacity: u32,
    totals: counters::Totals,
    rule_counters: counters::RuleCounters,
    bans: Bans,
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
        self.activate(staged)
    }

    /// Writes a policy into maps that no packet reads yet.
    ///
    /// # Errors
    ///
    /// As [`switch`](Self::switch).
    pub fn stage(&mut self, tables: &crate::compile::Tables) -> Result<Staged, MapFault> {
        let highest = tables.rules.iter().skip(1).map(|rule| rule.id).max();
        if let Some(highest) = highest {
            self.rule_counters.make_room(highest)?;
        }
        self.generations.stage(tables)
    }

    /// Puts a staged policy in force: the one write that a packet sees.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write.
    pub fn activate(&mut self, staged: Staged) -> Result<(), MapFault> {
        self.generations.activate(staged)
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

    /// How many sources' rates are known, and how many there is room for.
    #[must_use]
    pub fn sources(&self) -> (usize, u32) {
        (self.sources.keys().filter(Result::is_ok).count(), self.sources_capacity)
    }

    /// What was counted on the interface with that number.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn interface_counters(&self, number: u32) -> Result<Vec<InterfaceCounter>, MapFault> {
        self.totals.of_interface(number)
    }

    /// Packets refused because other CPUs won every swap of their bucket, or
    /// because the table of sources had no room.
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
