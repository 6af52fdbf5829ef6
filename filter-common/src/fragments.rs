//! Fragments: a later one follows the verdict of its first.
//!
//! Only the first piece of a datagram holds ports. What became of it is kept
//! in a table of buckets until the datagram is complete, or for as long as
//! Linux waits for the rest. An entry is found by the hash of the datagram's
//! addresses, protocol and identification; where all entries of a bucket are
//! fresh the newcomer is not kept, so that no flood can push out what is there.
//!
//! Several CPUs share an entry. Its clock settles whose it is: who changes it
//! by compare-and-swap has it, and no other word is trusted unless the clock
//! stands as it was read.

use crate::{
    InterfaceLimit, Outcome, Reason, RuleId, Scope, State, Verdict, hash, icmp,
    limits::{self, Charge},
    read::{Flow, Fragment, Parsed, Transport},
    state::Cell,
    tables::fragments::WAYS,
    verdict,
};

/// The words of an entry ([`tables::fragments::Entry`](crate::tables::fragments::Entry)).
pub struct Entry<C> {
    /// The hash of what identifies the datagram.
    pub tag: C,
    /// When it began and how far it has come.
    pub clock: C,
    /// What became of its first fragment.
    pub verdict: C,
}

/// Whether the entry with that clock is somebody's at `now` (ticks).
#[must_use]
pub const fn is_fresh(clock: u64, now: u64) -> bool {
    Clock(clock).is_fresh(now)
}

/// Whether the datagram of a first fragment is known already. Then it is one
/// too many: two firsts could tell the stack other ports than they told the
/// filter.
#[inline(always)]
pub fn is_known<S: State>(state: &S, parsed: &Parsed) -> bool {
    find(state, &Datagram::of(state, parsed), state.now()) != 0
}

/// Keeps what became of a first fragment for those that follow it.
#[inline(always)]
pub fn remember<S: State>(state: &S, parsed: &Parsed, outcome: Kept) -> Kept {
    if outcome.is_followed() {
        let charged = charged(parsed, outcome);
        match keep(state, parsed, outcome.charged_to(charged, parsed.flow.destination_port)) {
            Place::Taken => {}
            Place::Full => state.fragments_full(),
            Place::Known => {
                return Kept::new(&verdict::outside_of_rules(state, Reason::Fragment));
            }
        }
    }
    outcome
}

/// What became of the first fragment of a later one.
#[inline(always)]
pub fn follow<S: State>(state: &S, parsed: &Parsed) -> Kept {
    let lost = Kept::new(&Outcome::of(Reason::Fragment));
    let fragment = &parsed.fragment;
    let datagram = Datagram::of(state, parsed);
    let now = state.now();
    let place = find(state, &datagram, now);
    if place == 0 {
        return lost;
    }
    let Some(entry) = state.fragment(place - 1) else {
        return lost;
    };
    let clock = Clock(entry.clock.load());
    if !clock.is_fresh(now) || !clock.admits(fragment) {
        return lost;
    }
    let kept = Kept(entry.verdict.load());
    if entry.clock.compare_exchange(clock.0, clock.after(fragment).0) != clock.0
        || entry.tag.load() != datagram.tag
    {
        return lost;
    }
    kept
}

/// Judges a later fragment by what became of its first, and charges it where
/// that was charged. `length`: frame bytes.
#[inline(always)]
pub(crate) fn judge<S: State>(state: &S, parsed: &Parsed, length: u32) -> Outcome {
    let kept = state.follow(parsed);
    match kept.charged() {
        Charged::Nothing => {}
        Charged::Tcp | Charged::Udp => {
            let flow = Flow { destination_port: kept.port(), ..parsed.flow };
            let number = verdict::rule_number(state, &flow, kept.charged() == Charged::Udp);
            // It is another rule's port where the policy has changed since.
            if let Some(rule) = state.rule(number)
                && kept.rule_id() == rule.id
            {
                // Nothing of a later fragment proves its source.
                let charge = Charge::Packet { length, proven: false, opens: false };
                let source = &parsed.flow.source;
                return verdict::limited(state, number, rule, source, charge);
            }
        }
        Charged::Echo => {
            if !limits::echo(state, &parsed.flow.source) {
                return Outcome::of(Reason::IcmpRate);
            }
        }
        Charged::Error => {
            if !limits::interface(state, InterfaceLimit::Errors) {
                return Outcome::of(Reason::IcmpRate);
            }
        }
    }
    kept.outcome()
}

