//! Addresses to ban, and for how long, as they are typed.

use std::time::Duration;

use ipnet::IpNet;

use crate::{
    control::{Note, Problem},
    policy::{AddressError, parse_network},
};

/// Errors and warnings that are listed of one file.
const LISTED: usize = 100;

/// A prefix as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Network {
    /// Without bits beyond its length.
    pub prefix: IpNet,
    /// What was typed, where it had such bits.
    pub host_bits: Option<String>,
}

impl Network {
    /// What to say about the bits beyond its length, if there were any.
    pub(super) fn note(&self) -> Option<Note> {
        let written = self.host_bits.as_ref()?;
        Some(Note::new(format!(
            "`{written}` has bits set beyond its prefix length; it is taken as {}",
            self.prefix
        )))
    }
}

/// An address or prefix on the command line.
pub(super) fn parse_argument(text: &str) -> Result<Network, AddressError> {
    let (prefix, host_bits) = parse_network(text.trim())?;
    Ok(Network { prefix, host_bits: host_bits.then(|| text.to_owned()) })
}

/// Why something is no length of time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DurationError {
    /// No length of time at all.
    #[error("this is no length of time; write one such as 90s, 10m, 1h or 7days")]
    Malformed,
    /// None, or a very long one.
    #[error(
        "a ban lasts at least a millisecond and at most 100 years; leave `--for` out to ban for good"
    )]
    Range,
}

/// How long a ban holds.
pub(super) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
    let length = match humantime::parse_duration(text) {
        Ok(length) => length,
        Err(humantime::DurationError::NumberOverflow) => return Err(DurationError::Range),
        Err(_) => return Err(DurationError::Malformed),
    };
    if length < Duration::from_millis(1) || length > LONGEST {
        return Err(DurationError::Range);
    }
    Ok(length)
}

/// A list of what to ban.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BanList {
    /// In the order of the file, with their lines, from 1.
    pub prefixes: Vec<(IpNet, u32)>,
    /// Prefixes that had bits set beyond their length.
    pub warnings: Vec<Note>,
}

/// One address or prefix a line; `#` starts a comment anywhere. `name` is what
/// errors call the file.
pub(super) fn parse_list(bytes: &[u8], name: &str) -> Result<BanList, Vec<Problem>> {
    let mut list = BanList::default();
    let (mut problems, mut unlisted, mut with_host_bits) = (Vec::new(), 0_usize, 0_usize);
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1_u32..) {
        let line = String::from_utf8_lossy(line);
        let content = line.split('#').next().unwrap_or_default();
        let word = content.trim();
        if word.is_empty() {
            continue;
        }
        match parse_network(word) {
            Ok((prefix, host_bits)) => {
                list.prefixes.push((prefix, number));
                with_host_bits += usize::from(host_bits);
                if host_bits && with_host_bits <= LISTED {
                    let network = Network { prefix, host_bits: Some(word.to_owned()) };
                    let place =
                        |note| Note { file: Some(name.to_owned()), line: Some(number), ..note };
                    list.warnings.extend(network.note().map(place));
                }
            }
            Err(_) if problems.len() >= LISTED => unlisted += 1,
            Err(error) => {
                let before = content.chars().take_while(|c| c.is_whitespace()).count();
                problems.push(Problem {
                    file: Some(name.to_owned()),
                    line: Some(number),
                    column: u32::try_from(before + 1).ok(),
                    ..Problem::new(error)
                });
            }
        }
    }
    if unlisted > 0 {
        let more = Problem::new(format!("and {unlisted} more errors; correct these first"));
        problems.push(Problem { file: Some(name.to_owned()), ..more });
    }
    if let Some(more) = with_host_bits.checked_sub(LISTED).filter(|more| *more > 0) {
        list.warnings.push(Note::new(format!(
            "and {more} more prefixes with bits set beyond their length; each is taken as its network"
        )));
    }
    if problems.is_empty() { Ok(list) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_comments_blanks_and_both_families() {
        let text = "# header\n\n 198.51.100.7 # scan\r\n2001:db8::/32\n198.51.100.9/24\n";
        let list = parse_list(text.as_bytes(), "list").unwrap_or_default();
        let shown: Vec<String> =
            list.prefixes.iter().map(|(net, line)| format!("{net} {line}")).collect();
        assert_eq!(shown, ["198.51.100.7/32 3", "2001:db8::/32 4", "198.51.100.0/24 5"]);
        assert_eq!(list.warnings.len(), 1);
        assert!(list.warnings[0].to_string().starts_with("list:5: `198.51.100.9/24` has bits"));
    }

    #[test]
    fn every_bad_line_is_named() {
        let problems = parse_list(b"198.51.100.7\n  house\n1.2.3.4/33\n\xff\n", "list")
            .err()
            .unwrap_or_default();
        let lines: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
        assert_eq!(lines, [(Some(2), Some(3)), (Some(3), Some(1)), (Some(4), Some(1))]);
    }

    #[test]
    fn errors_beyond_the_hundredth_are_counted() {
        let problems = parse_list("x\n".repeat(150).as_bytes(), "list").err().unwrap_or_default();
        assert_eq!(problems.len(), 101);
        assert!(problems[100].to_string().contains("50 more errors"));
    }

    #[test]
    fn durations_are_lengths_that_a_ban_can_have() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("1h", 3600), ("1h 30m", 5400), ("7days", 604_800)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        for text in ["", "1", "h", "-1h", "1 fortnight"] {
            assert_eq!(parse_duration(text), Err(DurationError::Malformed), "{text}");
        }
        for text in ["0s", "200years", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), Err(DurationError::Range), "{text}");
        }
    }
}
