//! What a message says about a word that is not known.

/// Characters of the operator's text that a message repeats.
const SHOWN: usize = 60;

/// The candidate that `word` was most likely meant to be, if one is near.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let word = word.to_ascii_lowercase();
    let length = word.chars().count();
    // A third of the word may be wrong; in a longer one more would be another word.
    let allowed = (length / 3).clamp(1, 4);
    candidates
        .into_iter()
        // The distance costs the product of both lengths: leave out what cannot be near.
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 4 * allowed)
        .map(|candidate| {
            (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed && *distance < length.max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `text` as a message may repeat it: no control characters (a terminal
/// would obey them), and cut where it is long.
pub(super) fn shown(text: &str) -> String {
    let mut out = without_controls(text.chars().take(SHOWN));
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// Characters with those escaped that a terminal would obey.
pub(crate) fn without_controls(chars: impl Iterator<Item = char>) -> String {
    chars
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_near_only() {
        let keys = ["interfaces", "mode", "attach", "new_connections", "bytes"];
        for (word, expected) in [
            ("interface", Some("interfaces")),
            ("Interfaces", Some("interfaces")),
            ("moed", Some("mode")),
            ("newconnections", Some("new_connections")),
            ("byte", Some("bytes")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
    }

    #[test]
    fn shows_no_control_characters() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown("é"), "é");
        assert_eq!(shown(&"x".repeat(70)), format!("{}…", "x".repeat(60)));
    }
}
