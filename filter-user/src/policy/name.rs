//! Names of rules, sets and interfaces.

/// Whether it is `[A-Za-z0-9._-]{1,63}`, as rules and sets are called.
pub(super) fn is_valid(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=63).contains(&name.len()) && name.bytes().all(allowed)
}

/// Whether an interface may be called so: what `dev_valid_name` of the
/// kernel's net/core/dev.c takes, without control characters.
pub(crate) fn is_valid_interface(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control())
}
