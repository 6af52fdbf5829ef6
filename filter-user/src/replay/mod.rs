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
use self::shorten::shortened;
pub use self::sockets::Sockets;
use crate::{
    capture::Link,
    control::{OutcomeEntry, ReplayOutcome},
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

/// Why no program can be run on a record.
#[must_use]
pub const fn unjudgeable(seen: &Seen<'_>) -> Option<NotJudged> {
    let length = seen.bytes.len();
    if length < seen.original as usize {
        Some(NotJudged::Truncated)
    } else if length < SHORTEST {
        Some(NotJudged::Short)
    } else if length > LONGEST {
        Some(NotJudged::Long)
    } else {
        None
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
        if let Some(why) = unjudgeable(seen) {
            return Ok(Row::Not(why));
        }
        let Seen { link, bytes, .. } = *seen;
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

impl ReplayOutcome {
    /// With names for what the program knows by number.
    pub fn new(row: &Row, rule: impl FnOnce(u32) -> String) -> Self {
        match row {
            Row::Judged(outcome) => {
                Self { outcome: OutcomeEntry::new(outcome, rule), because: None }
            }
            Row::Not(why) => {
                Self { outcome: OutcomeEntry::not_judged(), because: Some(why.name().to_owned()) }
            }
        }
    }
}
