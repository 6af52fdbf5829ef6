//! The control socket: one daemon for each, however many start at once.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{
            fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use tracing::info;

use super::DaemonError;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// The socket's file, held by this process alone. Nobody can connect until
/// [`listen`](Self::listen). It is removed when this value goes.
#[derive(Debug)]
pub(super) struct ControlSocket {
    path: PathBuf,
    unheard: Option<OwnedFd>,
    /// Held until the end; its file stays, for a lock on a file that can be
    /// removed would not keep two daemons apart.
    _lock: File,
}

impl ControlSocket {
    /// Takes the socket for this process; removes one that nobody listens on.
    pub(super) fn take(path: &Path) -> Result<Self, DaemonError> {
        let fault = |path: &Path, action| {
            let path = path.to_owned();
            move |reason| DaemonError::Socket { path, action, reason }
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(fault(directory, "made"))?;
        }
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path);
        let lock = lock.map_err(fault(&lock_path, "opened"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DaemonError::Locked(lock_path)),
            Err(TryLockError::Error(error)) => return Err(fault(&lock_path, "locked")(error)),
        }
        remove_stale(path)?;
        let made = (|| {
            let unheard = socket(
                AddressFamily::Unix,
                SockType::Stream,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                None,
            )?;
            bind(unheard.as_raw_fd(), &UnixAddr::new(path)?)?;
            Ok(unheard)
        })();
        let unheard = made.map_err(|error: nix::Error| fault(path, "made")(error.into()))?;
        let socket = Self { path: path.to_owned(), unheard: Some(unheard), _lock: lock };
        // Whoever can reach it may connect: a file has one group, and two may ask.
        // The credentials of the peer decide.
        fs::set_permissions(path, Permissions::from_mode(0o666))
            .map_err(fault(path, "given its mode"))?;
        Ok(socket)
    }

    /// From now on others can connect.
    pub(super) fn listen(&mut self) -> Result<Option<UnixListener>, DaemonError> {
        let Some(unheard) = self.unheard.take() else { return Ok(None) };
        let made = Backlog::new(BACKLOG).and_then(|backlog| listen(&unheard, backlog));
        made.map_err(|error| DaemonError::Socket {
            path: self.path.clone(),
            action: "listened on",
            reason: error.into(),
        })?;
        Ok(Some(UnixListener::from(unheard)))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A stale one is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the socket that a daemon left which was killed.
fn remove_stale(path: &Path) -> Result<(), DaemonError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(reason) => {
            return Err(DaemonError::Socket { path: path.to_owned(), action: "looked at", reason });
        }
    };
    if !metadata.file_type().is_socket() {
        return Err(DaemonError::NoSocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let removed = fs::remove_file(path);
            removed.map_err(|reason| DaemonError::Socket {
                path: path.to_owned(),
                action: "removed",
                reason,
            })?;
            info!(
                "removed {}, on which nobody listened: an earlier daemon was killed",
                path.display()
            );
            Ok(())
        }
        _ => Err(DaemonError::Occupied(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connects(path: &Path) -> bool {
        UnixStream::connect(path).is_ok()
    }

    #[test]
    fn one_process_takes_it_and_the_next_one_is_told() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("deep/er/control.sock");
        let mut first = ControlSocket::take(&path)?;
        assert!(!connects(&path), "nobody may connect before it listens");
        assert!(matches!(ControlSocket::take(&path), Err(DaemonError::Locked(_))));
        let listener = first.listen()?;
        assert!(listener.is_some() && connects(&path));
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o666);
        drop(first);
        assert!(!path.exists());
        ControlSocket::take(&path)?;
        Ok(())
    }

    #[test]
    fn a_stale_one_is_removed_and_a_live_or_foreign_one_is_not()
    -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path)?;
        assert!(matches!(ControlSocket::take(&path), Err(DaemonError::Occupied(_))));
        drop(listener);
        drop(ControlSocket::take(&path)?);
        fs::write(&path, "a file")?;
        assert!(matches!(ControlSocket::take(&path), Err(DaemonError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path)?, "a file");
        Ok(())
    }
}
