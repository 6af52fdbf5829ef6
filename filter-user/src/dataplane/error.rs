//! What can go wrong with the kernel side, each as a sentence that says what to do.

use aya::maps::MapError;
use thiserror::Error;

/// Why the program could not be brought into the kernel.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The kernel is older than what this was proven on.
    #[error(
        "this is Linux {found}, and nodewall needs {needed} or newer (XDP on frames of several buffers, atomic operations of BPF): boot a newer kernel"
    )]
    KernelTooOld {
        /// The running kernel's version.
        found: String,
        /// The oldest that will do.
        needed: String,
    },
    /// Not privileged.
    #[error(
        "the kernel does not let this process load BPF programs: start nodewall as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    NotPermitted,
    /// Lockdown in its confidentiality mode forbids BPF.
    #[error(
        "the kernel is locked down ({mode}) and refuses BPF programs: boot without `lockdown=confidentiality`, or leave out the option that turns it on with Secure Boot"
    )]
    LockedDown {
        /// What /sys/kernel/security/lockdown shows as chosen.
        mode: String,
    },
    /// The verifier does not accept the program on this kernel.
    #[error(
        "the kernel's verifier refuses the program ({reason}): this kernel is not supported, please report its version and these last lines of its log: {log}"
    )]
    Verifier {
        /// The system call's error.
        reason: std::io::Error,
        /// The end of the verifier's log.
        log: String,
    },
    /// A map could not be made.
    #[error(
        "the kernel refuses the map `{map}` ({reason}): free memory, or make the tables in `[tables]` smaller"
    )]
    Map {
        /// The map's name.
        map: String,
        /// The system call's error.
        reason: std::io::Error,
    },
    /// The object and this binary do not belong together.
    #[error(
        "the embedded BPF object has no {what} `{name}`: this build of nodewall is broken, install it anew"
    )]
    Object {
        /// A map or a program.
        what: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// Anything else.
    #[error("the BPF program could not be loaded: {0}")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A map could be made but not used.
    #[error(transparent)]
    Access(#[from] MapFault),
    /// What is pinned cannot be used, or nothing can be.
    #[error(transparent)]
    Pins(#[from] super::PinError),
}

/// Why a map could not be read or written.
#[derive(Debug, Error)]
pub enum MapFault {
    /// The kernel refused.
    #[error("the kernel refuses to {action} the map {map}: {}", root_cause(.source))]
    Refused {
        /// What was tried.
        action: &'static str,
        /// The map's name.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// A table is full.
    #[error("the table `{table}` has room for {capacity} entries and no more: {}", remedy(.table))]
    Full {
        /// Its name, as `status` shows it.
        table: &'static str,
        /// Entries that it has room for.
        capacity: u32,
    },
    /// A map could not be pinned.
    #[error("{} could not be pinned ({}): see that the directory is on a bpffs and may be written", .path.display(), root_cause(.reason.as_ref()))]
    Pin {
        /// Where.
        path: std::path::PathBuf,
        /// Why not.
        reason: Box<aya::pin::PinError>,
    },
    /// Too many interfaces fall on one place of the table.
    #[error(
        "the table of interfaces has no place for the interface with index {index}: guard fewer interfaces"
    )]
    InterfacePlace {
        /// The kernel's index.
        index: u32,
    },
}

/// What to do about a table that is full. Not every one is in `[tables]`.
fn remedy(table: &str) -> &'static str {
    match table {
        "bans" => "take bans back, or raise `[tables] bans` and restart the daemon",
        _ => "take bans of prefixes back, or ban fewer and wider ones",
    }
}

/// What the system call itself said.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl MapFault {
    pub(super) fn of(map: &'static str, action: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Refused { action, map, source }
    }

    /// Whether the kernel said that there is no room, or no memory.
    pub(super) fn is_full(error: &MapError) -> bool {
        let code = match error {
            MapError::SyscallError(error) => error.io_error.raw_os_error(),
            _ => None,
        };
        code == Some(nix::libc::E2BIG) || code == Some(nix::libc::ENOSPC)
    }
}

/// Why an interface could not be guarded.
#[derive(Debug, Error)]
pub enum AttachError {
    /// There is none of that name.
    #[error(
        "there is no interface `{interface}` here: `ip link` lists those there are; mend `interfaces` in the policy, or make the interface first"
    )]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// Another program is there.
    #[error(
        "interface {interface} has another XDP program already ({program}): take it off (`ip link set dev {interface} xdp off`, or stop the service that owns it), nodewall does not share the hook"
    )]
    Occupied {
        /// The interface.
        interface: String,
        /// What is known of the program.
        program: String,
    },
    /// The driver cannot, and the policy wants nothing else.
    #[error(
        "interface {interface} cannot run the program natively: {why}; set `attach = \"auto\"` or \"generic\" in the policy to run it in the network stack"
    )]
    NoNative {
        /// The interface.
        interface: String,
        /// What the kernel said, and what is known to cause it.
        why: String,
    },
    /// Frames of a form that cannot be read.
    #[error(
        "interface {interface} has frames that are neither Ethernet nor bare IP (ARPHRD type {kind}): nodewall cannot guard it, leave it out of `interfaces`"
    )]
    Framing {
        /// The interface.
        interface: String,
        /// Its type, include/uapi/linux/if_arp.h.
        kind: u32,
    },
    /// The classifier of what is sent could not be attached.
    #[error(
        "the program that records what interface {interface} sends cannot be attached: {why}; `tc filter show dev {interface} egress` shows what else is on that hook, and a kernel before 6.6 needs `sch_ingress` and `cls_bpf`"
    )]
    Egress {
        /// The interface.
        interface: String,
        /// What the kernel said.
        why: String,
    },
    /// Not privileged.
    #[error(
        "the kernel does not let this process attach a program to interface {interface}: start nodewall as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    NotPermitted {
        /// The interface.
        interface: String,
    },
    /// Anything else.
    #[error("the program cannot be attached to interface {interface}: {why}")]
    Refused {
        /// The interface.
        interface: String,
        /// What the kernel said.
        why: String,
    },
    /// The table of interfaces could not be written.
    #[error(transparent)]
    Table(#[from] MapFault),
}
