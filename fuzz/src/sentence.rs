//! What is said to an operator.

/// Whether a sentence is fit for a line of a log or a terminal.
pub fn is_one_line(sentence: &str) {
    assert!(!sentence.trim().is_empty());
    assert!(!sentence.contains(char::is_control), "{sentence:?}");
}
