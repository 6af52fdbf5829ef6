//! Where programs, links and maps are pinned, so that they outlive this process.
//!
//! Below the directory, on a bpffs:
//!
//! - `links/xdp-INDEX`, `links/egress-INDEX`, `links/slots`;
//! - `GROUP-VERSION/MAP`: maps that only mean something together. A change of
//!   what they hold is another version, and they are started anew.
//!
//! Inner maps of the policy are not pinned: each start makes its own, and those
//! in use live as long as the maps that hold them.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::maps::{MapError, MapInfo};
use aya_obj::{Map as Definition, Object};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use thiserror::Error;

use super::{Bans, control::Control};

/// The default directory.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/nodewall";
/// In the place of a directory: everything ends with the daemon.
pub const NO_PINS: &str = "none";

const LINKS: &str = "links";

/// Maps that are kept or started anew together.
#[derive(Debug)]
pub(super) struct Group {
    name: &'static str,
    /// Of what the maps hold; raised with every change of it.
    version: u32,
    /// What is lost with them, as operators call it.
    pub holds: &'static str,
    maps: &'static [&'static str],
}

/// What all others go by: the numbers of names, the seed of all hashes.
const IDENTITY: Group =
    Group { name: "names", version: 1, holds: "all of it", maps: &["NAMES", "SETTLED"] };
const POLICY: Group = Group {
    name: "policy",
    version: 2,
    holds: "the policy in force",
    maps: &[
        Control::MAP,
        "PORTS",
        "VIEWS",
        "PREFIX_FILTERS",
        "PREFIXES",
        "RULES",
        "LISTS",
        "LIST_LEAVES",
        "LIST_PREFIXES",
    ],
};
const BANS: Group = Group {
    name: "bans",
    version: 2,
    holds: "the table of bans",
    maps: &[Bans::IPV4, Bans::IPV6, "BAN_PREFIXES", "BAN_BITMAP"],
};
const COUNTERS: Group =
    Group { name: "counters", version: 1, holds: "counters", maps: &["BLOCKS", "RULE_COUNTERS"] };

/// All groups; what is in none of them is made anew at each start.
static GROUPS: [Group; 8] = [
    IDENTITY,
    POLICY,
    BANS,
    COUNTERS,
    Group {
        name: "rates",
        version: 1,
        holds: "the rates of sources and networks",
        maps: &["SOURCES", "TAGS", "KNOWN", "TOTALS", "INTERFACE_RATES"],
    },
    Group {
        name: "flows",
        version: 1,
        holds: "what this host has sent and awaits answers to",
        maps: &["FLOWS", "ANSWERED", "HALF_OPEN", "ASKED", "SPOKEN"],
    },
    Group {
        name: "slots",
        version: 1,
        holds: "the counts of connections, which are made again from the sockets",
        maps: &["SLOTS", "MENDED", "CHARGED", "NOTES"],
    },
    Group {
        name: "fragments",
        version: 1,
        holds: "datagrams whose fragments are under way",
        maps: &["FRAGMENTS"],
    },
];

impl Group {
    fn directory(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// Why pins cannot be made or used.
#[derive(Debug, Error)]
pub enum PinError {
    /// Not a bpffs.
    #[error(
        "{} is not on a bpffs, on which the filter outlives its controller: `mount -t bpf bpf /sys/fs/bpf`, or name a directory on one with `--pins` (with `--pins none` the filter ends with the daemon)",
        .0.display()
    )]
    NoBpffs(PathBuf),
    /// Another daemon uses it.
    #[error(
        "another nodewall daemon runs with the pins in {}: stop it, or give this one a directory of its own with `--pins`",
        .0.display()
    )]
    Locked(PathBuf),
    /// Something could not be done with a file there.
    #[error("{} could not be {action} ({reason}): see who owns the directory and that it is on a bpffs, or name another one with `--pins`", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        reason: io::Error,
    },
    /// A map is there that this program cannot use.
    #[error(
        "what is pinned in {} was not made by this version of nodewall, and what is attached stays as it is: {}. Remove it with `nodewall detach` (which takes the filter off), or name another directory with `--pins`",
        .directory.display(), .differences.join("; ")
    )]
    Differs {
        /// The directory.
        directory: PathBuf,
        /// How each map differs.
        differences: Vec<String>,
    },
}

/// The directory of pins.
#[derive(Debug, Clone)]
pub struct Pins {
    root: PathBuf,
    /// Held by the one daemon that may change what is there.
    _lock: Option<Arc<Flock<fs::File>>>,
}

