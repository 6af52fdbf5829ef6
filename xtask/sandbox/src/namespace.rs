//! A network namespace that exists as long as somebody holds it.
//!
//! Each namespace has one resident thread, which made it and lives in it. The
//! namespace has no name in the file system: it is kept by that thread and by
//! open files, so the kernel removes it when the last [`Namespace`] is dropped
//! and when this process dies, however it dies. Processes are started by the
//! resident thread and end with it.
//!
//! The resident thread also has a mount namespace of its own (see [`mounts`]),
//! which its processes share: there `/sys` shows the links of the network
//! namespace, `/sys/fs/bpf` is an empty bpffs, and files kept below
//! [`Namespace::files`] vanish with it.

mod mounts;
mod resident;

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    panic,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkFlags, LinkMessage},
};
use nix::sched::{CloneFlags, setns};
use resident::{Handles, Resident};

use crate::{
    Error, Result,
    link::netlink::{LinkState, Netlink},
};

/// Where kernel parameters are files; below `net/` each thread sees those of
/// its own network namespace.
const PARAMETER_ROOT: &str = "/proc/sys";

/// A network namespace of its own, with `lo` up. Clones are the same namespace.
#[derive(Clone)]
pub struct Namespace {
    inner: Arc<Inner>,
}

struct Inner {
    tag: String,
    handles: Handles,
    netlink: Mutex<Netlink>,
    resident: Resident,
    next_name: AtomicU32,
}

impl Namespace {
    /// Makes a namespace. `tag` is for threads and errors; it need not be unique.
    ///
    /// # Errors
    /// [`Error::Namespace`] names the step that failed: without root, or where
    /// a container forbids mounts. [`crate::requirements`] tells it beforehand.
    pub fn new(tag: &str) -> Result<Self> {
        let (resident, handles, netlink) = Resident::start(tag)?;
        let namespace = Self {
            inner: Arc::new(Inner {
                tag: tag.to_owned(),
                handles,
                netlink: Mutex::new(netlink),
                resident,
                next_name: AtomicU32::new(0),
            }),
        };
        let mut up = LinkMessage::default();
        up.header.flags = LinkFlags::Up;
        up.header.change_mask = LinkFlags::Up;
        up.header.index = namespace.link_state("lo")?.index;
        namespace
            .netlink("set lo up", |netlink| netlink.change(RouteNetlinkMessage::SetLink(up)))?;
        Ok(namespace)
    }

