//! Brings the program and its maps into the kernel.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    thread,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{Map, MapError},
    programs::{Program, ProgramError, Xdp},
    util::KernelVersion,
};
use filter_common::{Seed, tables};

use super::{
    Bans, DataPlane, LoadError, PROGRAM,
    control::Control,
    counters::{RuleCounters, Totals},
    egress,
    events::Events,
    flow_log::FlowCounts,
    flows::{Flows, sizes},
    fragments::Fragments,
    generations::Generations,
    own_ports::OwnPorts,
    slots::Slots,
    sources::Sources,
};
use crate::policy::Tables;

/// The object, built from `filter-ebpf` and embedded.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("NODEWALL_OBJECT"));

/// The oldest kernel that the test matrix has shown to run the program.
#[must_use]
pub fn minimum_kernel() -> KernelVersion {
    KernelVersion::new(6, 1, 0)
}

/// What is settled when the program is loaded.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// How large the tables are.
    pub tables: Tables,
    /// What the program itself logs.
    pub log: KernelLog,
    /// Another object than the embedded one.
    pub object: Option<&'a [u8]>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { tables: Tables::default(), log: KernelLog::Off, object: None }
    }
}

/// The level of the program's own log: settled at load, so that what is not
/// wanted is cut out of the program and costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelLog {
    /// Nothing.
    Off,
    /// Every dropped packet: for bringing it up, not for a host in use.
    Drops,
}

impl DataPlane {
    /// Loads the program and makes its maps. Nothing is attached, and no
    /// policy is in force: everything is closed.
    ///
    /// # Errors
    ///
    /// When the kernel is too old, forbids it, or refuses it.
    pub fn load(options: &Options<'_>) -> Result<Self, LoadError> {
        check_kernel()?;
        let level: u8 = match options.log {
            KernelLog::Off => 0,
            KernelLog::Drops => 4,
        };
        let room = &options.tables;
        let bans = room.bans.max(1);
        let [sources, known] = [room.sources, room.known].map(Sources::buckets);
        let flow_buckets = FlowCounts::buckets(room.flow_log);
        let seed = seed();
        let fragments = tables::Fragments { seed, buckets: Fragments::buckets(room.fragments) };
        let mut loader = EbpfLoader::new();
        for (map, entries) in sizes(&room.flows) {
            loader.map_max_entries(map, entries.max(1));
        }
        let mut ebpf = loader
            .verifier_log_level(VerifierLogLevel::STATS)
            .map_max_entries("BANS", bans)
            .map_max_entries(Sources::MAP, sources)
            .map_max_entries(Sources::TAGS, sources)
            .map_max_entries("KNOWN", known)
            .map_max_entries(Slots::COUNTED, room.slots)
            .map_max_entries(Slots::MENDED, room.slots)
            .map_max_entries(Fragments::MAP, fragments.buckets)
            .override_global("SEED", &seed, true)
            .override_global("FRAGMENT_BUCKETS", &fragments.buckets, true)
            .override_global("SOURCES_MASK", &(sources - 1), true)
            .map_max_entries(FlowCounts::COUNTS, flow_buckets * 2)
            .map_max_entries(FlowCounts::TAGS, flow_buckets * 2)
            .override_global("FLOWS_MASK", &(flow_buckets - 1), true)
            .override_global("KNOWN_MASK", &(known - 1), true)
            .override_global("AYA_LOG_LEVEL", &level, false)
            .load(options.object.unwrap_or(OBJECT))
            .map_err(load_error)?;
        load_programs(&mut ebpf)?;
        let control = Control::take(&mut ebpf)?;
        // It needs a map that others take.
        let flow_counts = FlowCounts::take(&mut ebpf)?;
        Ok(Self {
            generations: Generations::take(&mut ebpf, control.clone())?,
            slots: Slots::take(&mut ebpf, control.clone(), room.slots)?,
            sources: Sources::take(&mut ebpf)?,
            flows: Flows::take(&mut ebpf, &room.flows)?,
            totals: Totals::take(&mut ebpf)?,
            rule_counters: RuleCounters::take(&mut ebpf)?,
            bans: Bans::take(&mut ebpf, control.clone(), bans)?,
            own_ports: OwnPorts::take(&mut ebpf, control.clone())?,
            fragments: Fragments::take(&mut ebpf, fragments)?,
            events: Some(Events::take(&mut ebpf)?),
            flow_counts: Some(flow_counts),
            control,
            ebpf,
        })
    }