/// What the later fragments of an admitted first pay, as it did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Charged {
    Nothing,
    /// `packets` and `bytes` of the rule of a TCP port.
    Tcp,
    /// Those of the rule of a UDP port.
    Udp,
    /// The rate of echo requests.
    Echo,
    /// The rate of ICMP errors.
    Error,
}

/// What later fragments will be charged to.
#[inline(always)]
fn charged(parsed: &Parsed, kept: Kept) -> Charged {
    if kept.is(Reason::Rule) {
        if matches!(parsed.transport, Transport::Udp) { Charged::Udp } else { Charged::Tcp }
    } else if !kept.is(Reason::Icmp) {
        Charged::Nothing
    } else if icmp::is_echo_request(parsed) {
        Charged::Echo
    } else {
        Charged::Error
    }
}

/// An outcome in a word, with what later fragments are charged to, and the
/// first's port. Identifiers of rules have 20 bits; there are fewer than 2^16.
#[derive(Clone, Copy)]
pub struct Kept(pub u64);

impl Kept {
    const RULE_MASK: u64 = (1 << 20) - 1;
    const NO_RULE: u32 = Self::RULE_MASK as u32;
    const NONE: u64 = 0xff;

    /// The outcome alone.
    #[inline(always)]
    pub fn new(outcome: &Outcome) -> Self {
        let monitored = outcome.monitored.map_or(Self::NONE, |reason| reason as u64);
        let scope = outcome.scope.map_or(0xf, |scope| scope as u64);
        let rule = outcome.rule.map_or(Self::RULE_MASK, |rule| rule.get() as u64);
        Self(outcome.reason as u64 | monitored << 8 | scope << 16 | (rule & Self::RULE_MASK) << 24)
    }

    #[inline(always)]
    const fn charged_to(self, charged: Charged, port: u16) -> Self {
        Self(self.0 | (charged as u64) << 20 | (port as u64) << 44)
    }

    /// Whether that is the reason.
    #[inline(always)]
    const fn is(self, reason: Reason) -> bool {
        self.0 & 0xff == reason as u64
    }

    /// Whether later fragments need to know: what the lists say of a source,
    /// they say of each of its packets.
    #[inline(always)]
    const fn is_followed(self) -> bool {
        const BY_THEMSELVES: u64 = 1 << Reason::Essential as u64
            | 1 << Reason::Trusted as u64
            | 1 << Reason::Denied as u64
            | 1 << Reason::Banned as u64
            | 1 << Reason::Fragment as u64;
        BY_THEMSELVES >> (self.judged() & 63) & 1 == 0
    }

    /// The number of the reason, as it is without monitor mode.
    #[inline(always)]
    #[must_use]
    pub const fn judged(self) -> u64 {
        let monitored = self.0 >> 8 & 0xff;
        if monitored == Self::NONE { self.0 & 0xff } else { monitored }
    }

    /// Back from the word.
    #[inline(always)]
    pub fn outcome(self) -> Outcome {
        let rule = self.rule_id();
        Outcome {
            reason: reason(self.0).unwrap_or(Reason::Fragment),
            monitored: reason(self.0 >> 8),
            rule: if rule == Self::NO_RULE { None } else { Some(RuleId::new(rule)) },
            scope: Scope::ALL.get((self.0 >> 16 & 0xf) as usize).copied(),
        }
    }

