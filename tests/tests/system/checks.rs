//! Steps that are all taken, whatever became of those before.

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

/// What has failed so far.
#[derive(Default)]
pub struct Checks {
    taken: usize,
    failed: Vec<&'static str>,
}

impl Checks {
    /// Takes a step, and tells how it went.
    pub fn run(&mut self, what: &'static str, step: impl FnOnce()) {
        let begun = Instant::now();
        self.taken += 1;
        // A step that panics leaves a system behind that the next one looks at anyway.
        let passed = catch_unwind(AssertUnwindSafe(step)).is_ok();
        if !passed {
            self.failed.push(what);
        }
        let how = if passed { "passed" } else { "FAILED" };
        println!("CHECK {how} {what} ({:.1} s)", begun.elapsed().as_secs_f64());
        // It may be the last thing that the guest says.
        let _ = std::io::stdout().flush();
    }

    /// The verdict on all of them.
    pub fn end(self) {
        let Self { taken, failed } = self;
        assert!(failed.is_empty(), "{} of {taken} failed: {}", failed.len(), failed.join("; "));
    }
}
