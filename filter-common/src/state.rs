//! Where the state lives that a verdict reads and changes.

use crate::{
    Address, Flows, Outcome, Reason,
    fragments::{self, Entry, Kept},
    limits::{self, Charged},
    read::{Flow, Parsed},
    reply::{self, Standing},
    slots,
    tables::{Fragments, Generation, Leaf, Rule, SourceKey, View},
};

/// One rate bucket: a 64-bit word that several CPUs change at once.
pub trait Cell {
    /// The word as it stands.
    fn load(&self) -> u64;
    /// Puts `new` in place of `old`, and tells what stood there: `old` if,
    /// and only if, the swap was made.
    fn compare_exchange(&self, old: u64, new: u64) -> u64;
    /// Takes `amount` away: gives a token back.
    fn subtract(&self, amount: u64);
}

/// A word that one thread changes, for state in user space.
impl Cell for core::cell::Cell<u64> {
    fn load(&self) -> u64 {
        self.get()
    }

    fn compare_exchange(&self, old: u64, new: u64) -> u64 {
        let seen = self.get();
        if seen == old {
            self.set(new);
        }
        seen
    }

    fn subtract(&self, amount: u64) {
        self.set(self.get().wrapping_sub(amount));
    }
}

impl<C: Cell> Cell for &C {
    fn load(&self) -> u64 {
        (*self).load()
    }

    fn compare_exchange(&self, old: u64, new: u64) -> u64 {
        (*self).compare_exchange(old, new)
    }

    fn subtract(&self, amount: u64) {
        (*self).subtract(amount);
    }
}

/// What the policy's address lists say of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Neither trusted nor denied.
    No,
    /// In `[sources] trusted`.
    Trusted,
    /// In `[sources] denied`, and not trusted.
    Denied,
}

/// What the kernel's socket table says of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Socket {
    /// Nothing holds its addresses and ports.
    None = 0,
    /// A connection: established, closing or in time-wait.
    Live = 1,
    /// A handshake that lacks its last segment.
    HalfOpen = 2,
    /// A listener, and the segment brings back a valid SYN cookie of it.
    Cookie = 3,
}

impl Socket {
    /// Back from its number.
    #[inline(always)]
    #[must_use]
    pub const fn of_number(number: u32) -> Self {
        match number {
            1 => Self::Live,
            2 => Self::HalfOpen,
            3 => Self::Cookie,
            _ => Self::None,
        }
    }
}

/// The rates that one interface has for all its traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum InterfaceLimit {
    /// ICMP errors that quote no live flow of this host.
    Errors = 0,
    /// DHCP and DHCPv6 answers.
    Dhcp = 1,
    /// Group membership: MLD and IGMP.
    Groups = 2,
}

/// The tables that a verdict reads. All methods that name policy answer from
/// one generation, chosen before the first of them is called.
pub trait State: Flows + Sized {
    /// A rate bucket.
    type Cell: Cell;
    /// The three buckets of one scope under one rule, in the order
    /// `new_connections`, `packets`, `bytes`.
    type Buckets: Buckets<Cell = Self::Cell>;

    /// The policy in force.
    fn generation(&self) -> &Generation;
    /// The number of the interface that the packet came in on, below
    /// [`INTERFACES`](crate::tables::INTERFACES).
    fn interface(&self) -> u32;
    /// Monotonic time in ticks ([`TICKS_PER_NS`](crate::rate::TICKS_PER_NS)).
    fn now(&self) -> u64;

    /// One word of the list bitmap ([`tables::lists`](crate::tables::lists)).
    fn list_word(&self, index: u32) -> u64;
    /// The entries of one IPv4 /24 where they differ, by the leaf's number.
    fn list_leaf(&self, leaf: u32) -> Option<&Leaf>;
    /// The class of the longest IPv6 prefix that holds the address.
    fn list_prefix(&self, source: &Address) -> u32;

    /// Whether any ban exists: bits of [`tables::bans`](crate::tables::bans).
    fn bans(&self) -> u32;
    /// One word of the ban bitmap.
    fn ban_word(&self, index: u32) -> u64;
    /// Whether the address is banned by itself, and the ban has not run out.
    fn banned(&self, source: &Address) -> bool;
    /// Whether a banned prefix holds the address, and the ban has not run out.
    fn banned_prefix(&self, source: &Address) -> bool;

    /// One word of the port table of an interface group: four port views.
    fn port_word(&self, group: u32, index: u32) -> u64;
    /// What is behind a port.
    fn view(&self, view: u32) -> Option<&View>;
    /// One word of the views' filters ([`tables::filter`](crate::tables::filter)).
    fn filter_word(&self, index: u32) -> u64;
    /// The rule of the longest prefix that holds the source; 0 for none.
    fn prefix_rule(&self, view: u32, source: &Address) -> u32;
    /// A rule, by its number in this generation.
    fn rule(&self, rule: u32) -> Option<&Rule>;

