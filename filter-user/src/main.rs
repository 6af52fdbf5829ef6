//! The `nodewall` command: the daemon, and the command line that talks to it.

#![forbid(unsafe_code)]

use std::{process::ExitCode, time::Instant};

fn main() -> ExitCode {
    filter_user::cli::main(Instant::now())
}
