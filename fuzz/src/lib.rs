//! What the fuzzers call: one function for each reader of what comes from
//! outside. Each takes any bytes, and panics where something does not hold.
//!
//! `cargo xtask fuzz` runs them under libFuzzer; `tests/kept.rs` calls them on
//! stable Rust with every input of `corpus/` and `regressions/`.
//!
//! With the feature `planted` each has a bug in its way, which its checks must
//! find. The bug is in what a target hands on to, or takes back from, the code
//! under test, which itself stays as it is.

#![forbid(unsafe_code)]

mod capture;
mod control;
mod input;
mod packet;
mod policy;
mod sentence;
mod state;
mod verdict;

pub use self::{
    capture::capture, control::control, packet::packet, policy::policy, state::state,
    verdict::verdict,
};

/// A target.
pub type Target = fn(&[u8]);

/// All of them, by the names of their directories.
pub const TARGETS: [(&str, Target); 6] = [
    ("verdict", verdict),
    ("policy", policy),
    ("control", control),
    ("packet", packet),
    ("capture", capture),
    ("state", state),
];

/// Whether the bugs are in.
const PLANTED: bool = cfg!(feature = "planted");
