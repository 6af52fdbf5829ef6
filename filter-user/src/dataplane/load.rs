//! Brings the program and its maps into the kernel.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    thread,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{Array, Map, MapData, MapError},
    programs::{Program, ProgramError, Xdp},
    util::KernelVersion,
};
use aya_obj::Object;
use filter_common::{Seed, tables};

use super::{
    Bans, DataPlane, LoadError, MapFault, PROGRAM, Pins,
    control::{Control, place_of_cut_off_start},
    counters::{RuleCounters, Totals},
    egress,
    events::Events,
    flow_log::FlowCounts,
    flows::{Flows, sizes},
    fragments::Fragments,
    generations::Generations,
    names::Names,
    own_ports::OwnPorts,
    pins::Found,
    probe::{self, Origin},
    slots::Slots,
    sources::Sources,
};
use crate::policy::Tables;

/// The object, built from `filter-ebpf` and embedded.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("NODEWALL_OBJECT"));

/// The oldest kernel that the test matrix (`cargo xtask vm`) has shown to run it.
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
    /// Where it is pinned; without, it ends with this process.
    pub pins: Option<Pins>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { tables: Tables::default(), log: KernelLog::Off, object: None, pins: None }
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
        Self::load_as(options, GUARD)
    }

    /// The same, for a [mode](probe) of the program.
    pub(super) fn load_as(options: &Options<'_>, mode: u32) -> Result<Self, LoadError> {
        check_kernel()?;
        let room = &options.tables;
        let object = options.object.unwrap_or(OBJECT);
        let mut form = Form::of(room, mode);
        let found = match &options.pins {
            Some(pins) => pins.find(&parse(object)?, &form.pinned)?,
            None => Found::default(),
        };
        let settled = if found.any() { settled(&found)? } else { UNSETTLED };
        // A start that was cut off has made the tables and not used them.
        form.seed = if settled == UNSETTLED { seed() } else { settled };
        let seed = form.seed;
        let mut ebpf = form.load(object, &found, options.log)?;
        load_programs(&mut ebpf, mode)?;
        settle(&mut ebpf, seed)?;
        let pins = options.pins.as_ref();
        let kept = pins.filter(|_| found.policy());
        let avoid = kept.map(place_of_cut_off_start).transpose()?.flatten();
        // Before they are taken.
        let origin = Origin::of(&ebpf, form, options.object)?;
        let control = Control::take(&mut ebpf, pins)?;
        let fragments = tables::Fragments { seed, buckets: origin.form.fragments };
        // It needs a map that others take.
        let flow_counts = FlowCounts::take(&mut ebpf)?;
        Ok(Self {
            generations: Generations::take(&mut ebpf, control.clone(), avoid)?,
            slots: Slots::take(&mut ebpf, control.clone(), room.slots)?,
            sources: Sources::take(&mut ebpf)?,
            flows: Flows::take(&mut ebpf, &room.flows)?,
            totals: Totals::take(&mut ebpf)?,
            rule_counters: RuleCounters::take(&mut ebpf, pins)?,
            bans: Bans::take(&mut ebpf, control.clone(), seed, room.bans.max(1))?,
            own_ports: OwnPorts::take(&mut ebpf, control.clone(), seed)?,
            fragments: Fragments::take(&mut ebpf, fragments)?,
            names: Names::take(&mut ebpf)?,
            events: Some(Events::take(&mut ebpf)?),
            flow_counts: Some(flow_counts),
            control,
            ebpf,
            pins: options.pins.clone(),
            found,
            origin: Arc::new(origin),
        })
    }

    /// The maps and programs behind it, for the program's own log.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}

/// The mode of the program that guards the host.
const GUARD: u32 = 0;

/// What is settled when maps are made and programs loaded.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) seed: Seed,
    /// Bits of [`probe`].
    pub(super) mode: u32,
    /// Entries by map: of those that are pinned, and of others.
    pub(super) pinned: HashMap<&'static str, u32>,
    others: HashMap<&'static str, u32>,
    fragments: u32,
    sources: u32,
    known: u32,
    bans: u32,
    flow_log: u32,
}

impl Form {
    fn of(room: &Tables, mode: u32) -> Self {
        let [sources, known] = [room.sources, room.known].map(Sources::buckets);
        let fragments = Fragments::buckets(room.fragments);
        let bans = Bans::buckets(room.bans);
        let mut pinned: HashMap<&str, u32> =
            sizes(&room.flows).map(|(map, entries)| (map, entries.max(1))).into();
        pinned.extend([
            (Bans::IPV6, room.bans.max(1)),
            (Bans::IPV4, bans),
            (Sources::MAP, sources),
            (Sources::TAGS, sources),
            ("KNOWN", known),
            (Slots::COUNTED, room.slots),
            (Slots::MENDED, room.slots),
            (Fragments::MAP, fragments),
        ]);
        let mut form = Self {
            seed: UNSETTLED,
            mode,
            pinned,
            others: HashMap::new(),
            fragments,
            sources,
            known,
            bans,
            flow_log: 0,
        };
        form.count_flows(room.flow_log);
        form.tell(mode);
        form
    }

