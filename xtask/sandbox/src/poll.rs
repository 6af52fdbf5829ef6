//! Waiting for file descriptors until a point in time.

use std::{io, os::fd::BorrowedFd, time::Instant};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// Waits until one of `watched` is ready; `false` when the time is over.
pub(crate) fn wait(watched: &mut [PollFd<'_>], until: Instant) -> io::Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up: a poll of 0 ms would spin through the last one.
        let milliseconds = left.as_nanos().div_ceil(1_000_000);
        let timeout =
            i32::try_from(milliseconds).ok().and_then(|value| PollTimeout::try_from(value).ok());
        match poll(watched, timeout.unwrap_or(PollTimeout::MAX)) {
            Ok(0) if Instant::now() >= until => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits until `descriptor` can be read; `false` when the time is over.
pub(crate) fn readable(descriptor: BorrowedFd<'_>, until: Instant) -> io::Result<bool> {
    wait(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], until)
}
