//! The daemon's log: lines on standard error, and those of the program in the kernel.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use aya_log::EbpfLogger;
use tracing::{Level, debug, warn};
use tracing_subscriber::EnvFilter;

use crate::dataplane::{DataPlane, KernelLog};

/// What `RUST_LOG` calls the program's own log.
const KERNEL: &str = "nodewall::kernel";
/// Between looks at the ring in which the program logs: waiting for it takes
/// unsafe code, and this is for bringing the program up.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Writes the log to standard error, as much of it as `RUST_LOG` says (default: `info`).
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // Only a second call fails, and then there is a log already.
    let _ = log.try_init();
}

/// What the program in the kernel is to log. It costs each packet something,
/// so it must be asked for by name.
pub(super) fn wanted_of_kernel() -> KernelLog {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).is_ok_and(|filter| filter.contains(KERNEL));
    if asked && tracing::enabled!(target: KERNEL, Level::DEBUG) {
        KernelLog::Drops
    } else {
        KernelLog::Off
    }
}

/// Passes on what the program logs, for as long as the runtime lives.
pub(super) fn forward_of_kernel(plane: &mut DataPlane, runtime: &tokio::runtime::Handle) {
    let mut logger = match EbpfLogger::init_with_logger(plane.ebpf(), Forward) {
        Ok(logger) => logger,
        Err(error) => {
            warn!(
                "the program in the kernel has no log to read ({error}): only counters tell what it does"
            );
            return;
        }
    };
    runtime.spawn(async move {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            logger.flush();
        }
    });
}

/// Puts the program's lines into the daemon's log under [`KERNEL`].
struct Forward;

impl log::Log for Forward {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        debug!(target: KERNEL, "{}", record.args());
    }

    fn flush(&self) {}
}
