//! Gives a second load of the object maps of the first.
#![expect(unsafe_code, reason = "aya has no way to load a program with maps that are open already")]

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use filter_common::tables::probe::READ_ONLY;
use nix::libc;

use crate::dataplane::{
    Bans, KernelLog, LoadError,
    load::{Form, OBJECT, load_programs},
    pins::Found,
};

/// What a packet is judged by that no packet changes.
pub(super) const POLICY: &[&str] = &[
    ".bss",
    "PORTS",
    "VIEWS",
    "PREFIX_FILTERS",
    "PREFIXES",
    "RULES",
    "LISTS",
    "LIST_LEAVES",
    "LIST_PREFIXES",
    Bans::IPV4,
    Bans::IPV6,
    "BAN_PREFIXES",
    "BAN_BITMAP",
    "SLOTS",
    "MENDED",
    "NOTES",
];
/// What packets change. Only a program that is read-only may share it.
pub(super) const STATE: &[&str] = &[
    "SOURCES",
    "TAGS",
    "TOTALS",
    "KNOWN",
    "INTERFACE_RATES",
    "FRAGMENTS",
    "SPOKEN",
    "MARKED",
    "SILENT",
];
/// Those of which single entries are copied.
pub(super) const COPIED: &[&str] = &["FLOWS", "ANSWERED", "HALF_OPEN"];

/// Room for those: one is looked at at a time, and an LRU table wants some for
/// each CPU.
const ENTRIES: u32 = 1024;

/// What the program was made of that guards the host.
#[derive(Debug)]
pub struct Origin {
    pub(in crate::dataplane) form: Form,
    object: Option<Box<[u8]>>,
    maps: HashMap<&'static str, OwnedFd>,
}

impl Origin {
    /// `ebpf`: still with all its maps. `object`: another than the embedded one.
    pub(in crate::dataplane) fn of(
        ebpf: &Ebpf,
        form: Form,
        object: Option<&[u8]>,
    ) -> Result<Self, LoadError> {
        let mut maps = HashMap::new();
        for name in [POLICY, STATE, COPIED].into_iter().flatten() {
            let fd = data(ebpf, name)?.fd().as_fd().try_clone_to_owned();
            maps.insert(*name, fd.map_err(other)?);
        }
        Ok(Self { form, object: object.map(Into::into), maps })
    }

    /// An open map.
    pub(super) fn map(&self, name: &'static str) -> Result<MapData, LoadError> {
        let fd = self.maps.get(name).ok_or(LoadError::Object { what: "map", name })?;
        let fd = fd.try_clone().map_err(other)?;
        MapData::from_fd(fd).map_err(|error| LoadError::Other(error.into()))
    }

    /// Loads the object anew, with these maps in the place of its own.
    pub(super) fn share(&self, mode: u32, groups: &[&[&'static str]]) -> Result<Ebpf, LoadError> {
        let mut form = self.form.for_questions(mode);
        let shared = || groups.iter().copied().flatten().copied();
        for name in shared() {
            // It is given up at once.
            if let Some(entries) = form.pinned.get_mut(name) {
                *entries = 1;
            }
        }
        if mode & READ_ONLY != 0 {
            for name in COPIED {
                form.pinned.insert(name, ENTRIES);
            }
        }
        let object = self.object.as_deref().unwrap_or(OBJECT);
        let mut ebpf = form.load(object, &Found::default(), KernelLog::Off)?;
        for name in shared() {
            let live = self.maps.get(name).ok_or(LoadError::Object { what: "map", name })?;
            replace(data(&ebpf, name)?, live).map_err(other)?;
        }
        load_programs(&mut ebpf, mode)?;
        Ok(ebpf)
    }
}

/// Makes an open descriptor one of another map: the program, which is not
/// loaded yet, names its maps by their descriptors' numbers.
fn replace(own: &MapData, other: &OwnedFd) -> io::Result<()> {
    let own = own.fd().as_fd().as_raw_fd();
    // SAFETY: both are open, and their owners stay so: the number goes on being
    // owned by whom it was, and what it stood for is closed by the kernel.
    let answer = unsafe { libc::dup3(other.as_raw_fd(), own, libc::O_CLOEXEC) };
    if answer == own { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A map of the object, as aya holds it.
fn data<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a MapData, LoadError> {
    match ebpf.map(name) {
        Some(
            Map::Array(data)
            | Map::ArrayOfMaps(data)
            | Map::HashMap(data)
            | Map::LpmTrie(data)
            | Map::LruHashMap(data),
        ) => Ok(data),
        _ => Err(LoadError::Object { what: "map", name }),
    }
}

fn other(error: io::Error) -> LoadError {
    LoadError::Other(error.into())
}