    /// The same, for a program that only answers questions: it logs no flows.
    pub(super) fn for_questions(&self, mode: u32) -> Self {
        let mut form = Self { mode, ..self.clone() };
        form.tell(mode);
        form.count_flows(1);
        form
    }

    /// Makes room for the sockets that it is told of.
    fn tell(&mut self, mode: u32) {
        let told = mode & tables::probe::TOLD != 0;
        self.others.insert(probe::TOLD, if told { tables::probe::SOCKETS } else { 1 });
    }

    /// Makes room for so many flows in the flow log's tables.
    fn count_flows(&mut self, flows: u32) {
        self.flow_log = FlowCounts::buckets(flows);
        let both = self.flow_log * 2;
        self.others.extend([(FlowCounts::COUNTS, both), (FlowCounts::TAGS, both)]);
    }

    /// Makes the maps, or takes those that were found.
    pub(super) fn load(
        &self,
        object: &[u8],
        found: &Found,
        log: KernelLog,
    ) -> Result<Ebpf, LoadError> {
        let level: u8 = match log {
            KernelLog::Off => 0,
            KernelLog::Drops => 4,
        };
        let mut loader = EbpfLoader::new();
        for (map, entries) in self.pinned.iter().chain(&self.others) {
            loader.map_max_entries(map, *entries);
        }
        for (map, path) in &found.paths {
            loader.map_pin_path(map, path);
        }
        loader
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global("SEED", &self.seed, true)
            .override_global("FRAGMENT_BUCKETS", &self.fragments, true)
            .override_global("SOURCES_MASK", &(self.sources - 1), true)
            .override_global("FLOWS_MASK", &(self.flow_log - 1), true)
            .override_global("KNOWN_MASK", &(self.known - 1), true)
            .override_global("BANS_MASK", &(self.bans - 1), true)
            .override_global("PROBE_MODE", &self.mode, true)
            .override_global("AYA_LOG_LEVEL", &level, false)
            .load(object)
            .map_err(load_error)
    }
}

/// Where the seed is kept that the tables were made with.
const SETTLED: &str = "SETTLED";
const UNSETTLED: Seed = [0; 2];

/// The seed that the tables of an earlier start go by.
fn settled(found: &Found) -> Result<Seed, LoadError> {
    let missing = LoadError::Object { what: "map", name: SETTLED };
    let path = found.path(SETTLED).ok_or(missing)?;
    let read = || {
        let map: Array<_, u64> = Map::from_map_data(MapData::from_pin(path)?)?.try_into()?;
        Ok([map.get(&0, 0)?, map.get(&1, 0)?])
    };
    Ok(read().map_err(MapFault::of(SETTLED, "read"))?)
}

/// Keeps the seed for the next start.
fn settle(ebpf: &mut Ebpf, seed: Seed) -> Result<(), LoadError> {
    let mut map: Array<MapData, u64> = take(ebpf, SETTLED)?;
    for (place, word) in (0_u32..).zip(seed) {
        map.set(place, word, 0).map_err(MapFault::of(SETTLED, "write"))?;
    }
    Ok(())
}

fn parse(object: &[u8]) -> Result<Object, LoadError> {
    Object::parse(object).map_err(|error| LoadError::Other(error.into()))
}

/// Has the kernel verify all programs, side by side: that is most of the time
/// from the start to the first judged packet. One that only answers questions
/// needs no program that follows sockets.
pub(super) fn load_programs(ebpf: &mut Ebpf, mode: u32) -> Result<(), LoadError> {
    program(ebpf)?;
    egress::program(ebpf)?;
    Slots::program(ebpf)?;
    let load = |program: &mut Program| match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::SockOps(program) if mode == GUARD => program.load(),
        // The object has no others to load.
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
            if !may_use_pointers() {
                return not_permitted();
            }
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

/// Whether the verifier lets this process compute with pointers: without the
/// capability it refuses the program as if that were wrong.
fn may_use_pointers() -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_PERFMON: u64 = 1 << 38;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    // Where it cannot be told, what the verifier says is.
    bits.is_none_or(|bits| bits & (CAP_SYS_ADMIN | CAP_PERFMON) != 0)
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
    fn the_readme_names_the_oldest_kernel() {
        let sentence = format!("Kernels: Linux {} or newer.", version(minimum_kernel()));
        assert!(include_str!("../../../README.md").contains(&sentence), "README: {sentence}");
    }

    #[test]
    fn a_version_reads_as_people_write_it() {
        assert_eq!(version(KernelVersion::new(5, 10, 262)), "5.10");
    }
}
