//! What is told of single packets that were dropped: a sample, at a rate that
//! the controller sets.
//!
//! The controller says how many events there may have been in all
//! ([`Granted`]); the program takes them one by one ([`TAKEN`]) and looks at no
//! clock. While none is left, a drop costs it the comparison of two words
//! ([`Told`]). Whoever sees no controller, tells nothing.

use zerocopy::FromBytes;

use crate::{
    Address,
    read::{Parsed, Transport},
};

/// What the controller writes, in one place that every dropped packet reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Granted {
    /// Events that there may have been since the maps were made.
    pub events: u64,
}

/// The place, among the words of events, of how many were taken.
pub const TAKEN: u32 = 0;
/// Of how many of these were lost, because the ring was full.
pub const LOST: u32 = 1;
/// How many words there are.
pub const WORDS: u32 = 2;

/// Bytes of the ring: three thousand events.
pub const RING: usize = 256 * 1024;

/// What one CPU knows of the drops on one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Told {
    /// Drops since the last that was told.
    pub untold: u64,
    /// What was granted when nothing was left of it; as long as it is no more,
    /// there is nothing to take.
    pub used_up: u64,
}

/// One dropped packet, or one that would have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub struct Event {
    /// Nanoseconds of the monotonic clock.
    pub time: u64,
    /// Drops on the same interface and CPU since the last that was told.
    pub not_shown: u64,
    /// What was decided, as a [`Kept`](crate::fragments::Kept).
    pub outcome: u64,
    /// Who sent it, unless `has` says that this is not known.
    pub source: Address,
    /// Whom it was for.
    pub destination: Address,
    /// Bytes of the frame.
    pub length: u32,
    /// In host order.
    pub source_port: u16,
    /// Likewise.
    pub destination_port: u16,
    /// The interface's number.
    pub interface: u16,
    /// The IP protocol.
    pub protocol: u8,
    /// TCP's control bits.
    pub flags: u8,
    /// ICMP's type.
    pub kind: u8,
    /// ICMP's code.
    pub code: u8,
    /// Which of these mean something: bits of [`has`].
    pub has: u8,
    /// Keeps the layout the same for both sides.
    pub reserved: u8,
}

/// Bits of [`Event::has`].
pub mod has {
    /// The addresses.
    pub const ADDRESSES: u8 = 1;
    /// The protocol.
    pub const PROTOCOL: u8 = 2;
    /// The ports.
    pub const PORTS: u8 = 4;
    /// TCP's control bits.
    pub const FLAGS: u8 = 8;
    /// ICMP's type and code.
    pub const ICMP: u8 = 16;
}

impl Event {
    /// Fills in who, whom and what, from a packet that was read. What has no
    /// meaning for it is left of another packet, and is not taken.
    #[inline(always)]
    pub fn describe(&mut self, parsed: &Parsed) {
        self.source = parsed.flow.source;
        self.destination = parsed.flow.destination;
        self.protocol = parsed.protocol;
        self.has = has::ADDRESSES | has::PROTOCOL;
        match parsed.transport {
            Transport::Tcp | Transport::Udp => {
                self.source_port = parsed.flow.source_port;
                self.destination_port = parsed.flow.destination_port;
                self.has |= has::PORTS;
                if matches!(parsed.transport, Transport::Tcp) {
                    self.flags = parsed.tcp.flags;
                    self.has |= has::FLAGS;
                }
            }
            Transport::Icmp => {
                self.kind = parsed.icmp.kind;
                self.code = parsed.icmp.code;
                self.has |= has::ICMP;
            }
            Transport::Other | Transport::Later => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{Flow, Icmp, Tcp};

    #[test]
    fn what_an_earlier_packet_left_is_not_told() {
        let address = |last| Address([1, 2, 3, last]);
        let mut parsed = Parsed {
            flow: Flow {
                source: address(1),
                destination: address(2),
                source_port: 3,
                destination_port: 4,
            },
            protocol: 6,
            tcp: Tcp { flags: 2, ..Tcp::default() },
            icmp: Icmp { kind: 8, code: 1, identifier: 0 },
            ..Parsed::default()
        };
        for (transport, told) in [
            (Transport::Tcp, [3, 4, 2, 0, 0]),
            (Transport::Udp, [3, 4, 0, 0, 0]),
            (Transport::Icmp, [0, 0, 0, 8, 1]),
            (Transport::Other, [0; 5]),
            (Transport::Later, [0; 5]),
        ] {
            parsed.transport = transport;
            let mut event = Event::default();
            event.describe(&parsed);
            let Event { source_port, destination_port, flags, kind, code, .. } = event;
            let found = [source_port, destination_port, flags.into(), kind.into(), code.into()];
            assert_eq!(found, told, "{transport:?}");
            assert_eq!((event.source, event.destination), (address(1), address(2)));
        }
    }
}
