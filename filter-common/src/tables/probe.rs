//! What a program that judges for a question, and not for the host, is handed
//! and hands back. The one that guards the host knows nothing of it.

use crate::{FlowKey, table::Rates};

/// Bits that the loader settles; none: the program guards the host.
///
/// Clocks and the interface are those it is handed, and it hands back what
/// became of the packet.
pub const ON: u32 = 1;
/// Rates, fragments and ports that were spoken from are the host's: they are
/// read and never changed.
pub const READ_ONLY: u32 = 2;
/// Sockets are those it is told of ([`SOCKETS`]), not the kernel's.
pub const TOLD: u32 = 4;

/// Sockets that it can be told of at once.
pub const SOCKETS: u32 = 65_536;

/// The question and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Probe {
    /// Nanoseconds of the monotonic clock.
    pub monotonic: u64,
    /// Nanoseconds of the boot-time clock.
    pub boot: u64,
    /// The number of the interface, below [`INTERFACES`](super::INTERFACES).
    pub interface: u32,
    /// Bits of an [`interfaces::Entry`](super::interfaces::Entry).
    pub flags: u32,
    /// Back: a [`Kept`](crate::fragments::Kept).
    pub outcome: u64,
    /// Back: the flow that the tables of what this host sends were asked for.
    pub asked: FlowKey,
    /// The buckets of a source that has none, where none may be made.
    pub idle: Rates,
}

/// No outcome: none has a reason of that number.
pub const NO_OUTCOME: u64 = 0xff;

impl Probe {
    /// A question.
    #[must_use]
    pub const fn new(monotonic: u64, boot: u64, interface: u32, flags: u16) -> Self {
        let none = crate::Address([0; 4]);
        let asked =
            FlowKey { remote: none, local: none, remote_port: 0, local_port: 0, protocol: 0 };
        Self {
            monotonic,
            boot,
            interface,
            flags: flags as u32,
            outcome: NO_OUTCOME,
            asked,
            idle: Rates::NONE,
        }
    }
}
