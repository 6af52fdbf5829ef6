//! What the loader settles once: constants to the verifier.

use core::ptr;

use filter_common::{Seed, tables::Fragments};

#[unsafe(no_mangle)]
static SEED: Seed = [0; 2];
/// Buckets of the table `SOURCES`, less one: a power of two, less one.
#[unsafe(no_mangle)]
static SOURCES_MASK: u32 = 0;
/// Likewise of `KNOWN`.
#[unsafe(no_mangle)]
static KNOWN_MASK: u32 = 0;
/// Likewise of `BANS_IPV4`.
#[unsafe(no_mangle)]
static BANS_MASK: u32 = 0;
/// Likewise of each half of `FLOW_COUNTS`.
#[unsafe(no_mangle)]
static FLOWS_MASK: u32 = 0;
/// Buckets of the table `FRAGMENTS`.
#[unsafe(no_mangle)]
static FRAGMENT_BUCKETS: u32 = 0;

/// Whether it judges for a question: bits of `filter_common::tables::probe`.
#[unsafe(no_mangle)]
static PROBE_MODE: u32 = 0;

/// Whether that bit of the mode is set. Of a program that guards the host the
/// verifier cuts out what would follow.
#[inline(always)]
pub fn probe(bit: u32) -> bool {
    // SAFETY: a static; volatile, because the loader writes another value into it.
    unsafe { ptr::read_volatile(&raw const PROBE_MODE) & bit != 0 }
}

/// What hashes begin with.
#[inline(always)]
pub fn seed() -> Seed {
    // SAFETY: as above.
    unsafe { ptr::read_volatile(&raw const SEED) }
}

/// What of a hash chooses the bucket of `SOURCES`.
#[inline(always)]
pub fn sources_mask() -> u32 {
    // SAFETY: as above.
    unsafe { ptr::read_volatile(&raw const SOURCES_MASK) }
}

/// What of a hash chooses the bucket of `KNOWN`.
#[inline(always)]
pub fn known_mask() -> u32 {
    // SAFETY: as above.
    unsafe { ptr::read_volatile(&raw const KNOWN_MASK) }
}

/// What of a hash chooses the bucket of `BANS_IPV4`.
#[inline(always)]
pub fn bans_mask() -> u32 {
    // SAFETY: as above.
    unsafe { ptr::read_volatile(&raw const BANS_MASK) }
}

/// What of a hash chooses the bucket of `FLOW_COUNTS`.
#[inline(always)]
pub fn flows_mask() -> u32 {
    // SAFETY: as above.
    unsafe { ptr::read_volatile(&raw const FLOWS_MASK) }
}

/// Where datagrams in fragments have their entries.
#[inline(always)]
pub fn fragments() -> Fragments {
    // SAFETY: as above.
    Fragments { seed: seed(), buckets: unsafe { ptr::read_volatile(&raw const FRAGMENT_BUCKETS) } }
}
