//! Which network namespace the daemon is in.

use std::{fs, path::Path};

/// A setting that only the first network namespace of a machine has
/// (net/core/sysctl_net_core.c: `net_core_table`).
const ONLY_IN_FIRST: &str = "/proc/sys/net/core/netdev_max_backlog";

/// Whether it is the machine's own: that of process 1. Where nothing can be
/// told it is taken to be, for the question is whether a mistake would cut
/// the machine off.
pub(super) fn is_machines_own() -> bool {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    match (of("self"), of("1")) {
        (Some(own), Some(first)) => own == first,
        // Process 1 may be more privileged than this one, and hides it then.
        _ => !Path::new("/proc/sys/net/core").exists() || Path::new(ONLY_IN_FIRST).exists(),
    }
}
