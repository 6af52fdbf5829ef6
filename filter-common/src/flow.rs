//! What is remembered of what this host sends: the tables that only its own
//! egress writes, and that tell a reply from a stranger's packet.

use crate::{
    Address,
    read::{Flow, protocol},
};

/// The tables of what this host has sent. Each has its own size, and what
/// fills one pushes nothing out of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowTable {
    /// What this host, or a container behind it, began.
    Flows,
    /// Connections that a stranger began, and whose handshake is proven.
    Answered,
    /// Connections that a stranger asked for: a SYN+ACK went out, no more. Any
    /// spoofed SYN makes an entry.
    HalfOpen,
    /// Strangers' UDP that monitor mode let through: what goes back is an
    /// answer, and begins nothing. The one table that received packets write.
    Asked,
}

/// A flow as this host sees it, whichever interface it takes. An ICMP echo has
/// its identifier in the place of the local port, and no remote one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// The other side's address.
    pub remote: Address,
    /// This host's address, as it is on the wire (behind no NAT of its own).
    pub local: Address,
    /// Ports in host order.
    pub remote_port: u16,
    /// Likewise.
    pub local_port: u16,
    /// The IP protocol number.
    pub protocol: u32,
}

impl FlowKey {
    /// Of a packet that this host receives.
    #[inline(always)]
    #[must_use]
    pub const fn received(flow: &Flow, protocol: u8) -> Self {
        Self {
            remote: flow.source,
            local: flow.destination,
            remote_port: flow.source_port,
            local_port: flow.destination_port,
            protocol: protocol as u32,
        }
    }

    /// The far end.
    #[inline(always)]
    #[must_use]
    pub const fn peer(&self) -> PeerKey {
        PeerKey { address: self.remote, port: self.remote_port as u32 }
    }
}

/// The far end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct PeerKey {
    /// Its address.
    pub address: Address,
    /// Its port, in host order.
    pub port: u32,
}

/// An entry of [`FlowTable::HalfOpen`], by its far end: a container's socket,
/// behind the host's NAT, knows no more of the flow than that. Of two
/// handshakes from one far end the older one is begun again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handshake {
    /// A [`HalfOpen`].
    pub word: u64,
    /// [`FlowKey::local`].
    pub local: Address,
    /// [`FlowKey::local_port`].
    pub local_port: u32,
    /// Keeps the layout the same for both sides.
    pub reserved: u32,
}

impl Handshake {
    /// The entry of a flow.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: &FlowKey, word: u64) -> Self {
        Self { word, local: key.local, local_port: key.local_port as u32, reserved: 0 }
    }

    /// The word, if the entry is that of the flow; else zero.
    #[inline(always)]
    #[must_use]
    pub fn word_of(&self, key: &FlowKey) -> u64 {
        let same = self.local_port == key.local_port as u32 && self.local.0 == key.local.0;
        if same { self.word } else { 0 }
    }
}

/// How far this host has come with a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Stage {
    /// TCP: it sent a SYN.
    Begun = 0,
    /// It goes on. All that UDP and ICMP have.
    Open = 1,
    /// TCP: it sent a FIN or a reset.
    Closing = 2,
}

const STAGE: u64 = 3;
const SECOND: u64 = 1_000_000_000;

/// RFC 4787, section 4.3: no less than two minutes, from what is *sent*.
pub const UDP_TIMEOUT: u64 = 120 * SECOND;
/// Linux (`nf_conntrack_icmp_timeout`); an echo later than that was given up.
pub const ECHO_TIMEOUT: u64 = 30 * SECOND;
/// Linux (`nf_conntrack_tcp_timeout_syn_sent` and `..._fin_wait`).
pub const TCP_SHORT_TIMEOUT: u64 = 120 * SECOND;
/// Linux (`nf_conntrack_tcp_timeout_established`): five days.
pub const TCP_TIMEOUT: u64 = 432_000 * SECOND;
/// RFC 5382, section 5 (REQ-5): a connection that may not be established yet
/// is kept for no less than four minutes.
pub const HALF_OPEN_TIMEOUT: u64 = 240 * SECOND;
/// As long as an answer may take that this host does not begin.
pub const ASKED_TIMEOUT: u64 = 30 * SECOND;

