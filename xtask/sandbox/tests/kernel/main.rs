//! Sandboxes on the kernel that runs the tests. As root all of it runs; other
//! users are told what is missing.

mod daemon;
mod frames;
mod links;
mod namespaces;
mod sockets;

use std::time::{Duration, Instant};

/// Long enough for an emulated machine; only failures take so long.
const SOON: Duration = Duration::from_secs(10);
/// How long nothing has to happen before a test believes that it will not.
const NEVER: Duration = Duration::from_millis(300);

/// Whether a sandbox can be made here. Says why not, and lets the test end; for
/// root there is no excuse.
fn ready() -> bool {
    let missing = sandbox::requirements();
    let sentences: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert!(
        missing.is_empty() || !nix::unistd::geteuid().is_root(),
        "root cannot make a sandbox here: {}",
        sentences.join(" ")
    );
    for sentence in &sentences {
        eprintln!("not run: {sentence}");
    }
    missing.is_empty()
}

/// Waits until something is so.
fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < until, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