    #[inline(always)]
    const fn charged(self) -> Charged {
        match self.0 >> 20 & 0xf {
            1 => Charged::Tcp,
            2 => Charged::Udp,
            3 => Charged::Echo,
            4 => Charged::Error,
            _ => Charged::Nothing,
        }
    }

    /// [`Rule::id`](crate::tables::Rule::id), or [`NO_RULE`](Self::NO_RULE).
    #[inline(always)]
    const fn rule_id(self) -> u32 {
        (self.0 >> 24 & Self::RULE_MASK) as u32
    }

    /// The port that the first was for.
    #[inline(always)]
    const fn port(self) -> u16 {
        (self.0 >> 44) as u16
    }

    /// Whether the datagram ends here.
    #[inline(always)]
    fn is_drop(self) -> bool {
        reason(self.0).is_none_or(|reason| matches!(reason.verdict(), Verdict::Drop))
    }
}

/// The reason with the number in the low 8 bits.
#[inline(always)]
fn reason(number: u64) -> Option<Reason> {
    Reason::ALL.get((number & 0xff) as usize).copied()
}

/// How far a datagram has come, and when its first fragment came; 0: the entry
/// is free.
#[derive(Clone, Copy)]
struct Clock(u64);

impl Clock {
    const FREE: Self = Self(0);
    /// The blocks of 8 bytes that came are all below this one.
    const NEXT: u64 = (1 << 14) - 1;
    /// The entry is being written.
    const HELD: u64 = 1 << 14;
    /// A piece is missing: the stack goes on waiting for the datagram.
    const HOLE: u64 = 1 << 15;
    /// The first dropped: the entry makes way for one that passed.
    const DROP: u64 = 1 << 16;
    /// Above: the time, in 2^17 ticks (8.192 us).
    const TIME: u32 = 17;
    /// 30 s, `IP_FRAG_TIME` in Linux (include/net/ip.h). Later fragments do not
    /// prolong it.
    const LIFE: u64 = 30_000_000_000 / 8192;
    /// Behind the last block of the longest datagram: nothing follows.
    const END: u64 = 0x2000;

    #[inline(always)]
    const fn new(now: u64, flags: u64, next: u64) -> Self {
        Self((now >> Self::TIME) << Self::TIME | flags | next)
    }

    /// Of a first fragment.
    #[inline(always)]
    const fn of(first: &Fragment, now: u64, drops: bool) -> Self {
        let hole = if first.is_even() { 0 } else { Self::HOLE };
        Self::new(now, hole | if drops { Self::DROP } else { 0 }, first.end() as u64)
    }

    /// Whether the entry is somebody's, still.
    #[inline(always)]
    const fn is_fresh(self, now: u64) -> bool {
        self.0 != 0 && (now >> Self::TIME) < (self.0 >> Self::TIME) + Self::LIFE
    }

    /// Whether the entry makes way for a datagram that passes.
    #[inline(always)]
    const fn is_lesser(self) -> bool {
        self.0 & (Self::DROP | Self::HELD) == Self::DROP
    }

    /// Whether a later fragment lies behind all that came.
    #[inline(always)]
    const fn admits(self, later: &Fragment) -> bool {
        self.0 & Self::HELD == 0
            && !later.is_empty()
            && later.offset() as u64 >= self.0 & Self::NEXT
    }

    /// After a later fragment, which it admits. A datagram of which all has
    /// come leaves the entry free: the stack has put it together, and waits
    /// for nothing that could be rewritten.
    #[inline(always)]
    const fn after(self, later: &Fragment) -> Self {
        let more = later.has_more();
        let gap = later.offset() as u64 != self.0 & Self::NEXT || (more && !later.is_even());
        let hole = if gap { Self::HOLE } else { 0 };
        let clock = self.0 & !Self::NEXT | hole;
        if more {
            Self(clock | later.end() as u64)
        } else if clock & Self::HOLE != 0 {
            Self(clock | Self::END)
        } else {
            Self::FREE
        }
    }
}

