//! The state directory: what outlives the daemon and the machine's reboots.

pub mod bans;
pub mod policies;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Where the state lies if nothing else is said.
pub const DEFAULT: &str = "/var/lib/nodewall";

/// Why something could not be kept, or what was kept not be read.
#[derive(Debug, Error)]
pub enum StateError {
    /// Another daemon keeps its state there.
    #[error("another nodewall daemon keeps its state in {}: stop it (`nodewall detach`), or give this one a directory of its own with `--state`", .0.display())]
    Locked(PathBuf),
    /// The operating system refused.
    #[error("{} could not be {action} ({reason}): {}", .path.display(), remedy(.reason))]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        reason: io::Error,
    },
}

impl StateError {
    pub(crate) fn of(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |reason| Self::File { path, action, reason }
    }
}

fn remedy(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount its file system for writing, or name another directory with `--state`"
        }
        io::ErrorKind::PermissionDenied => {
            "let the user that nodewall runs as write there, or name another directory with `--state`"
        }
        _ => "see that the disk is sound, or name another directory with `--state`",
    }
}

/// The state directory, held by this process alone for as long as the value lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Its file stays: a lock on a file that can be removed would not keep two
    /// daemons apart.
    _lock: File,
}

impl StateDir {
    /// Takes the directory for this process; makes it where there is none, for
    /// nobody else to read.
    ///
    /// # Errors
    ///
    /// When another daemon has it, or it cannot be made.
    pub fn take(path: &Path) -> Result<Self, StateError> {
        if !path.is_dir() {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(StateError::of(parent, "made"))?;
            }
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => {
                    return Err(StateError::of(path, "made")(error));
                }
                _ => {}
            }
        }
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(StateError::of(&lock_path, "opened"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(StateError::of(&lock_path, "locked")(error)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes what happened to the names in a directory durable: files that came,
/// went or were renamed.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StateError> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(StateError::of(directory, "synced to its disk"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_directory_is_made_for_its_owner_and_for_one_daemon()
    -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("var/lib/nodewall");
        let first = StateDir::take(&path)?;
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o700);
        assert!(matches!(StateDir::take(&path), Err(StateError::Locked(_))));
        drop(first);
        StateDir::take(&path)?;
        Ok(())
    }

    #[test]
    fn what_cannot_be_made_is_told_with_a_remedy() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("file");
        fs::write(&path, "")?;
        let error = StateDir::take(&path).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("could not be made") && error.contains("--state"), "{error}");
        Ok(())
    }
}
