//! The daemon's log: the journal's entries, or lines on standard error; and the
//! lines of the program in the kernel.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use aya_log::EbpfLogger;
use tracing::{Level, debug, warn};
use tracing_subscriber::{
    EnvFilter, filter::Directive, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use super::events;
use crate::dataplane::{DataPlane, KernelLog};

/// What `RUST_LOG` calls the program's own log.
const KERNEL: &str = "nodewall::kernel";
/// Between looks at the ring in which the program logs: waiting for it takes
/// unsafe code, and this is for bringing the program up.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Writes as much of the log as `RUST_LOG` says (default: `info`): to the
/// journal, with fields, where standard error leads there; else to standard
/// error, without the drops, which `nodewall log` shows.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let journal = if leads_to_journal() { tracing_journald::layer().ok() } else { None };
    // Only a second call fails, and then there is a log already.
    let _ = match journal {
        Some(journal) => {
            let journal = journal
                .with_syslog_identifier("nodewall".to_owned())
                .with_field_prefix(Some("NODEWALL".to_owned()));
            tracing_subscriber::registry().with(filter).with(journal).try_init()
        }
        None => {
            let log = tracing_subscriber::fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal())
                .with_target(false);
            let filter = match format!("{}=off", events::TARGET).parse::<Directive>() {
                Ok(no_drops) => filter.add_directive(no_drops),
                Err(_) => filter,
            };
            tracing_subscriber::registry().with(filter).with(log).try_init()
        }
    };
}

/// Whether standard error is the stream to the journal that systemd opened:
/// `JOURNAL_STREAM` names its device and inode (systemd.exec(5)), and is handed
/// down to children whose standard error is another.
fn leads_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let file = nix::sys::stat::fstat(io::stderr());
    file.is_ok_and(|file| stream == format!("{}:{}", file.st_dev, file.st_ino))
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
