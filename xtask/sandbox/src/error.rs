//! What can go wrong while a sandbox is made and used.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitStatus, time::Duration};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the sandbox itself, never of what is tested inside it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The helper thread of a namespace could not be started.
    #[error("no thread could be started for the network namespace `{namespace}`: {source}")]
    Thread {
        /// Tag of the namespace.
        namespace: String,
        /// What the system said.
        source: io::Error,
    },
    /// A step on the way to a fresh namespace failed.
    #[error(
        "the network namespace `{namespace}` could not be made, it failed to {step}: {source}; \
         run as root, with CAP_SYS_ADMIN and CAP_NET_ADMIN"
    )]
    Namespace {
        /// Tag of the namespace.
        namespace: String,
        /// The step, as the end of "failed to …".
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A thread could not enter a namespace.
    #[error("a thread could not enter the network namespace `{namespace}`: {source}")]
    Enter {
        /// Tag of the namespace.
        namespace: String,
        /// What the system said.
        source: io::Error,
    },
    /// A kernel parameter could not be written.
    #[error(
        "`{value}` could not be written to {path} in the network namespace `{namespace}`: {source}"
    )]
    Sysctl {
        /// Tag of the namespace.
        namespace: String,
        /// File below `/proc/sys`.
        path: PathBuf,
        /// The value meant for it.
        value: String,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused a change of links, addresses, routes or neighbours.
    #[error("the kernel refused to {action} in the network namespace `{namespace}`: {source}")]
    Netlink {
        /// Tag of the namespace.
        namespace: String,
        /// The change, as the end of "refused to …".
        action: String,
        /// The kernel's error, with its own explanation where it gave one.
        source: io::Error,
    },
    /// The kernel has no driver for a kind of link.
    #[error(
        "the kernel cannot make the link `{link}` in the network namespace `{namespace}`: \
         it needs its module `{module}` (modprobe {module})"
    )]
    NoDriver {
        /// Tag of the namespace.
        namespace: String,
        /// Name meant for the link.
        link: String,
        /// The missing module.
        module: &'static str,
    },
    /// A link is not there (any more).
    #[error("there is no link `{link}` in the network namespace `{namespace}`")]
    NoSuchLink {
        /// Tag of the namespace.
        namespace: String,
        /// Name of the link.
        link: String,
    },
    /// A socket, or a device that is used like one, failed.
    #[error("failed to {action} in the network namespace `{namespace}`: {source}")]
    Socket {
        /// Tag of the namespace.
        namespace: String,
        /// What was tried, as the end of "failed to …".
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// Two ends of a conversation are not of one address family.
    #[error("{from} cannot speak to {to}: one is IPv4, the other IPv6")]
    FamilyMismatch {
        /// The wanted source address.
        from: std::net::IpAddr,
        /// The wanted destination.
        to: SocketAddr,
    },
    /// A program could not be started.
    #[error(
        "the program {program} could not be started in the network namespace `{namespace}`: {source}"
    )]
    Spawn {
        /// Tag of the namespace.
        namespace: String,
        /// Path of the program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of an instance could not be read or written.
    #[error("the file {path} of the sandbox could not be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program did not end in time; it was killed.
    #[error("`{command}` did not end within {after:?} and was killed; it had written: {stderr}")]
    Hung {
        /// The command line.
        command: String,
        /// How long it was waited for.
        after: Duration,
        /// Its standard error until then.
        stderr: String,
    },
    /// A process could not be waited for or signalled.
    #[error("process {pid} could not be watched: {source}")]
    Process {
        /// Its process id.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon ended before it listened on its control socket.
    #[error("the daemon ended before it was ready ({status}); it wrote: {stderr}")]
    DaemonExited {
        /// How it ended.
        status: ExitStatus,
        /// Its standard output.
        stdout: String,
        /// Its standard error.
        stderr: String,
    },
    /// The daemon runs, but nobody answers at its control socket.
    #[error(
        "the daemon did not listen on {socket} within {after:?} and was killed; it wrote: {stderr}"
    )]
    DaemonNotReady {
        /// The socket, as the daemon was told.
        socket: PathBuf,
        /// How long it was waited for.
        after: Duration,
        /// Its standard error until then.
        stderr: String,
    },
}