/// What was found there.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Where each map is pinned, or will be.
    pub paths: Vec<(&'static str, PathBuf)>,
    kept: BTreeSet<&'static str>,
    /// What was there in another form, and why it is started anew.
    pub renewed: Vec<(&'static Group, String)>,
}

impl Found {
    /// Whether anything is taken over from an earlier start.
    pub(super) fn any(&self) -> bool {
        self.kept.contains(IDENTITY.name)
    }

    /// Whether the tables of the policy are those of an earlier start.
    pub(super) fn policy(&self) -> bool {
        self.kept.contains(POLICY.name)
    }

    /// Whether the table of bans is an earlier one.
    pub(super) fn bans(&self) -> bool {
        self.kept.contains(BANS.name)
    }

    /// Where the seed is that what is kept goes by.
    pub(super) fn path(&self, map: &str) -> Option<&Path> {
        self.paths.iter().find(|(name, _)| *name == map).map(|(_, path)| path.as_path())
    }
}

impl Pins {
    /// The directory, which is made if need be.
    ///
    /// # Errors
    ///
    /// When it is not on a bpffs, or may not be written.
    pub fn open(root: &Path) -> Result<Self, PinError> {
        let existing = root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let found = statfs(existing).map_err(|errno| PinError::File {
            path: existing.to_owned(),
            action: "looked at",
            reason: errno.into(),
        })?;
        if found.filesystem_type() != BPF_FS_MAGIC {
            return Err(PinError::NoBpffs(root.to_owned()));
        }
        make(&root.join(LINKS))?;
        let opened = fs::File::open(root).map_err(|reason| PinError::File {
            path: root.to_owned(),
            action: "opened",
            reason,
        })?;
        // A bpffs has no files to lock, but its directories can be.
        let lock = Flock::lock(opened, FlockArg::LockExclusiveNonblock)
            .map_err(|_| PinError::Locked(root.to_owned()))?;
        Ok(Self { root: root.to_owned(), _lock: Some(Arc::new(lock)) })
    }

    /// The directory if anything is pinned there, to look at or to remove.
    #[must_use]
    pub fn existing(root: &Path) -> Option<Self> {
        root.join(LINKS).is_dir().then(|| Self { root: root.to_owned(), _lock: None })
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a link of an interface is pinned. By index: a file of a bpffs has
    /// no dot in its name, an interface may.
    pub(super) fn link(&self, kind: &str, index: u32) -> PathBuf {
        self.root.join(LINKS).join(format!("{kind}-{index}"))
    }

    /// Where the link that counts connections is pinned.
    pub(super) fn slots(&self) -> PathBuf {
        self.root.join(LINKS).join("slots")
    }

    /// Where the block of globals is pinned of the programs that are attached.
    pub(super) fn control(&self) -> PathBuf {
        self.root.join(POLICY.directory()).join(pin_name(Control::MAP))
    }

    /// Likewise of those that a start under way attaches.
    pub(super) fn next_control(&self) -> PathBuf {
        self.root.join(POLICY.directory()).join("NEXT")
    }

    /// Where a map is pinned of which there are several.
    pub(super) fn chunk(&self, number: u32) -> PathBuf {
        self.root.join(COUNTERS.directory()).join(format!("rules-{number}"))
    }

    /// The indexes of the interfaces that have a link pinned.
    #[must_use]
    pub fn interfaces(&self) -> BTreeSet<u32> {
        let entries = fs::read_dir(self.root.join(LINKS)).into_iter().flatten().flatten();
        let index = |name: &str| name.split_once('-')?.1.parse().ok();
        entries.filter_map(|entry| index(entry.file_name().to_str()?)).collect()
    }

    /// Sees which maps are there that the object can go on with. Those that
    /// hold something else, or have another size now, are removed.
    pub(super) fn find(
        &self,
        object: &Object,
        sizes: &HashMap<&str, u32>,
    ) -> Result<Found, PinError> {
        let mut found = Found::default();
        let mut differences = Vec::new();
        for group in &GROUPS {
            let directory = self.root.join(group.directory());
            // Globals the loader would fill with zeros, whatever is in use; see
            // `control`.
            for map in group.maps.iter().filter(|map| **map != Control::MAP) {
                found.paths.push((map, directory.join(map)));
            }
            let state = if group.name == IDENTITY.name || found.any() {
                self.state(group, object, sizes)?
            } else {
                GroupState::Other("it goes by numbers that are gone".to_owned())
            };
            match state {
                GroupState::Kept => {
                    found.kept.insert(group.name);
                    continue;
                }
                GroupState::Foreign(more) => differences.extend(more),
                GroupState::Other(why) => {
                    if directory.exists() {
                        self.remove(&directory)?;
                        found.renewed.push((group, why));
                    } else if found.any() && self.has_other_version(group) {
                        let why = "this version of nodewall keeps it in another form".to_owned();
                        found.renewed.push((group, why));
                    }
                }
            }
            make(&directory)?;
        }
        if differences.is_empty() {
            Ok(found)
        } else {
            Err(PinError::Differs { directory: self.root.clone(), differences })
        }
    }

    fn state(
        &self,
        group: &Group,
        object: &Object,
        sizes: &HashMap<&str, u32>,
    ) -> Result<GroupState, PinError> {
        let (mut foreign, mut resized, mut absent) = (Vec::new(), Vec::new(), 0);
        for map in group.maps {
            let path = self.root.join(group.directory()).join(pin_name(map));
            // A map that the object lacks is the loader's to tell.
            let Some(definition) = object.maps.get(*map) else { continue };
            let info = match MapInfo::from_pin(&path) {
                Ok(info) => info,
                Err(error) if is_absent(&error) => {
                    absent += 1;
                    continue;
                }
                Err(error) => {
                    return Err(PinError::File { path, action: "opened", reason: io(error) });
                }
            };
            foreign.extend(differences(map, definition, &info));
            let entries = sizes.get(map).copied().unwrap_or(definition.max_entries());
            if info.max_entries() != entries {
                resized.push(format!("{} entries, not {}", entries, info.max_entries()));
            }
        }
        Ok(if absent > 0 {
            GroupState::Other("it was not made to its end".to_owned())
        } else if !foreign.is_empty() {
            GroupState::Foreign(foreign)
        } else if let Some(first) = resized.first() {
            GroupState::Other(format!("its size has changed ({first})"))
        } else {
            GroupState::Kept
        })
    }

    fn has_other_version(&self, group: &Group) -> bool {
        let prefix = format!("{}-", group.name);
        self.directories().iter().any(|name| name.starts_with(&prefix))
    }

    fn directories(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Removes what earlier versions pinned in another form.
    pub(super) fn remove_other_versions(&self) -> Result<(), PinError> {
        let current: Vec<String> = GROUPS.iter().map(Group::directory).collect();
        for name in self.directories() {
            let ours = name.rsplit_once('-').is_some_and(|(group, version)| {
                GROUPS.iter().any(|known| known.name == group) && version.parse::<u32>().is_ok()
            });
            if ours && !current.contains(&name) {
                self.remove(&self.root.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes everything, links first: what they hold ends with them.
    ///
    /// # Errors
    ///
    /// When a file cannot be removed; those before it are gone.
    pub fn remove_all(&self) -> Result<(), PinError> {
        self.remove(&self.root.join(LINKS))?;
        for name in self.directories() {
            self.remove(&self.root.join(name))?;
        }
        // It may be another's, who made it for this service.
        let _kept = fs::remove_dir(&self.root);
        Ok(())
    }

    fn remove(&self, directory: &Path) -> Result<(), PinError> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(PinError::File { path: directory.to_owned(), action: "removed", reason: error })
            }
            _ => Ok(()),
        }
    }
}

fn make(directory: &Path) -> Result<(), PinError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|reason| PinError::File { path: directory.to_owned(), action: "made", reason })
}

enum GroupState {
    Kept,
    /// Not of this program.
    Foreign(Vec<String>),
    /// Not there, or there in another form, and why.
    Other(String),
}

/// A file of a bpffs has no dot in its name.
fn pin_name(map: &str) -> &str {
    if map == Control::MAP { "CONTROL" } else { map }
}

/// What of a map is not as the program wants it: the loader does not look.
fn differences(name: &str, wanted: &Definition, found: &MapInfo) -> Vec<String> {
    let kind = found.map_type().map(|kind| kind as u32).unwrap_or(0);
    [
        ("type", wanted.map_type(), kind),
        ("size of keys", wanted.key_size(), found.key_size()),
        ("size of values", wanted.value_size(), found.value_size()),
        ("flags", wanted.map_flags(), found.map_flags()),
    ]
    .iter()
    .filter(|(_, wanted, found)| wanted != found)
    .map(|(what, wanted, found)| format!("{}: {what} is {found}, not {wanted}", pin_name(name)))
    .collect()
}

fn is_absent(error: &MapError) -> bool {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::NotFound;
        }
        next = error.source();
    }
    false
}

fn io(error: MapError) -> io::Error {
    io::Error::other(super::error::root_cause(&error))
}
