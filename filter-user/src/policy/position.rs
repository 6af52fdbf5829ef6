//! From a byte offset to the line and column that a person counts.

/// Where the lines of a text begin.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

/// A place in a text: both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub line: u32,
    pub column: u32,
}

impl<'t> Lines<'t> {
    pub fn new(text: &'t str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The place of byte `at`; an offset past the end is the end, one inside
    /// of a character is that character.
    pub fn position(&self, at: usize) -> Position {
        let at = self.text.floor_char_boundary(at);
        // `starts` begins with 0, so that at least one line starts at or before `at`.
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts[line - 1];
        let column = self.text[start..at].chars().count() + 1;
        Position { line: count(line), column: count(column) }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters() {
        let lines = Lines::new("ab\n\u{e9}x\r\n\nend");
        for (at, line, column) in [
            (0, 1, 1),
            (2, 1, 3),
            (3, 2, 1),
            (4, 2, 1),
            (5, 2, 2),
            (8, 3, 1),
            (9, 4, 1),
            (12, 4, 4),
            (99, 4, 4),
        ] {
            assert_eq!(lines.position(at), Position { line, column }, "offset {at}");
        }
        assert_eq!(Lines::new("").position(0), Position { line: 1, column: 1 });
    }
}
