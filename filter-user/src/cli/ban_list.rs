//! Addresses to ban, and for how long, as they are typed.

use std::{
    io::{self, Read},
    time::Duration,
};

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

/// What is read of a list at a time, in bytes.
const PART: usize = 128 << 10;
/// The longest line of a list, in bytes.
const LONGEST_LINE: usize = 64 << 10;

/// A part of a list of what to ban.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// In the order of the list, with their lines, from 1.
    pub prefixes: Vec<(IpNet, u32)>,
    /// Prefixes that had bits set beyond their length.
    pub warnings: Vec<Note>,
    /// Lines that are wrong; then nothing of the part is to be banned.
    pub problems: Vec<Problem>,
}

/// Reads a list: one address or prefix a line; `#` starts a comment anywhere.
/// It keeps no more than a part of it, so that a list has no end it must have.
pub(super) struct ListReader<R> {
    input: R,
    /// What errors call the list.
    name: String,
    buffer: Box<[u8]>,
    /// A line of which the end was not read yet.
    begun: Vec<u8>,
    /// Lines before it.
    lines: u32,
    has_ended: bool,
}

impl<R: Read> ListReader<R> {
    pub(super) fn new(input: R, name: String) -> Self {
        let buffer = vec![0; PART].into_boxed_slice();
        Self { input, name, buffer, begun: Vec::new(), lines: 0, has_ended: false }
    }

    /// Begins anew, at the beginning of the same list.
    pub(super) fn restart(
        &mut self,
        rewind: impl FnOnce(&mut R) -> io::Result<()>,
    ) -> io::Result<()> {
        rewind(&mut self.input)?;
        self.begun.clear();
        (self.lines, self.has_ended) = (0, false);
        Ok(())
    }

    /// What can be read without waiting, or at least something; `None`: all
    /// was read.
    pub(super) fn next_part(&mut self) -> io::Result<Option<Part>> {
        if self.has_ended {
            return Ok(None);
        }
        let length = loop {
            match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        let mut part = Part::default();
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..length];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            self.end_line(&mut part);
        }
        self.begun.extend_from_slice(rest);
        self.buffer = buffer;
        if self.begun.len() > LONGEST_LINE {
            part.problems.push(Problem {
                file: Some(self.name.clone()),
                line: Some(self.lines + 1),
                ..Problem::new(format!("the line is longer than {LONGEST_LINE} bytes: write one address or prefix on each"))
            });
            self.has_ended = true;
        } else if length == 0 {
            self.has_ended = true;
            self.end_line(&mut part);
        }
        Ok(Some(part))
    }

    fn end_line(&mut self, part: &mut Part) {
        self.lines = self.lines.saturating_add(1);
        let line = self.begun.strip_prefix("\u{feff}".as_bytes()).filter(|_| self.lines == 1);
        let line = String::from_utf8_lossy(line.unwrap_or(&self.begun));
        let content = line.split('#').next().unwrap_or_default();
        let word = content.trim();
        let place = || (Some(self.name.clone()), Some(self.lines));
        match parse_network(word) {
            _ if word.is_empty() => {}
            Ok((prefix, host_bits)) => {
                part.prefixes.push((prefix, self.lines));
                if host_bits {
                    let network = Network { prefix, host_bits: Some(word.to_owned()) };
                    let (file, line) = place();
                    part.warnings.extend(network.note().map(|note| Note { file, line, ..note }));
                }
            }
            Err(error) => {
                let before = content.chars().take_while(|c| c.is_whitespace()).count();
                let column = u32::try_from(before + 1).ok();
                let (file, line) = place();
                part.problems.push(Problem { file, line, column, ..Problem::new(error) });
            }
        }
        self.begun.clear();
    }
}

/// Errors or warnings: the first hundred of them, and how many more there were.
#[derive(Debug)]
pub(super) struct Several<T> {
    listed: Vec<T>,
    more: usize,
}

impl<T> Default for Several<T> {
    fn default() -> Self {
        Self { listed: Vec::new(), more: 0 }
    }
}

impl<T> Several<T> {
    pub(super) fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        for item in items {
            if self.listed.len() < LISTED {
                self.listed.push(item);
            } else {
                self.more += 1;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// All of them; `more` says how many are not listed.
    pub(super) fn list(mut self, more: impl FnOnce(usize) -> T) -> Vec<T> {
        if self.more > 0 {
            self.listed.push(more(self.more));
        }
        self.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out so many bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn all(bytes: &[u8], at_a_time: usize) -> io::Result<Part> {
        let mut reader = ListReader::new(Trickle(bytes, at_a_time), "list".to_owned());
        let mut all = Part::default();
        while let Some(part) = reader.next_part()? {
            all.prefixes.extend(part.prefixes);
            all.warnings.extend(part.warnings);
            all.problems.extend(part.problems);
        }
        Ok(all)
    }

    #[test]
    fn a_list_has_comments_blanks_and_both_families() -> io::Result<()> {
        let text = "\u{feff}# header\n\n 198.51.100.7 # scan\r\n2001:db8::/32\n198.51.100.9/24";
        for at_a_time in 1..=text.len() {
            let list = all(text.as_bytes(), at_a_time)?;
            let shown: Vec<String> =
                list.prefixes.iter().map(|(net, line)| format!("{net} {line}")).collect();
            assert_eq!(shown, ["198.51.100.7/32 3", "2001:db8::/32 4", "198.51.100.0/24 5"]);
            assert_eq!(list.warnings.len(), 1);
            assert!(list.warnings[0].to_string().starts_with("list:5: `198.51.100.9/24` has bits"));
            assert_eq!(list.problems, []);
        }
        Ok(())
    }

    #[test]
    fn every_bad_line_is_named() -> io::Result<()> {
        let list = all(b"198.51.100.7\n  house\n1.2.3.4/33\n\xff\n", 1000)?;
        let place = |problem: &Problem| (problem.line, problem.column);
        let lines: Vec<_> = list.problems.iter().map(place).collect();
        assert_eq!(lines, [(Some(2), Some(3)), (Some(3), Some(1)), (Some(4), Some(1))]);
        Ok(())
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() -> io::Result<()> {
        let mut reader = ListReader::new(io::repeat(b'#'), "list".to_owned());
        let part = reader.next_part()?.unwrap_or_default();
        assert!(
            part.problems
                .iter()
                .any(|problem| problem.to_string().contains("list:1: the line is longer"))
        );
        assert_eq!(reader.next_part()?, None);
        Ok(())
    }

    #[test]
    fn what_was_read_can_be_read_again() -> io::Result<()> {
        let text = io::Cursor::new("192.0.2.1\n192.0.2.2\n");
        let mut reader = ListReader::new(text, "list".to_owned());
        let first = reader.next_part()?;
        reader.restart(|text| {
            text.set_position(0);
            Ok(())
        })?;
        assert_eq!(reader.next_part()?, first);
        Ok(())
    }

    #[test]
    fn beyond_the_hundredth_they_are_counted() {
        let mut several = Several::default();
        several.extend(0..150);
        let listed = several.list(|more| more + 1000);
        assert_eq!((listed.len(), listed.last()), (101, Some(&1050)));
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