    /// The tag that it was made with.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.inner.tag
    }

    /// Runs `work` on a fresh thread inside the network namespace and returns
    /// what it returns. A panic goes on in the caller. The caller's own thread
    /// never enters; sockets that `work` returns stay in the namespace.
    ///
    /// Only the network namespace is entered: files are those of the caller.
    ///
    /// # Errors
    /// [`Error::Thread`] or [`Error::Enter`] where this process lost its rights.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name(format!("in {}", self.tag()))
                .spawn_scoped(scope, || {
                    setns(&self.inner.handles.net, CloneFlags::CLONE_NEWNET).map(|()| work())
                });
            let thread = thread
                .map_err(|source| Error::Thread { namespace: self.tag().to_owned(), source })?;
            let outcome = thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            outcome.map_err(|errno| Error::Enter {
                namespace: self.tag().to_owned(),
                source: errno.into(),
            })
        })
    }

    /// Starts a process inside the namespace and its mount namespace. It is
    /// killed (SIGKILL) when the last clone of this namespace is dropped, and
    /// when the calling process dies. The caller waits for it.
    ///
    /// # Errors
    /// [`Error::Spawn`] if there is no such program or it cannot be run.
    pub fn spawn(&self, command: Command) -> Result<Child> {
        let program = PathBuf::from(command.get_program());
        self.inner.resident.spawn(command).map_err(|source| Error::Spawn {
            namespace: self.tag().to_owned(),
            program,
            source,
        })
    }

    /// Path of the network namespace, `/proc/PID/fd/N`: for `nsenter --net=`,
    /// as long as this process lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        descriptor_path(&self.inner.handles.net)
    }

    /// The command line that enters both namespaces by hand.
    #[must_use]
    pub fn nsenter(&self) -> String {
        let mount = descriptor_path(&self.inner.handles.mount);
        format!("nsenter --net={} --mount={}", self.path().display(), mount.display())
    }

    /// Writes a parameter below `/proc/sys` of the network namespace, such as
    /// `net/ipv4/tcp_syncookies`.
    ///
    /// # Errors
    /// [`Error::Sysctl`] if there is no such parameter or it refuses the value.
    pub fn set_parameter(&self, parameter: &str, value: &str) -> Result<()> {
        let path = Path::new(PARAMETER_ROOT).join(parameter);
        self.enter(|| fs::write(&path, value))?.map_err(|source| Error::Sysctl {
            namespace: self.tag().to_owned(),
            path,
            value: value.to_owned(),
            source,
        })
    }

    /// A directory in memory that vanishes with the namespace, as its processes
    /// see it. [`Namespace::outside`] translates for the caller.
    #[must_use]
    pub fn files(&self) -> &'static Path {
        Path::new(mounts::FILES)
    }

    /// The namespace's own bpffs, as its processes see it.
    #[must_use]
    pub fn bpffs(&self) -> &'static Path {
        Path::new(mounts::BPFFS)
    }

    /// The path by which this process (and any other of the machine) reaches
    /// what the namespace's processes call `path`. Paths outside of
    /// [`Namespace::files`] and [`Namespace::bpffs`] are the same everywhere.
    #[must_use]
    pub fn outside(&self, path: &Path) -> PathBuf {
        let handles = &self.inner.handles;
        // The files are mounted below the bpffs, so they are asked first.
        for (directory, handle) in [(self.files(), &handles.files), (self.bpffs(), &handles.bpf)] {
            if let Ok(below) = path.strip_prefix(directory) {
                return descriptor_path(handle).join(below);
            }
        }
        path.to_owned()
    }

    /// A number that this namespace has not handed out before.
    pub(crate) fn next_number(&self) -> u32 {
        self.inner.next_name.fetch_add(1, Ordering::Relaxed)
    }

    /// The open namespace, to name it to the kernel.
    pub(crate) fn descriptor(&self) -> &File {
        &self.inner.handles.net
    }

    /// Talks to the namespace's rtnetlink; `action` goes on after "refused to".
    pub(crate) fn netlink<T>(
        &self,
        action: impl Into<String>,
        talk: impl FnOnce(&mut Netlink) -> io::Result<T>,
    ) -> Result<T> {
        talk(&mut lock(&self.inner.netlink)).map_err(|source| Error::Netlink {
            namespace: self.tag().to_owned(),
            action: action.into(),
            source,
        })
    }

    /// The state of a link, `None` if there is none of that name.
    pub(crate) fn find_link(&self, name: &str) -> Result<Option<LinkState>> {
        self.netlink(format!("look up the link `{name}`"), |netlink| netlink.link(name))
    }

    /// The state of a link that must be there.
    pub(crate) fn link_state(&self, name: &str) -> Result<LinkState> {
        self.find_link(name)?.ok_or_else(|| Error::NoSuchLink {
            namespace: self.tag().to_owned(),
            link: name.to_owned(),
        })
    }

    /// An error of a socket of this namespace; `action` goes on after "failed to".
    pub(crate) fn socket_error(
        &self,
        action: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Error {
        Error::Socket {
            namespace: self.tag().to_owned(),
            action: action.into(),
            source: source.into(),
        }
    }
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Namespace")
            .field("tag", &self.tag())
            .field("path", &self.path())
            .finish()
    }
}

/// `/proc/PID/fd/N`, which other processes can open too.
fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

/// A lock whose holder panicked is still good: each use stands on its own.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
