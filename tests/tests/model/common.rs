//! What every search here begins with.

use std::{env, time::SystemTime};

use nodewall_tests::model::{Case, Difference, Found, Histogram, Played, Search};

/// When a case begins on the host, in nanoseconds.
pub const START: u64 = 1 << 40;
/// Acts of a case, at most, where policies cost nothing.
pub const ACTS: usize = 100;

/// Names the seed to search from in the place of a fresh one.
const SEED: &str = "NODEWALL_MODEL_SEED";

/// Whether this is a guest of `cargo xtask vm`: its processor is emulated, and it has none of
/// the repository's files.
pub fn in_guest() -> bool {
    env::var_os("NODEWALL_VM").is_some()
}

/// Another one in each run, unless the environment names it.
pub fn fresh_seed() -> u64 {
    if let Ok(text) = env::var(SEED) {
        return text.parse().unwrap_or_else(|_| panic!("{SEED} is `{text}`, which is no number"));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs() << 20 | u64::from(now.subsec_micros())
}

/// [`Search::run`].
pub fn search(
    seed: u64,
    packets: usize,
    acts: usize,
    attempt: impl FnMut(&Case) -> Result<Played, Difference>,
) -> Result<Histogram, Box<Found>> {
    Search { seed, packets, acts }.run(attempt)
}
