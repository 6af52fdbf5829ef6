//! The real `nodewall` in a sandbox with real sockets: what the `e2e` tests
//! share.
//!
//! `NODEWALL_BIN` names the binary; without it, it is the one that `cargo build
//! -p filter-user` leaves beside the test executables. `NODEWALL_VM=1` tells of
//! a virtual machine without help from its processor, where all takes longer.

mod attacker;
mod client;
mod container;
mod guarded;
mod json;
mod known;
mod leak;
mod metrics;
mod slots;
mod stack;
mod transfer;

use std::{
    env,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

pub use attacker::{Attacker, Random};
pub use client::{closed, echoes, is_cut, open, refused, source};
pub use container::Contained;
pub use guarded::{Guarded, ctl, expect_code, fails_to_start, instance, rule_for};
pub use json::{Rules, Status};
pub use known::known_sources;
pub use leak::{Leak, Leaked};
pub use metrics::{Http, METRICS, Metrics, ask, http, scrape};
pub use slots::{at_most, held, holds};
pub use stack::Stack;
pub use transfer::Transfer;

/// Whether this is a virtual machine that is much slower than others.
#[must_use]
pub fn in_vm() -> bool {
    env::var_os("NODEWALL_VM").is_some_and(|value| !value.is_empty())
}

/// Of so many, as many as this machine carries: all, or a tenth where it is much
/// slower.
#[must_use]
pub fn scaled<N: From<u8> + std::ops::Div<Output = N>>(number: N) -> N {
    number / N::from(if in_vm() { 10 } else { 1 })
}

/// For what happens at once where nothing is wrong; only failures take so long.
#[must_use]
pub fn soon() -> Duration {
    Duration::from_secs(if in_vm() { 60 } else { 10 })
}

/// How long nothing has to come before a test believes that nothing will. Less
/// than the second after which the kernel sends a SYN again.
#[must_use]
pub fn silence() -> Duration {
    Duration::from_millis(if in_vm() { 900 } else { 300 })
}

/// The binary under test.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn nodewall() -> PathBuf {
    if let Some(path) = env::var_os("NODEWALL_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "NODEWALL_BIN names {}, which is no file", path.display());
        return path;
    }
    let test = env::current_exe().expect("the path of this test");
    // target/PROFILE/deps/TEST
    let beside = test.parent().and_then(|deps| deps.parent()).map(|dir| dir.join("nodewall"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "there is no `nodewall` beside {}: run `cargo build -p filter-user`, or name it in NODEWALL_BIN",
            test.display()
        )
    })
}

/// Whether a sandbox can be made here. Prints why not, and lets the test end;
/// for root there is no excuse.
///
/// # Panics
/// If root cannot make one.
#[must_use]
pub fn ready() -> bool {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: network namespaces need root");
        return false;
    }
    let missing = sandbox::requirements();
    let sentences: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert!(missing.is_empty(), "root cannot make a sandbox here: {}", sentences.join(" "));
    true
}

/// Waits until something is so, at most [`soon`].
///
/// # Panics
/// If it does not come.
#[track_caller]
pub fn eventually(what: &str, so: impl FnMut() -> bool) {
    within(soon(), what, so);
}

/// Waits until something is so; returns how long that took.
///
/// # Panics
/// If it does not come in time.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}
