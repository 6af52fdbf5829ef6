//! The ports of a rule.

use super::error::ErrorKind;
use super::model::{PortRange, Protocol};
use super::report::Report;
use super::section::Entry;
use super::suggest::shown;
use super::warning::WarningKind;

const EXPECTED: &str = "a list of ports, as in `ports = [\"tcp/22\", \"udp/100-200\"]`";
const EXPECTED_ITEM: &str = "a string such as \"tcp/22\", \"udp/14626\" or \"tcp/30300-30309\"";

/// Why a text is no port or range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Not of the form.
    #[error(
        "`{0}` is no port; write a protocol and a number or a range, such as \"tcp/22\" or \"udp/100-200\""
    )]
    Malformed(String),
    /// The order of other tools.
    #[error("`{written}` has the port first; write \"{meant}\"")]
    Swapped {
        /// As written.
        written: String,
        /// As it should be.
        meant: PortRange,
    },
    /// A protocol without ports, or none at all.
    #[error(
        "`{0}` is not a protocol with ports that nodewall knows, which are tcp and udp; others are opened in \
         `[icmp]` and `[protocols]`"
    )]
    Protocol(String),
    /// 0, or above 65535.
    #[error("{0} is no port number; they go from 1 to 65535")]
    OutOfRange(String),
    /// The last before the first.
    #[error("this range ends before it begins; write \"{0}\"")]
    Reversed(PortRange),
}

/// A range of ports, and where in the policy it is written.
#[derive(Clone, Copy)]
pub(super) struct WrittenPorts {
    pub range: PortRange,
    /// Its byte offset.
    pub at: usize,
    /// Its place in the list.
    pub index: usize,
}

/// The good ones of a rule's `ports`, in the order of the file; the others are reported.
pub(super) fn read(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Vec<WrittenPorts> {
    let mut out = Vec::new();
    let Some(items) = entry.items(report, EXPECTED) else {
        return out;
    };
    if items.is_empty() {
        report.error(
            entry.at,
            entry.field,
            ErrorKind::EmptyList { remedy: "name the ports that the rule opens" },
        );
    }
    for (index, item) in items.enumerate() {
        let Some(text) = item.string(report, EXPECTED_ITEM) else {
            continue;
        };
        match parse(text) {
            Ok(range) => out.push(WrittenPorts { range, at: item.at, index }),
            Err(error) => report.error(item.at, item.field, error),
        }
    }
    out
}

/// The ports sorted, those that overlap or touch made one. Overlaps are warned about.
pub(super) fn merge(
    written: &[WrittenPorts],
    entry: &Entry<'_, '_>,
    report: &mut Report<'_>,
) -> Vec<PortRange> {
    let mut sorted = written.to_vec();
    sorted.sort_by_key(|ports| ports.range);
    let mut out: Vec<PortRange> = Vec::with_capacity(sorted.len());
    // Of those so far, the one that reaches furthest.
    let mut furthest: Option<WrittenPorts> = None;
    for ports in sorted {
        let range = ports.range;
        let same = furthest.filter(|other| other.range.protocol == range.protocol);
        if let Some(other) = same
            && range.first <= other.range.last
        {
            let (early, late) =
                if other.index < ports.index { (other, ports) } else { (ports, other) };
            let kind = WarningKind::Overlap { written: late.range, other: early.range };
            report.warn(late.at, entry.field.item(late.index), kind);
        }
        match out.last_mut() {
            Some(last) if same.is_some() && u32::from(range.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(range.last);
            }
            _ => out.push(range),
        }
        if same.is_none_or(|other| range.last >= other.range.last) {
            furthest = Some(ports);
        }
    }
    out
}

fn parse(text: &str) -> Result<PortRange, PortError> {
    let malformed = || PortError::Malformed(shown(text));
    let (before, after) = text.split_once('/').ok_or_else(malformed)?;
    let Some(protocol) = protocol(before) else {
        if let (Some(protocol), Ok(Some((first, last)))) = (protocol(after), numbers(before))
            && first <= last
        {
            let meant = PortRange { protocol, first, last };
            return Err(PortError::Swapped { written: shown(text), meant });
        }
        let word = !before.is_empty()
            && before.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        return Err(if word && numbers(before) == Ok(None) {
            PortError::Protocol(shown(before))
        } else {
            malformed()
        });
    };
    let (first, last) = numbers(after)?.ok_or_else(malformed)?;
    if first > last {
        return Err(PortError::Reversed(PortRange { protocol, first: last, last: first }));
    }
    Ok(PortRange { protocol, first, last })
}

fn protocol(text: &str) -> Option<Protocol> {
    if text.eq_ignore_ascii_case("tcp") {
        Some(Protocol::Tcp)
    } else if text.eq_ignore_ascii_case("udp") {
        Some(Protocol::Udp)
    } else {
        None
    }
}

/// `N` or `N-N`; `None` if it is neither.
fn numbers(text: &str) -> Result<Option<(u16, u16)>, PortError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Ok(None);
    }
    let number = |part: &str| match part.parse() {
        Ok(0) | Err(_) => Err(PortError::OutOfRange(shown(part))),
        Ok(number) => Ok(number),
    };
    Ok(Some((number(first)?, number(last)?)))
}