/// An entry of [`FlowTable::Flows`], [`FlowTable::Answered`] and
/// [`FlowTable::Asked`], in one word: when this host last sent, in nanoseconds
/// of the monotonic clock (the lowest two bits cut off), and the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent(pub u64);

impl Sent {
    /// At that time. Never zero, which is no entry.
    #[inline(always)]
    #[must_use]
    pub const fn new(now: u64, stage: Stage) -> Self {
        Self((now | 4) & !STAGE | stage as u64)
    }

    /// The same time, and another stage.
    #[inline(always)]
    #[must_use]
    pub const fn to(self, stage: Stage) -> Self {
        Self(self.0 & !STAGE | stage as u64)
    }

    /// Whether the end of the flow was sent.
    #[inline(always)]
    #[must_use]
    pub const fn is_closing(self) -> bool {
        self.0 & STAGE == Stage::Closing as u64
    }

    /// Whether there is an entry, and it has not run out. `now` in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn is_live(self, protocol: u8, now: u64) -> bool {
        let timeout = match protocol {
            protocol::TCP if self.0 & STAGE == Stage::Open as u64 => TCP_TIMEOUT,
            protocol::TCP => TCP_SHORT_TIMEOUT,
            protocol::UDP => UDP_TIMEOUT,
            _ => ECHO_TIMEOUT,
        };
        self.is_within(timeout, now)
    }

    /// How old it is, in nanoseconds.
    #[must_use]
    pub const fn age(self, now: u64) -> u64 {
        now.saturating_sub(self.0 & !STAGE)
    }

    /// Whether there is an entry that is no older than `timeout`.
    #[inline(always)]
    #[must_use]
    pub const fn is_within(self, timeout: u64, now: u64) -> bool {
        // An entry may be a little younger than a packet's own clock.
        self.0 != 0 && now < (self.0 & !STAGE).wrapping_add(timeout)
    }
}

/// An entry of [`FlowTable::HalfOpen`], in one word: when it was made, in
/// units of 2^30 ns, and the acknowledgement number of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen(pub u64);

impl HalfOpen {
    /// At that time. `acknowledgement` as it stands in the packet.
    #[inline(always)]
    #[must_use]
    pub const fn new(now: u64, acknowledgement: u32) -> Self {
        Self((spoken::unit(now) as u64) << 32 | acknowledgement as u64)
    }

    /// Whether there is an entry, and it has not run out. `now` in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn is_live(self, now: u64) -> bool {
        spoken::is_recent((self.0 >> 32) as u32, HALF_OPEN_TIMEOUT, now)
    }

    /// Whether a segment acknowledges more than the SYN did.
    #[inline(always)]
    #[must_use]
    pub const fn is_beyond(self, acknowledgement: u32) -> bool {
        self.0 as u32 != acknowledgement
    }
}

/// From which of its ports this host has sent of late. One array read tells
/// that a packet to any other port answers nothing, so that a flood to closed
/// ports costs no look-up in a table of flows.
pub mod spoken {
    use super::{ECHO_TIMEOUT, TCP_TIMEOUT, UDP_TIMEOUT};
    use crate::read::protocol;

    /// Words of the array: the ports of UDP, those of TCP, and the identifiers of echoes.
    pub const PLACES: u32 = 3 * 65_536;

    /// The word of a local port.
    #[inline(always)]
    #[must_use]
    pub const fn place(protocol: u8, port: u16) -> u32 {
        let base = match protocol {
            protocol::UDP => 0,
            protocol::TCP => 1,
            _ => 2,
        };
        base << 16 | port as u32
    }

    /// A time in nanoseconds as a word: units of 2^30 ns. Never zero.
    #[inline(always)]
    #[must_use]
    pub const fn unit(now: u64) -> u32 {
        (now >> 30) as u32 + 1
    }