/// Where a datagram's entry would be.
struct Datagram {
    /// The first entry of its bucket.
    bucket: u32,
    tag: u64,
}

impl Datagram {
    #[inline(always)]
    fn of<S: State>(state: &S, parsed: &Parsed) -> Self {
        let Parsed { flow, protocol, fragment, .. } = parsed;
        let (source, destination) = (&flow.source, &flow.destination);
        let pair = |high: u32, low: u32| (high as u64) << 32 | low as u64;
        // In IPv6 each fragment may name another next header, and only the
        // first one's counts (RFC 8200, section 4.5).
        let protocol = if source.is_ipv4() { *protocol as u32 } else { 0 };
        let table = state.fragments();
        let tag = hash::siphash(
            table.seed,
            [
                pair(source.0[0], source.0[1]),
                pair(source.0[2], source.0[3]),
                pair(destination.0[0], destination.0[1]),
                pair(destination.0[2], destination.0[3]),
                pair(protocol, fragment.identification),
            ],
        );
        let bucket = (((tag >> 32) * table.buckets as u64) >> 32) as u32;
        Self { bucket: bucket * WAYS, tag }
    }
}

/// The place of a datagram's entry, counted from 1; 0: it has none.
#[inline(always)]
fn find<S: State>(state: &S, datagram: &Datagram, now: u64) -> u32 {
    find_except(state, datagram, now, u32::MAX)
}

#[inline(always)]
fn find_except<S: State>(state: &S, datagram: &Datagram, now: u64, except: u32) -> u32 {
    for way in 0..WAYS {
        let index = datagram.bucket + way;
        let Some(entry) = state.fragment(index) else { break };
        if entry.tag.load() == datagram.tag
            && Clock(entry.clock.load()).is_fresh(now)
            && index != except
        {
            return index + 1;
        }
    }
    0
}

/// What came of looking for a place.
enum Place {
    Taken,
    /// All are fresh, or another CPU was faster.
    Full,
    /// The datagram has one.
    Known,
}

/// Makes an entry for a datagram.
#[inline(always)]
fn keep<S: State>(state: &S, parsed: &Parsed, kept: Kept) -> Place {
    let datagram = Datagram::of(state, parsed);
    let now = state.now();
    let drops = kept.is_drop();
    let index = match room(state, &datagram, now, drops) {
        0 => return Place::Full,
        place => place - 1,
    };
    let Some(entry) = state.fragment(index) else {
        return Place::Full;
    };
    let before = Clock(entry.clock.load());
    let is_free = !before.is_fresh(now) || (before.is_lesser() && !drops);
    let held = Clock::new(now, Clock::HELD, 0);
    if !is_free || entry.clock.compare_exchange(before.0, held.0) != before.0 {
        return Place::Full;
    }
    put(&entry.tag, datagram.tag);
    // Two CPUs may have a first fragment of the same datagram: whoever sees the
    // other's entry gives way, and the swap above orders both writes before both looks.
    if find_except(state, &datagram, now, index) != 0 {
        put(&entry.clock, Clock::FREE.0);
        return Place::Known;
    }
    put(&entry.verdict, kept.0);
    put(&entry.clock, Clock::of(&parsed.fragment, now, drops).0);
    Place::Taken
}

/// A place in the datagram's bucket, counted from 1: a free one, or that of a
/// datagram that drops, where this one passes; 0: there is none.
#[inline(always)]
fn room<S: State>(state: &S, datagram: &Datagram, now: u64, drops: bool) -> u32 {
    let mut lesser = 0;
    for way in 0..WAYS {
        let index = datagram.bucket + way;
        let Some(entry) = state.fragment(index) else { break };
        let clock = Clock(entry.clock.load());
        if !clock.is_fresh(now) {
            return index + 1;
        }
        if clock.is_lesser() {
            lesser = index + 1;
        }
    }
    if drops { 0 } else { lesser }
}

