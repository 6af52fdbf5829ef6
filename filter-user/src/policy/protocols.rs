//! `[protocols]`: IP protocols other than TCP, UDP and ICMP.

use super::error::ErrorKind;
use super::report::Report;
use super::schema::PROTOCOLS;
use super::section::Entry;
use super::suggest::{self, nearest};
use super::warning::WarningKind;

/// Names that operators use, with their numbers
/// (<https://www.iana.org/assignments/protocol-numbers>, and `/etc/protocols`).
const NAMES: [(&str, u8); 26] = [
    ("igmp", 2),
    ("ipip", 4),
    ("ipencap", 4),
    ("egp", 8),
    ("igp", 9),
    ("dccp", 33),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("skip", 57),
    ("eigrp", 88),
    ("ospf", 89),
    ("etherip", 97),
    ("encap", 98),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("carp", 112),
    ("l2tp", 115),
    ("isis", 124),
    ("sctp", 132),
    ("fc", 133),
    ("udplite", 136),
    ("mpls", 137),
];

/// Protocols that other parts of the policy open.
const ELSEWHERE: [(&str, u8, &str); 5] = [
    ("icmp", 1, "say what of it may pass in `[icmp]`"),
    ("tcp", 6, "write a `[[rule]]` with `ports = [\"tcp/…\"]`"),
    ("udp", 17, "write a `[[rule]]` with `ports = [\"udp/…\"]`"),
    ("icmpv6", 58, "say what of it may pass in `[icmp]`"),
    ("ipv6-icmp", 58, "say what of it may pass in `[icmp]`"),
];

/// The numbers that `[protocols]` lets in, sorted, each once.
pub(super) fn read(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(section) =
        entry.section(&PROTOCOLS, report, "a table, as in `[protocols]` with `allow = [\"esp\"]`")
    else {
        return out;
    };
    let Some(allow) = section.get("allow") else {
        return out;
    };
    let Some(items) =
        allow.items(report, "a list of IP protocols, as in `allow = [\"esp\", \"gre\", 132]`")
    else {
        return out;
    };
    if items.is_empty() {
        report.error(
            allow.at,
            allow.field,
            ErrorKind::EmptyList { remedy: "name a protocol, or take the key out" },
        );
    }
    for item in items {
        match number(&item, report) {
            Some(number) if out.contains(&number) => {
                report.warn(item.at, item.field, WarningKind::Repeated { value: shown(number) });
            }
            Some(number) => out.push(number),
            None => {}
        }
    }
    out.sort_unstable();
    out
}

/// The name of an IP protocol, its number where it has none here.
#[must_use]
pub fn shown(number: u8) -> String {
    let named = NAMES.iter().find(|(_, other)| *other == number);
    named.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// The number that one entry of the list names; reports what names none.
fn number(item: &Entry<'_, '_>, report: &mut Report<'_>) -> Option<u8> {
    let expected = "the name or number of an IP protocol, such as \"esp\" or 50";
    let number = match item.as_str() {
        None if item.is_integer() => item.integer_in(0_u8, u8::MAX, report, expected)?,
        None => return item.wrong_type(report, expected),
        Some(text) => match named(text) {
            Some(number) => number,
            None => {
                let names = NAMES.iter().map(|(name, _)| *name);
                let kind = ErrorKind::ProtocolName {
                    found: suggest::shown(text),
                    nearest: nearest(text, names),
                };
                report.error(item.at, item.field, kind);
                return None;
            }
        },
    };
    if let Some((name, _, place)) = ELSEWHERE.iter().find(|(_, other, _)| *other == number) {
        report.error(item.at, item.field, ErrorKind::ProtocolElsewhere { name, place });
        return None;
    }
    Some(number)
}

fn named(text: &str) -> Option<u8> {
    let elsewhere = ELSEWHERE.iter().map(|(name, number, _)| (*name, *number));
    let mut names = NAMES.iter().copied().chain(elsewhere);
    match names.find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        Some((_, number)) => Some(number),
        // A number in quotes: as good as one without.
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        None => None,
    }
}
