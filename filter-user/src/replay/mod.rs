//! A capture judged by the kernel program: record by record, by the capture's
//! clock, with the sockets that it shows this host to have.

mod clock;
mod shorten;
mod sockets;

use std::{borrow::Cow, net::IpAddr};

use filter_common::{
    Outcome,
    read::{self, Flow, Parsed},
};

pub use self::clock::Clock;
pub use self::sockets::Sockets;
use self::shorten::shortened;
use crate::{
    capture::Link,
    dataplane::{Arrival, Probe, ProbeError, Times},
};

/// The shortest frame that a program is run on, in bytes: an Ethernet header.
pub const SHORTEST: usize = 14;
/// The longest: the largest IP packet, with Ethernet and two VLAN tags.
pub const LONGEST: usize = 65_535 + 14 + 8;

/// What a record of a capture says, as [`capture::Record`](crate::capture::Record).
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Nanoseconds by the capture's clock.
    pub time: Option<u64>,
    /// What the bytes begin with.
    pub link: Link,
    /// How long it was on the wire.
    pub original: u32,
    /// What was captured of it.
    pub bytes: &'a [u8],
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// The kernel program's verdict.
    Judged(Outcome),
    /// It has none.
    Not(NotJudged),
}

/// Why a record has no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotJudged {
    /// This host sent it.
    Sent,
    /// The capture has not all of it.
    Truncated,
    /// The kernel runs no program on frames under 14 bytes.
    Short,
    /// Longer than any frame with an IP packet.
    Long,
}

impl NotJudged {
    /// As it is told.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Truncated => "truncated",
            Self::Short => "short",
            Self::Long => "long",
        }
    }
}

/// A capture that is being judged.
#[derive(Debug)]
pub struct Session {
    probe: Probe,
    /// The number of the interface that everything comes in on.
    interface: u32,
    /// This host's addresses in the capture.
    local: Vec<IpAddr>,
    clock: Clock,
    begun: Times,
    sockets: Sockets,
}

impl Session {
    /// Begins.
    #[must_use]
    pub fn new(probe: Probe, interface: u32, local: Vec<IpAddr>) -> Self {
        let (clock, sockets) = (Clock::default(), Sockets::default());
        Self { probe, interface, local, clock, begun: Times::now(), sockets }
    }

    /// Judges a record, or has this host send it.
    ///
    /// # Errors
    ///
    /// When the kernel does not run the program.
    pub fn record(&mut self, seen: &Seen<'_>) -> Result<Row, ProbeError> {
        let elapsed = self.clock.follow(seen.time);
        let Seen { link, bytes, .. } = *seen;
        if bytes.len() < seen.original as usize {
            return Ok(Row::Not(NotJudged::Truncated));
        }
        if bytes.len() < SHORTEST {
            return Ok(Row::Not(NotJudged::Short));
        }
        if bytes.len() > LONGEST {
            return Ok(Row::Not(NotJudged::Long));
        }
        let raw_ip = link == Link::RawIp;
        let monotonic = self.begun.monotonic.saturating_add(elapsed);
        // Bans hold as they do now, however long the capture took.
        let times = Times { monotonic, ..self.begun };
        let arrival = Arrival { interface: self.interface, raw_ip, times };
        if self.local.is_empty() {
            return Ok(Row::Judged(self.probe.judge(bytes, arrival)?));
        }
        let mut parsed = Parsed::default();
        let is_read = read::packet(bytes, raw_ip, &mut parsed) == filter_common::Reason::Rule;
        self.end_sockets(elapsed)?;
        let mut claimed = Flow::default();
        if read::claimed(bytes, raw_ip, &mut claimed)
            && self.local.contains(&IpAddr::from(claimed.source))
        {
            if is_read {
                let sent: Cow<'_, [u8]> = shortened(bytes, link);
                self.probe.send(&sent, arrival)?;
                self.change_sockets(|sockets, tell| sockets.sent(&parsed, elapsed, tell))?;
            }
            return Ok(Row::Not(NotJudged::Sent));
        }
        let outcome = self.probe.judge(bytes, arrival)?;
        if is_read && outcome.verdict() == filter_common::Verdict::Pass {
            self.change_sockets(|sockets, tell| sockets.received(&parsed, elapsed, tell))?;
        }
        Ok(Row::Judged(outcome))
    }

    fn end_sockets(&mut self, now: u64) -> Result<(), ProbeError> {
        self.change_sockets(|sockets, tell| sockets.end(now, tell))
    }

    /// Lets the table of sockets change, and tells the program of each change.
    fn change_sockets(
        &mut self,
        change: impl FnOnce(&mut Sockets, sockets::Tell<'_>),
    ) -> Result<(), ProbeError> {
        let Self { probe, sockets, .. } = self;
        let mut told = Ok(());
        change(sockets, &mut |flow, socket| {
            if told.is_ok() {
                told = probe.set_socket(flow, socket);
            }
        });
        Ok(told?)
    }
}
