//! What can go wrong in the daemon, and how the command line tells it.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::owner::LockOut;
use crate::{
    compile::CompileError,
    control::{Failure, FailureCode, Problem},
    dataplane::{AttachError, LoadError, MapFault, ProbeError},
    packet::Unbuildable,
    policy::Errors,
    state::StateError,
};

/// Why the daemon could not start, or did not do what it was asked.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The policy is not valid.
    #[error(transparent)]
    Policy(#[from] Errors),
    /// The policy is valid, and too much.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The program could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An interface could not be guarded.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A table could not be read or written.
    #[error(transparent)]
    Map(#[from] MapFault),
    /// Interfaces that a policy names and that do not exist.
    #[error(
        "there is no interface {} in this network namespace: `ip link` lists those there are; mend `interfaces`, or make the interface first",
        quoted(.0)
    )]
    NoInterface(Vec<String>),
    /// One of two interfaces gets its frames through the other.
    #[error(
        "interface `{upper}` gets its frames through `{lower}`, and `interfaces` names both: each of them would be judged and charged twice; name `{lower}` alone, which sees them first, or `{upper}` alone"
    )]
    Stacked {
        /// The VLAN, bridge or bond.
        upper: String,
        /// What it is on, or its port.
        lower: String,
    },
    /// More interfaces than there are numbers for.
    #[error(
        "{0} interfaces can be told apart, those included that were guarded once: `nodewall detach` forgets them all"
    )]
    TooManyInterfaces(u32),
    /// The interfaces could not be listed.
    #[error(
        "the kernel does not list the interfaces and routes ({0}): look into the kernel's log, and try again"
    )]
    Network(#[source] rtnetlink::Error),
    /// No netlink socket.
    #[error("no netlink socket could be opened ({0}): nodewall needs one to find the interfaces")]
    Netlink(#[source] io::Error),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A trusted address is to be banned.
    #[error(
        "{prefix} is inside of {trusted}, which the policy trusts, and trusted wins: take it out of `[sources] trusted`, or add `--force` to ban it all the same"
    )]
    Trusted {
        /// What was to be banned.
        prefix: ipnet::IpNet,
        /// What the policy trusts.
        trusted: ipnet::IpNet,
        /// Which of the request's prefixes it is, from 0.
        index: usize,
    },
    /// A ban without an end that fits on the clock.
    #[error(
        "a ban of {0} milliseconds is out of range: ban for at least one millisecond and at most 100 years, or without `--for`"
    )]
    BanTime(u64),
    /// More bans than one request may hold.
    #[error("a request holds at most {most} prefixes, and this one {given}: send them in several")]
    BanCount {
        /// How many it holds.
        given: usize,
        /// How many it may hold.
        most: usize,
    },
    /// A reason that is a book.
    #[error("the reason of a ban is at most {0} bytes long: say it shorter")]
    BanReason(usize),
    /// A change waits for its confirmation.
    #[error(
        "a change waits until {0} for its confirmation: `nodewall confirm` keeps it, `nodewall rollback` takes it back"
    )]
    Pending(String),
    /// None does.
    #[error("no change waits for a confirmation: what is in force stays")]
    NothingPending,
    /// It was taken back before.
    #[error(
        "the confirmation came too late: at {0} the change was taken back, and the policy before it is in force; apply it again"
    )]
    TooLate(String),
    /// No policy is known that was in force before.
    #[error(
        "there is no change to take back: a rollback goes one step, and no policy before this one is kept"
    )]
    NothingToTakeBack,
    /// A confirmation must come within some time.
    #[error("wait between a second and a day for a confirmation, such as `--confirm 60s`")]
    Patience,
    /// The file must not be loaded, and there is nothing in its place.
    #[error(
        "no policy can be loaded: {0}, and no confirmed copy is kept; what is attached stays as it is. Change the file"
    )]
    NothingConfirmed(String),
    /// A change would lock out who is logged in.
    #[error(transparent)]
    LockOut(#[from] LockOut),
    /// Nothing to take back.
    #[error(
        "{0} is not banned: `nodewall bans` lists what is; a ban is taken back by exactly the prefix that was banned"
    )]
    NotBanned(ipnet::IpNet),
    /// Another daemon has the lock.
    #[error("another nodewall daemon runs already and holds {}: stop it (`nodewall detach`), or give this one a socket of its own with `--socket`", .0.display())]
    Locked(PathBuf),
    /// Something else listens there.
    #[error("another program listens on {} already: stop it, or give this daemon a socket of its own with `--socket`", .0.display())]
    Occupied(PathBuf),
    /// Something else lies there.
    #[error("{} is there already and is no socket: move it away, or name another path with `--socket`", .0.display())]
    NoSocket(PathBuf),
    /// The socket or its lock could not be made.
    #[error("{} could not be {action} ({reason}): start nodewall as root, see that the directory exists, or name another path with `--socket`", .path.display())]
    Socket {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        reason: io::Error,
    },
    /// The operating system refused something that it hardly ever refuses.
    #[error("{what} failed ({reason}): the system may be short of memory or files")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        reason: io::Error,
    },
    /// A program cannot be asked.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A packet of which there is no frame.
    #[error(transparent)]
    Frame(#[from] Unbuildable),
    /// A packet is said to come in where nothing is judged.
    #[error(
        "interface `{name}` is not guarded, so nothing that comes in there is judged; guarded are: {}", quoted_or_none(.guarded)
    )]
    NotGuarded {
        /// Its name.
        name: String,
        /// Those that are.
        guarded: Vec<String>,
    },
    /// The thread that owns the tables is gone.
    #[error("the daemon is stopping: try again when it runs")]
    Stopping,
}

impl DaemonError {
    /// What kind of failure it is.
    #[must_use]
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Socket { reason, .. } if reason.kind() == io::ErrorKind::PermissionDenied => {
                FailureCode::Refused
            }
            Self::Policy(_)
            | Self::Compile(CompileError::Views(_) | CompileError::Prefixes(_))
            | Self::Patience
            | Self::Frame(_)
            | Self::NotGuarded { .. }
            | Self::NothingConfirmed(_)
            | Self::BanTime(_)
            | Self::BanCount { .. }
            | Self::BanReason(_) => FailureCode::Invalid,
            Self::Load(LoadError::NotPermitted | LoadError::LockedDown { .. })
            | Self::Attach(AttachError::NotPermitted { .. })
            | Self::Trusted { .. }
            | Self::Pending(_)
            | Self::LockOut(_) => FailureCode::Refused,
            _ => FailureCode::Failed,
        }
    }
}

impl From<&DaemonError> for Failure {
    fn from(error: &DaemonError) -> Self {
        let errors = match error {
            DaemonError::Policy(Errors(errors)) => errors.iter().map(Problem::from).collect(),
            DaemonError::Trusted { index, .. } => {
                vec![Problem { field: Some(format!("prefixes[{index}]")), ..Problem::new(error) }]
            }
            other => vec![Problem::new(other)],
        };
        Self { code: error.code(), errors }
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn quoted_or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { quoted(names) }
}