    /// The maps and programs behind it, for the program's own log.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}

/// Has the kernel verify all programs, side by side: that is most of the time
/// from the start to the first judged packet.
fn load_programs(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    program(ebpf)?;
    egress::program(ebpf)?;
    Slots::program(ebpf)?;
    let load = |program: &mut Program| match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::SockOps(program) => program.load(),
        // The object has no others.
        _ => Ok(()),
    };
    thread::scope(|scope| {
        let tasks: Vec<_> =
            ebpf.programs_mut().map(|(_, program)| scope.spawn(move || load(program))).collect();
        tasks.into_iter().try_for_each(|task| match task.join() {
            Ok(result) => result.map_err(program_error),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// The XDP program.
pub(super) fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, LoadError> {
    let missing = LoadError::Object { what: "program", name: PROGRAM };
    match ebpf.program_mut(PROGRAM) {
        Some(program) => program.try_into().map_err(|_| missing),
        None => Err(missing),
    }
}

/// What hashes in the kernel begin with: as random as what std's own hash maps
/// begin with, which is the system's randomness.
fn seed() -> Seed {
    let random = || RandomState::new().build_hasher().finish();
    [random(), random()]
}

/// Takes a map out of the object, as the type that it has.
pub(super) fn take<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, LoadError> {
    let map = ebpf.take_map(name).ok_or(LoadError::Object { what: "map", name })?;
    M::try_from(map).map_err(|error| LoadError::Other(error.into()))
}

fn check_kernel() -> Result<(), LoadError> {
    let found = KernelVersion::current().map_err(|error| LoadError::Other(error.into()))?;
    if found < minimum_kernel() {
        return Err(LoadError::KernelTooOld {
            found: version(found),
            needed: version(minimum_kernel()),
        });
    }
    Ok(())
}

/// `6.1` rather than the structure's own form.
fn version(version: KernelVersion) -> String {
    let code = version.code();
    format!("{}.{}", code >> 16, code >> 8 & 0xff)
}

fn load_error(error: EbpfError) -> LoadError {
    match error {
        EbpfError::MapError(MapError::CreateError { name, io_error, .. }) => {
            refused(io_error, |reason| LoadError::Map { map: name.to_string(), reason })
        }
        EbpfError::ProgramError(error) => program_error(error),
        other => match permission(&other) {
            Some(refusal) => refusal,
            None => LoadError::Other(other.into()),
        },
    }
}

fn program_error(error: ProgramError) -> LoadError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => refused(io_error, |reason| {
            let log = verifier_log.to_string();
            let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
            let tail = lines[lines.len().saturating_sub(6)..].join(" | ");
            LoadError::Verifier { reason, log: tail }
        }),
        other => LoadError::Other(other.into()),
    }
}

/// A refusal for want of privilege says nothing of the map or program that met it first.
fn refused(error: std::io::Error, other: impl FnOnce(std::io::Error) -> LoadError) -> LoadError {
    if error.raw_os_error() == Some(nix::libc::EPERM) { not_permitted() } else { other(error) }
}

fn permission(error: &(dyn std::error::Error + 'static)) -> Option<LoadError> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.raw_os_error() == Some(nix::libc::EPERM)
        {
            return Some(not_permitted());
        }
        source = error.source();
    }
    None
}

fn not_permitted() -> LoadError {
    match lockdown_mode(
        &std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default(),
    ) {
        Some(mode) if mode == "confidentiality" => LoadError::LockedDown { mode },
        _ => LoadError::NotPermitted,
    }
}

/// The chosen word of `none [integrity] confidentiality`.
fn lockdown_mode(text: &str) -> Option<String> {
    let chosen = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    chosen.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_lockdown_mode_is_in_brackets() {
        assert_eq!(
            lockdown_mode("none integrity [confidentiality]\n").as_deref(),
            Some("confidentiality")
        );
        assert_eq!(lockdown_mode("[none] integrity confidentiality").as_deref(), Some("none"));
        assert_eq!(lockdown_mode(""), None);
    }

    #[test]
    fn a_version_reads_as_people_write_it() {
        assert_eq!(version(KernelVersion::new(5, 10, 262)), "5.10");
    }
}