/// Writes a word that nobody else writes now.
#[inline(always)]
fn put<C: Cell>(cell: &C, word: u64) {
    cell.compare_exchange(cell.load(), word);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1 << 44;

    /// In blocks; `odd` bytes are missing of the last one.
    fn piece(offset: u16, blocks: usize, odd: usize, more: bool) -> Fragment {
        Fragment::from_ipv6(7, offset << 3 | u16::from(more), blocks * 8 - odd)
    }

    #[test]
    fn an_outcome_comes_back_as_it_was_kept() {
        let rules = [None, Some(RuleId::new(0)), Some(RuleId::new(65_535))];
        let scopes = || core::iter::once(None).chain(Scope::ALL.iter().copied().map(Some));
        let reasons = || core::iter::once(None).chain(Reason::ALL.iter().copied().map(Some));
        for reason in Reason::ALL {
            for monitored in reasons() {
                for (rule, scope) in rules.into_iter().flat_map(|r| scopes().map(move |s| (r, s))) {
                    let outcome = Outcome { reason: *reason, monitored, rule, scope };
                    let kept = Kept::new(&outcome).charged_to(Charged::Udp, 65_535);
                    assert_eq!(kept.outcome(), outcome);
                    assert_eq!(kept.port(), 65_535);
                    assert!(kept.charged() == Charged::Udp);
                }
            }
        }
        for charged in [Charged::Nothing, Charged::Tcp, Charged::Udp, Charged::Echo, Charged::Error]
        {
            let kept = Kept::new(&Outcome::of(Reason::Icmp)).charged_to(charged, 0);
            assert!(kept.charged() == charged);
        }
    }

    #[test]
    fn an_entry_lives_for_thirty_seconds() {
        const SECOND: u64 = 1_000_000_000 * crate::rate::TICKS_PER_NS;
        let clock = Clock::of(&piece(0, 3, 0, true), NOW, false);
        assert!(clock.is_fresh(NOW));
        assert!(clock.is_fresh(NOW + 29_999 * SECOND / 1000));
        assert!(!clock.is_fresh(NOW + 30_001 * SECOND / 1000));
        // Another CPU has read its clock a moment earlier.
        assert!(clock.is_fresh(NOW - SECOND));
        assert!(!Clock::FREE.is_fresh(0));
    }

    #[test]
    fn a_datagram_is_complete_when_nothing_is_missing() {
        let after = |first, later: &[Fragment]| {
            later.iter().fold(Clock::of(&first, NOW, false), |clock, piece| {
                assert!(clock.admits(piece), "{piece:?}");
                clock.after(piece)
            })
        };
        let first = piece(0, 3, 0, true);
        assert_eq!(after(first, &[piece(3, 2, 0, true), piece(5, 1, 7, false)]).0, 0);
        for broken in [
            after(first, &[piece(4, 1, 0, false)]),
            after(first, &[piece(3, 1, 1, true), piece(4, 1, 0, false)]),
            after(piece(0, 3, 4, true), &[piece(3, 1, 0, false)]),
        ] {
            assert!(broken.is_fresh(NOW));
            // Nothing follows the last, however far away.
            assert!(!broken.admits(&piece(0x1fff, 1, 1, false)));
        }
    }

    #[test]
    fn an_entry_that_is_being_written_admits_nothing() {
        let held = Clock::new(NOW, Clock::HELD, 0);
        assert!(held.is_fresh(NOW) && !held.is_lesser() && !held.admits(&piece(1, 1, 0, true)));
        assert!(Clock::of(&piece(0, 3, 0, true), NOW, true).is_lesser());
        assert!(!Clock::of(&piece(0, 3, 0, true), NOW, false).is_lesser());
    }
}