    /// Whether a port was spoken from so lately that an entry may be live.
    #[inline(always)]
    #[must_use]
    pub const fn holds(word: u32, protocol: u8, now: u64) -> bool {
        let timeout = match protocol {
            protocol::UDP => UDP_TIMEOUT,
            protocol::TCP => TCP_TIMEOUT,
            _ => ECHO_TIMEOUT,
        };
        is_recent(word, timeout, now)
    }

    /// Whether a word is no older than `timeout`, but for one unit.
    #[inline(always)]
    #[must_use]
    pub const fn is_recent(word: u32, timeout: u64, now: u64) -> bool {
        let units = (timeout >> 30) as u32 + 1;
        word != 0 && unit(now) <= word.wrapping_add(units)
    }
}

/// Where the tables of what this host sends live.
pub trait Flows {
    /// The entry of a flow; zero for none.
    fn word(&self, table: FlowTable, key: &FlowKey) -> u64;
    /// Makes or changes it. A full table gives up what was least recently used.
    fn set_word(&self, table: FlowTable, key: &FlowKey, word: u64);
    /// The word of [`spoken::place`].
    fn spoken(&self, place: u32) -> u32;
    /// Sets it.
    fn set_spoken(&self, place: u32, word: u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1 << 50;

    #[test]
    fn each_protocol_has_its_timeout() {
        for (protocol, stage, timeout) in [
            (protocol::UDP, Stage::Open, UDP_TIMEOUT),
            (protocol::ICMP, Stage::Open, ECHO_TIMEOUT),
            (protocol::ICMPV6, Stage::Open, ECHO_TIMEOUT),
            (protocol::TCP, Stage::Begun, TCP_SHORT_TIMEOUT),
            (protocol::TCP, Stage::Open, TCP_TIMEOUT),
            (protocol::TCP, Stage::Closing, TCP_SHORT_TIMEOUT),
        ] {
            let sent = Sent::new(NOW, stage);
            assert!(sent.is_live(protocol, NOW - 1000), "{protocol} {stage:?}, a clock behind");
            assert!(sent.is_live(protocol, NOW + timeout - 8), "{protocol} {stage:?}");
            assert!(!sent.is_live(protocol, NOW + timeout + 8), "{protocol} {stage:?}");
            assert!(spoken::holds(spoken::unit(NOW), protocol, NOW + timeout - 8), "{protocol}");
        }
        assert!(!Sent(0).is_live(protocol::UDP, 0), "no entry");
        assert!(Sent::new(0, Stage::Begun).is_live(protocol::TCP, 0), "the first moment");
    }

    #[test]
    fn a_stage_changes_and_the_time_stays() {
        let sent = Sent::new(NOW, Stage::Open);
        assert_eq!(sent.to(Stage::Closing).to(Stage::Open), sent);
        assert!(sent.to(Stage::Closing).is_closing() && !sent.is_closing());
    }

    #[test]
    fn half_open_entries_run_out() {
        let entry = HalfOpen::new(NOW, 0xffff_fff0);
        let unit = 1 << 30;
        assert!(entry.is_live(NOW + HALF_OPEN_TIMEOUT - unit));
        assert!(!entry.is_live(NOW + HALF_OPEN_TIMEOUT + 2 * unit));
        assert!(!entry.is_beyond(0xffff_fff0) && entry.is_beyond(0xffff_fff1));
        assert!(!HalfOpen(0).is_live(0), "no entry");
    }

    #[test]
    fn silent_ports_hold_nothing() {
        assert!(!spoken::holds(0, protocol::UDP, 0));
        let word = spoken::unit(NOW);
        assert!(!spoken::holds(word, protocol::UDP, NOW + UDP_TIMEOUT + (2 << 30)));
        let places = [
            (protocol::UDP, 0, 0),
            (protocol::UDP, 65_535, 65_535),
            (protocol::TCP, 0, 65_536),
            (protocol::ICMP, 0, 131_072),
            (protocol::ICMPV6, 65_535, spoken::PLACES - 1),
        ];
        for (protocol, port, place) in places {
            assert_eq!(spoken::place(protocol, port), place);
        }
    }
}
