//! The clocks that a verdict goes by.

use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_ktime_get_ns};
use filter_common::tables::probe::ON;

use crate::{globals, probe};

/// Nanoseconds since boot, sleep left out.
#[inline(always)]
pub fn monotonic() -> u64 {
    if globals::probe(ON) {
        return probe::question().map_or(0, |question| question.monotonic);
    }
    // SAFETY: the helper only reads the clock.
    unsafe { bpf_ktime_get_ns() }
}

/// Nanoseconds since boot, sleep included.
#[inline(always)]
pub fn boot() -> u64 {
    if globals::probe(ON) {
        return probe::question().map_or(0, |question| question.boot);
    }
    // SAFETY: the helper only reads the clock.
    unsafe { bpf_ktime_get_boot_ns() }
}
