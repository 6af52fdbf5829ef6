//! The fate of a packet and the one reason for it.

use core::num::NonZeroU32;

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It goes on to the host's network stack.
    Pass,
    /// It ends here.
    Drop,
}

impl Verdict {
    /// The name that the command line, JSON, metrics and logs show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $value:literal, $verdict:ident, $name:literal;)*) => {
        /// Why a packet passed or dropped. Every verdict has exactly one, and
        /// every one has a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $variant = $value,)* }

        impl Reason {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that the command line, JSON, metrics and logs show.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The verdict that this is a reason for.
            #[inline(always)]
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict,)* }
            }
        }
    };
}

reasons! {
    /// Not IPv4 or IPv6, nor ARP: none of this filter's business.
    NotIp = 0, Pass, "not_ip";
    /// Without it the network does not work: ARP, neighbour discovery, DHCP.
    Essential = 1, Pass, "essential";
    /// From a source that the policy trusts.
    Trusted = 2, Pass, "trusted";
    /// No rule admits it, but it answers what this host began.
    Reply = 3, Pass, "reply";
    /// A rule admits it, within its limits.
    Rule = 4, Pass, "rule";
    /// ICMP that the policy admits, or an error that quotes a live flow.
    Icmp = 5, Pass, "icmp";
    /// An IP protocol that the policy names.
    Protocol = 6, Pass, "protocol";
    /// It would have dropped, were the policy or the rule not in monitor mode.
    Monitor = 7, Pass, "monitor";
    /// It cannot be read, or lies about its own length.
    Malformed = 8, Drop, "malformed";
    /// From a source that the policy denies.
    Denied = 9, Drop, "denied";
    /// From a source that is banned at present.
    Banned = 10, Drop, "banned";
    /// No rule names its port.
    PortClosed = 11, Drop, "port_closed";
    /// Rules name its port, but for other sources.
    SourceNotAllowed = 12, Drop, "source_not_allowed";
    /// TCP that belongs to no connection of this host.
    OutOfState = 13, Drop, "out_of_state";
    /// A fragment without a first one to follow.
    Fragment = 14, Drop, "fragment";
    /// More new connections than the rule's `new_connections`.
    ConnectionRate = 15, Drop, "connection_rate";
    /// More packets than the rule's `packets`.
    PacketRate = 16, Drop, "packet_rate";
    /// More bytes than the rule's `bytes`.
    ByteRate = 17, Drop, "byte_rate";
    /// More ICMP than `[icmp]` admits.
    IcmpRate = 18, Drop, "icmp_rate";
    /// ICMP that the policy does not admit.
    IcmpClosed = 19, Drop, "icmp_closed";
    /// An IP protocol that the policy does not name.
    ProtocolClosed = 20, Drop, "protocol_closed";
    /// More connections at the same time than the rule's `connections`.
    ConnectionLimit = 21, Drop, "connection_limit";
}

/// How much of the network shares the bucket that a limit is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scope {
    /// One source: an IPv4 address or an IPv6 /64, unless `[prefixes]` says otherwise.
    PerSource = 0,
    /// One network: an IPv4 /24 or an IPv6 /48, unless `[prefixes]` says otherwise.
    PerNetwork = 1,
    /// All sources of the rule.
    Total = 2,
}

impl Scope {
    /// All scopes, in the order in which they are judged.
    pub const ALL: &'static [Self] = &[Self::PerSource, Self::PerNetwork, Self::Total];

    /// The name that the command line, JSON, metrics and logs show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerSource => "per_source",
            Self::PerNetwork => "per_network",
            Self::Total => "total",
        }
    }
}

/// The number of a rule's counters ([`Rule::id`](crate::tables::Rule::id)).
///
/// It is kept one higher, so that there is no 0 and an `Option` of it is a
/// single word: the kernel's verifier refuses a register that is defined on
/// some paths alone, which is what becomes of the number in `Option<u32>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleId(NonZeroU32);

impl RuleId {
    /// From the number.
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(number))
    }

    /// The number.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get() - 1
    }
}

/// What was decided about one packet, with all that is counted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The reason; [`Reason::Monitor`] where a drop was let through.
    pub reason: Reason,
    /// The reason for which it would have dropped, where it was let through.
    pub monitored: Option<Reason>,
    /// The counters of the rule that decided; `None` where no rule did.
    pub rule: Option<RuleId>,
    /// The scope of the limit that refused it.
    pub scope: Option<Scope>,
}

impl Outcome {
    /// An outcome to which no rule is party.
    #[inline(always)]
    #[must_use]
    pub const fn of(reason: Reason) -> Self {
        Self { reason, monitored: None, rule: None, scope: None }
    }

    /// An outcome that a rule brought about.
    #[inline(always)]
    #[must_use]
    pub const fn by_rule(reason: Reason, rule: u32) -> Self {
        Self { reason, monitored: None, rule: Some(RuleId::new(rule)), scope: None }
    }

    /// What becomes of it where `monitor` mode holds: a drop is let through
    /// and remembers its reason.
    #[inline(always)]
    #[must_use]
    pub const fn under(self, monitor: bool) -> Self {
        match self.reason.verdict() {
            Verdict::Drop if monitor => {
                Self { reason: Reason::Monitor, monitored: Some(self.reason), ..self }
            }
            _ => self,
        }
    }

    /// Whether the packet goes on.
    #[inline(always)]
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.reason.verdict()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_its_own_index() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{}", reason.name());
        }
    }

    #[test]
    fn monitor_lets_drops_through_and_nothing_else() {
        for reason in Reason::ALL {
            let outcome = Outcome::of(*reason).under(true);
            assert_eq!(outcome.verdict(), Verdict::Pass);
            match reason.verdict() {
                Verdict::Drop => assert_eq!(outcome.monitored, Some(*reason)),
                Verdict::Pass => assert_eq!(outcome, Outcome::of(*reason)),
            }
            assert_eq!(Outcome::of(*reason).under(false), Outcome::of(*reason));
        }
    }
}
