//! Doors for the fuzzers: readers of what comes from outside, which are nobody
//! else's business. No promise is made of them.

use std::collections::BTreeSet;

pub use crate::daemon::server::{Line, Lines};
pub use crate::state::bans::record::{Read, decode, encode};
use crate::{
    control::{Command, Failure},
    daemon::{
        remembered,
        server::{self, Access},
    },
};

/// What the daemon makes of one line of the control socket, from somebody who
/// may change something or only look.
///
/// # Errors
///
/// What it answers.
pub fn request(line: &[u8], may_change: bool) -> Result<Command, Failure> {
    server::parse_for(line, if may_change { Access::Change } else { Access::Read })
}

/// The line that it answers a request with that failed.
#[must_use]
pub fn answer(failure: Failure) -> String {
    server::failed(failure)
}

/// The interfaces that the file of those remembered names.
#[must_use]
pub fn interfaces(bytes: &[u8]) -> BTreeSet<String> {
    remembered::parse(&String::from_utf8_lossy(bytes))
}