    /// Whether a TCP socket of this host may be at the receiving end of a flow.
    fn speaks(&self, flow: &Flow) -> bool;
    /// Asks the kernel's socket table about a TCP segment. `answer` is the
    /// segment's sequence and acknowledgement numbers and flags, with which
    /// a listener's SYN cookie is checked; `None` where none can count.
    fn socket(&self, flow: &Flow, answer: Option<&crate::read::Tcp>) -> Socket;

    /// The number of the rule that admits a source to a TCP port, by the port
    /// table of one group of interfaces; 0: none does. All states do it alike;
    /// the kernel's verifier wants it apart from the rest, as those that follow.
    #[inline(always)]
    fn rule_in_group(&self, group: u32, source: &Address, port: u16) -> u32 {
        slots::rule_in_group(self, group, source, port)
    }

    /// [`limits::refusal`].
    #[inline(always)]
    fn refusal(&self, charged: &Charged<'_>, scope: usize) -> Reason {
        limits::refusal(self, charged, scope)
    }

    /// [`limits::pay`].
    #[inline(always)]
    fn pay(&self, charged: &Charged<'_>, scope: usize) -> Reason {
        limits::pay(self, charged, scope)
    }

    /// [`limits::give_back`].
    #[inline(always)]
    fn give_back(&self, charged: &Charged<'_>, scope: usize) {
        limits::give_back(self, charged, scope);
    }

    /// [`reply::standing`]: apart, likewise.
    #[inline(always)]
    fn standing(&self, flow: &Flow, protocol: u8) -> Standing {
        reply::standing(self, flow, protocol)
    }

    /// [`reply::note_asked`]: apart, likewise.
    #[inline(always)]
    fn note_asked(&self, flow: &Flow) {
        reply::note_asked(self, flow);
    }

    /// [`fragments::is_known`]: apart, likewise.
    #[inline(always)]
    fn is_known_datagram(&self, first: &Parsed) -> bool {
        fragments::is_known(self, first)
    }

    /// [`fragments::remember`].
    #[inline(always)]
    fn remember(&self, first: &Parsed, outcome: Outcome) -> Outcome {
        fragments::remember(self, first, Kept::new(&outcome)).outcome()
    }

    /// [`fragments::follow`].
    #[inline(always)]
    fn follow(&self, later: &Parsed) -> Kept {
        fragments::follow(self, later)
    }

    /// The buckets of one source or network, if there are any: if not, they
    /// are as idle ones.
    fn find_buckets(&self, key: &SourceKey) -> Option<Self::Buckets>;
    /// The buckets of one source or network, made if there are none yet.
    /// `proven`: for a packet of a connection. `None` when other CPUs won
    /// every place for them.
    fn buckets(&self, key: &SourceKey, now: u64, proven: bool) -> Option<Self::Buckets>;
    /// The buckets that all sources of a rule share, by [`Rule::id`], or those
    /// of the strangers' part.
    fn total_buckets(&self, rule: u32, strangers: bool) -> Option<Self::Buckets>;
    /// How many connections are held under a key.
    fn slots(&self, key: &SourceKey) -> u64;
    /// Whether the source prefix completed a handshake with this host within
    /// a day of `now`.
    fn is_known(&self, source: &Address, now: u64) -> bool;
    /// A bucket of the interface that the packet came in on.
    fn interface_bucket(&self, limit: InterfaceLimit) -> Option<Self::Cell>;

    /// Where datagrams in fragments have their entries.
    fn fragments(&self) -> Fragments;
    /// An entry of that table; `None` beyond its end.
    fn fragment(&self, index: u32) -> Option<Entry<Self::Cell>>;
    /// Counts a datagram whose later fragments will drop for want of room.
    fn fragments_full(&self);

    /// Counts a packet that was refused because other CPUs won every swap,
    /// or because the table of sources had no room.
    fn contended(&self);
}

/// The buckets of one scope under one rule.
pub trait Buckets {
    /// A rate bucket.
    type Cell: Cell;
    /// That of `new_connections`, which bare SYNs pay.
    fn new_connections(&self) -> Self::Cell;
    /// That of `packets`, which all other packets pay.
    fn packets(&self) -> Self::Cell;
    /// That of `bytes`, likewise.
    fn bytes(&self) -> Self::Cell;

    /// Notes that a connection of the source's own was charged here.
    fn prove(&self, now: u64);
    /// Counts a packet that was refused here.
    fn refuse(&self);
}
