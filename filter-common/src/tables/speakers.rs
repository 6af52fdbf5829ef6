//! From where this host's own TCP sockets speak: places of two tables of
//! numbers. A place by the port tells most segments apart; one by the far end,
//! too, those to a port that others speak to.

use crate::{Address, Seed, hash::mix, read::Flow};

const PORTS: u32 = 1 << 16;
/// Few enough for a processor's own cache: a flood reads them at random.
const ENDS: u32 = 1 << 14;
/// Places of either table.
pub const PLACES: u32 = PORTS + ENDS;

/// What a socket speaks from, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Speaker {
    /// Its own port, in host order.
    pub port: u16,
    /// Its far end's address; [`ANYBODY`](Self::ANYBODY) of a listener.
    pub peer: Address,
    /// Its far end's port, in host order; 0 of a listener.
    pub peer_port: u16,
}

impl Speaker {
    /// The far end of a listener.
    pub const ANYBODY: Address = Address([0; 4]);

    /// A listener on a port.
    #[inline(always)]
    #[must_use]
    pub const fn listener(port: u16) -> Self {
        Self { port, peer: Self::ANYBODY, peer_port: 0 }
    }

    /// The socket that a received segment is for, if there is one.
    #[inline(always)]
    #[must_use]
    pub const fn of(flow: &Flow) -> Self {
        Self { port: flow.destination_port, peer: flow.source, peer_port: flow.source_port }
    }

    /// The place of its port.
    #[inline(always)]
    #[must_use]
    pub const fn port_place(&self) -> u32 {
        self.port as u32
    }

    /// The place of both its ends, which others may share.
    #[inline(always)]
    #[must_use]
    pub const fn place(&self, seed: &Seed) -> u32 {
        let [high, low] = self.peer.halves();
        let ports = (self.port as u64) << 16 | self.peer_port as u64;
        // Of a listener, which is asked for with each segment, by less work.
        let hash = if self.peer_port == 0 { ports >> 16 } else { mix(seed, [high, low, ports]) };
        PORTS + (hash as u32 & (ENDS - 1))
    }
}
