//! What must hold of every packet, whatever it is.

use filter_common::{
    Outcome, Packet as _, Reason, Verdict,
    fragments::Kept,
    read::{self, Flow, Parsed, Transport},
};

/// What the reader makes of a frame. Reads it in each way that there is.
pub fn parsed(frame: &[u8], raw_ip: bool) -> (Reason, Parsed) {
    let mut parsed = Parsed::default();
    let reason = read::packet(frame, raw_ip, &mut parsed);
    let mut claimed = Flow::default();
    let is_claimed = read::claimed(frame, raw_ip, &mut claimed);
    if reason == Reason::Rule {
        assert!(is_claimed, "it was read, and says nothing of whom it is from");
        let Flow { source, destination, .. } = parsed.flow;
        assert_eq!((claimed.source, claimed.destination), (source, destination));
        let header = match parsed.transport {
            Transport::Tcp => 20,
            Transport::Udp | Transport::Icmp => 8,
            Transport::Other | Transport::Later => 0,
        };
        assert!(frame.reaches(parsed.offset + header), "a header beyond the frame: {parsed:?}");
        let fragment = &parsed.fragment;
        let kinds = [fragment.is_whole(), fragment.is_first(), fragment.is_later()];
        assert_eq!(kinds.iter().filter(|kind| **kind).count(), 1, "{fragment:?}");
        assert_eq!(fragment.is_later(), matches!(parsed.transport, Transport::Later));
        // Any place will do, also one where there is no error.
        let is_ipv4 = source.is_ipv4();
        let quoted = read::quoted(frame, parsed.offset, is_ipv4);
        assert!(quoted.is_none_or(|quoted| !is_ipv4 || quoted.flow.source.is_ipv4()));
    } else {
        assert!(matches!(reason, Reason::Malformed | Reason::NotIp | Reason::Essential));
    }
    if reason != Reason::Malformed {
        // What lies behind the packet, as where a frame is padded, is none of it.
        let mut padded = frame.to_vec();
        padded.extend([0xff; 64]);
        let mut again = Parsed::default();
        assert_eq!(read::packet(&padded[..], raw_ip, &mut again), reason);
        assert_eq!(again, parsed);
    }
    (reason, parsed)
}

/// The reason for which it drops, or would without monitor mode.
pub fn would(outcome: &Outcome) -> Reason {
    outcome.monitored.unwrap_or(outcome.reason)
}

/// Whether a limit of a rule is the reason.
pub fn is_limit(reason: Reason) -> bool {
    use Reason::{ByteRate, ConnectionLimit, ConnectionRate, PacketRate};
    matches!(reason, ByteRate | ConnectionLimit | ConnectionRate | PacketRate)
}

/// Whether the parts of an outcome fit together. `rules`: how many there are
/// numbers for.
pub fn outcome(outcome: &Outcome, is_monitor: bool, rules: usize) {
    let Outcome { reason, monitored, rule, scope } = *outcome;
    assert_eq!(reason == Reason::Monitor, monitored.is_some());
    assert!(monitored.is_none_or(|reason| reason.verdict() == Verdict::Drop));
    assert!(!is_monitor || outcome.verdict() == Verdict::Pass, "monitor mode drops");
    let would = would(outcome);
    assert_eq!(scope.is_some(), is_limit(would));
    let by_rule = is_limit(would) || matches!(would, Reason::Rule | Reason::OutOfState);
    assert_eq!(rule.is_some(), by_rule);
    assert!(rule.is_none_or(|rule| (rule.get() as usize) < rules), "there is no such rule");
    assert_eq!(Kept::new(outcome).outcome(), *outcome, "a word cannot hold it");
}
