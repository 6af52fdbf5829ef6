//! The console as lines.

use std::collections::VecDeque;

/// How many lines are kept.
const TAIL: usize = 15;

/// Splits what comes from the console into lines and keeps the last ones.
#[derive(Default)]
pub struct Lines {
    partial: Vec<u8>,
    frozen: bool,
    last: VecDeque<String>,
}

impl Lines {
    /// Takes what has come, wherever it was cut.
    pub fn push(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
    }

    /// Keeps no more lines: those that come after this matter less.
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// The last whole lines that were not empty.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// Takes the next line out of what has come, if it is whole.
    pub fn next(&mut self) -> Option<String> {
        let end = self.partial.iter().position(|&byte| byte == b'\n')?;
        let line: Vec<u8> = self.partial.drain(..=end).collect();
        Some(self.keep(&line))
    }

    /// What has come of the next line.
    pub fn unfinished(&self) -> String {
        cleaned(&self.partial)
    }

    fn keep(&mut self, line: &[u8]) -> String {
        let line = cleaned(line);
        if !line.is_empty() && !self.frozen {
            self.last.push_back(line.clone());
            if self.last.len() > TAIL {
                self.last.pop_front();
            }
        }
        line
    }

    /// The last lines that are not empty, one that was not ended too.
    pub fn tail(mut self) -> Vec<String> {
        let partial = std::mem::take(&mut self.partial);
        self.keep(&partial);
        self.last.into()
    }
}

fn cleaned(line: &[u8]) -> String {
    without_escapes(&String::from_utf8_lossy(line)).trim_end().to_owned()
}

/// Leaves out what moves cursors and clears terminals: the firmware does both.
fn without_escapes(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            text.push(character);
        } else if characters.next() == Some('[') {
            // A control sequence ends with its first letter.
            let _ = characters.find(char::is_ascii_alphabetic);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clears_a_terminal_is_left_out() {
        let line = "\u{1b}c\u{1b}[?7l\u{1b}[2J\u{1b}[0mSeaBIOS (version 1)";
        assert_eq!(without_escapes(line), "SeaBIOS (version 1)");
    }

    #[test]
    fn lines_come_whole_and_the_last_are_kept() {
        let mut lines = Lines::default();
        let mut seen = 0;
        for n in 0..2 * TAIL {
            lines.push(format!("line {n}\r\n\nha").as_bytes());
            while lines.next().is_some() {
                seen += 1;
            }
            assert_eq!(lines.next(), None);
            lines.partial.clear();
        }
        assert_eq!(seen, 4 * TAIL);
        lines.push(b"not ended");
        let tail = lines.tail();
        assert_eq!(tail.len(), TAIL);
        assert_eq!(tail[TAIL - 2..], [format!("line {}", 2 * TAIL - 1), "not ended".to_owned()]);
    }
}
