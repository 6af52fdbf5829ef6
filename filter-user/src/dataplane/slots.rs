//! Connections that are held: the program that counts them, what it has
//! counted, and what the controller adds to that.

use std::{
    collections::HashMap as Counts,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::PathBuf,
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError},
    programs::{CgroupAttachMode, ProgramError, SockOps, links::FdLink},
};
use filter_common::{
    slots,
    tables::{self, SourceKey, notes},
};
use thiserror::Error;

use super::{LoadError, MapFault, Pins, control::Control, link::Held, load::take};

/// Why connections cannot be counted as they come and go.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// There is no cgroup of version 2.
    #[error(
        "no file system of type cgroup2 is mounted: `mount -t cgroup2 none /sys/fs/cgroup/unified` makes one"
    )]
    NotMounted,
    /// The mounts cannot be read.
    #[error("cannot read /proc/self/mounts: {0}")]
    Mounts(#[source] io::Error),
    /// The directory cannot be opened.
    #[error("cannot open the cgroup {}: {reason}", .path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The kernel refuses the link.
    #[error("the kernel refuses the program on the cgroup {}: {}", .path.display(), super::error::root_cause(.reason))]
    Attach {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: ProgramError,
    },
    /// The link cannot be pinned.
    #[error("the program that counts connections could not be pinned: {0}")]
    Pin(#[source] io::Error),
    /// The object lacks it.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// The tables in the kernel.
pub struct Slots {
    counted: HashMap<MapData, SourceKey, u64>,
    mended: HashMap<MapData, SourceKey, u64>,
    notes: Array<MapData, u64>,
    charged: MapData,
    control: Control,
    capacity: u32,
    /// How many keys the controller has corrected.
    corrections: Counts<SourceKey, i64>,
    /// It counts for as long as this is held.
    link: Option<Held>,
}

impl Slots {
    pub(super) const COUNTED: &str = "SLOTS";
    pub(super) const MENDED: &str = "MENDED";
    const NOTES: &str = "NOTES";
    const CHARGED: &str = "CHARGED";
    const PROGRAM: &str = "nodewall_slots";

    /// The tables. The connections that count are those of the network
    /// namespace that the calling thread is in.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        control: Control,
        capacity: u32,
    ) -> Result<Self, LoadError> {
        let missing = LoadError::Object { what: "map", name: Self::CHARGED };
        let Some(Map::SkStorage(charged)) = ebpf.take_map(Self::CHARGED) else {
            return Err(missing);
        };
        let namespace =
            super::namespace::cookie().map_err(|error| LoadError::Other(error.into()))?;
        control.change(|control| {
            control.namespace = namespace;
            Ok(())
        })?;
        let mended: HashMap<MapData, SourceKey, u64> = take(ebpf, Self::MENDED)?;
        let corrections = mended
            .iter()
            .map(|entry| entry.map(|(key, count)| (key, count.cast_signed())))
            .collect::<Result<Counts<_, _>, _>>()
            .map_err(MapFault::of(Self::MENDED, "read"))?;
        control.set_flag(tables::control::MENDED, !corrections.is_empty())?;
        Ok(Self {
            counted: take(ebpf, Self::COUNTED)?,
            mended,
            notes: take(ebpf, Self::NOTES)?,
            charged,
            control,
            capacity,
            corrections,
            link: None,
        })
    }

    pub(super) fn program(ebpf: &mut Ebpf) -> Result<&mut SockOps, LoadError> {
        let missing = LoadError::Object { what: "program", name: Self::PROGRAM };
        match ebpf.program_mut(Self::PROGRAM) {
            Some(program) => program.try_into().map_err(|_| missing),
            None => Err(missing),
        }
    }

    /// What the program has counted by itself, where that is not 0 or was not
    /// when the table was last [pruned](Self::prune). Of containers apart, see
    /// [`Slot::key`](filter_common::tables::Slot::key).
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn counted(&self) -> Result<Counts<SourceKey, i64>, MapFault> {
        let fault = MapFault::of(Self::COUNTED, "read");
        self.counted
            .iter()
            .map(|entry| entry.map(|(key, count)| (key, count.cast_signed())).map_err(&fault))
            .collect()
    }

    /// How many connections are held: what was counted, of containers too, and
    /// what was corrected.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn held(&self) -> Result<Counts<SourceKey, u64>, MapFault> {
        let mut held: Counts<SourceKey, i64> = Counts::new();
        for (key, count) in self.counted()? {
            *held.entry(slots::own(&key)).or_default() += count;
        }
        for (key, correction) in &self.corrections {
            *held.entry(*key).or_default() += correction;
        }
        held.retain(|_, count| *count > 0);
        Ok(held.into_iter().map(|(key, count)| (key, count.cast_unsigned())).collect())
    }

    /// How many connections are held under one key, those of containers too.
    /// [`held`](Self::held) reads the whole table.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn held_under(&self, key: &SourceKey) -> Result<u64, MapFault> {
        let mut held = self.corrections.get(key).copied().unwrap_or(0);
        for key in [*key, slots::foreign(key)] {
            match self.counted.get(&key, 0) {
                Ok(count) => held += count.cast_signed(),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(MapFault::of(Self::COUNTED, "read")(error)),
            }
        }
        Ok(u64::try_from(held).unwrap_or(0))
    }

    /// How many keys are counted.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn entries(&self) -> Result<u64, MapFault> {
        let mut entries = 0;
        for key in self.counted.keys() {
            key.map_err(MapFault::of(Self::COUNTED, "read"))?;
            entries += 1;
        }
        Ok(entries)
    }

    /// What the controller adds to the count of each key.
    #[must_use]
    pub fn corrections(&self) -> &Counts<SourceKey, i64> {
        &self.corrections
    }

    /// Has the controller add so many to what is counted under a key. One write,
    /// which no count of the program's own can be lost by: it writes elsewhere.
    ///
    /// # Errors
    ///
    /// When the table is full, or the kernel refuses the write.
    pub fn correct(&mut self, key: SourceKey, correction: i64) -> Result<(), MapFault> {
        if self.corrections.get(&key).copied().unwrap_or(0) == correction {
            return Ok(());
        }
        if correction == 0 {
            match self.mended.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(MapFault::of(Self::MENDED, "change")(error)),
            }
            self.corrections.remove(&key);
        } else {
            self.mended.insert(key, correction.cast_unsigned(), 0).map_err(|error| {
                if MapFault::is_full(&error) {
                    MapFault::Full { table: "slots", capacity: self.capacity }
                } else {
                    MapFault::of(Self::MENDED, "change")(error)
                }
            })?;
            self.corrections.insert(key, correction);
        }
        self.control.set_flag(tables::control::MENDED, !self.corrections.is_empty())
    }

    /// Takes a key that counts nothing out of the table. What another processor
    /// adds at this very moment is found by the next recount.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn prune(&mut self, key: &SourceKey) -> Result<(), MapFault> {
        match self.counted.remove(key) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(MapFault::of(Self::COUNTED, "prune")(error)),
        }
    }

    /// Connections that came when a limit was reached already, since the start.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn surplus(&self) -> Result<u64, MapFault> {
        self.note(notes::SURPLUS)
    }

    /// Times that there was no room to count a connection, since the start.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn full(&self) -> Result<u64, MapFault> {
        self.note(notes::FULL)
    }

    fn note(&self, place: u32) -> Result<u64, MapFault> {
        self.notes.get(&place, 0).map_err(MapFault::of(Self::NOTES, "read"))
    }

    /// How many keys there is room for.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Whether connections are counted as they come and go.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.link.is_some()
    }

    /// The descriptor of the map that keeps with each socket what it is charged
    /// for ([`Slot`](filter_common::tables::Slot)); `sock_diag` wants it.
    #[must_use]
    pub fn storage(&self) -> i32 {
        self.charged.fd().as_fd().as_raw_fd()
    }

    pub(super) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        cgroup: Option<PathBuf>,
        pin: Option<PathBuf>,
    ) -> Result<(), CgroupError> {
        let path = match cgroup {
            Some(path) => path,
            None => root()?,
        };
        let file = fs::File::open(&path)
            .map_err(|reason| CgroupError::Open { path: path.clone(), reason })?;
        let program = Self::program(ebpf)?;
        // A link takes no flags, and always stands beside others
        // (`cgroup_bpf_link_attach` in kernel/bpf/cgroup.c).
        let link = program
            .attach(file, CgroupAttachMode::Single)
            .and_then(|id| program.take_link(id))
            .map_err(|reason| CgroupError::Attach { path, reason })?;
        let link =
            FdLink::try_from(link).map_err(|error| CgroupError::Pin(io::Error::other(error)))?;
        // Beside that of an earlier start for a moment: aya cannot put a program
        // in the place of another one here. What the one has counted the other
        // one leaves alone.
        self.link = Some(Held::new(link, pin).map_err(CgroupError::Pin)?);
        Ok(())
    }

    /// Ends the counting.
    pub(super) fn detach(&mut self) {
        if let Some(Err(error)) = self.link.take().map(Held::take_off) {
            tracing::warn!("the pin of the program that counts connections stays: {error}");
        }
    }
}

