//! Addresses that every table uses.

/// A source that no policy names unless it says so.
pub const PEER: &str = "203.0.113.9";
/// The same in IPv6.
pub const PEER6: &str = "2001:db8:9::9";
/// Whom packets are for.
pub const HOST: &str = "198.51.100.1";
/// The same in IPv6.
pub const HOST6: &str = "2001:db8:1::1";