impl super::DataPlane {
    /// Begins to count connections as they come and go: on the root of the
    /// cgroups, or on the cgroup at a path. It ends with this value.
    ///
    /// # Errors
    ///
    /// When there are no cgroups of version 2, or the kernel refuses.
    pub fn count_connections(&mut self, cgroup: Option<PathBuf>) -> Result<(), CgroupError> {
        let Self { ebpf, slots, pins, .. } = self;
        slots.attach(ebpf, cgroup, pins.as_ref().map(Pins::slots))
    }
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots").finish_non_exhaustive()
    }
}

/// The root of the cgroups of version 2.
fn root() -> Result<PathBuf, CgroupError> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(CgroupError::Mounts)?;
    root_of(&mounts).map(PathBuf::from).ok_or(CgroupError::NotMounted)
}

/// That in a text of the form of fstab(5).
fn root_of(mounts: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (path, kind) = (words.next()?, words.next()?);
        // A space is written so, getmntent(3).
        (kind == "cgroup2").then(|| path.replace("\\040", " "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_found_among_the_mounts() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/a\\040b cgroup2 rw 0 0\n";
        assert_eq!(root_of(mounts).as_deref(), Some("/sys/fs/cgroup/a b"));
        assert_eq!(root_of("cgroup2 /x tmpfs rw 0 0\n"), None);
        assert_eq!(root_of("cgroup2\n"), None);
    }
}
