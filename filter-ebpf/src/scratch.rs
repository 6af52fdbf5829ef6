//! Makes the verifier forget how a packet was read.
//!
//! It follows every path through the program and remembers what each has
//! shown. Reading alone has hundreds of paths (tags, options, extension
//! headers); what comes after would be verified for each of them: more than
//! a million instructions, measured. What went through a map's value is
//! unknown to it, so all paths are one from there on.

use core::arch::asm;

use filter_common::{read::Parsed, tables::InterfaceBlock};

/// The scratch of an interface's block: this CPU's own, and the packets of one
/// CPU come one after the other.
#[repr(C)]
struct Scratch {
    word: u64,
    parsed: Parsed,
}

const _: () =
    assert!(size_of::<Scratch>() <= size_of::<[u64; filter_common::tables::SCRATCH_WORDS]>());

/// A word of this CPU's own, see `Packet::forget`.
///
/// # Safety
///
/// `block` points to a value of the map `BLOCKS`.
#[inline(always)]
pub unsafe fn word(block: *mut InterfaceBlock) -> *mut u64 {
    // SAFETY: the caller's.
    unsafe { &raw mut (*block).scratch }.cast()
}

/// Keeps what was read, and gives it back.
///
/// # Safety
///
/// As [`word`].
#[inline(always)]
pub unsafe fn keep(block: *mut InterfaceBlock, parsed: Parsed) -> &'static Parsed {
    // SAFETY: it fits, and the place is this CPU's own. The instruction changes
    // nothing, but the compiler must take it that it may have changed the
    // memory: it stores what was read, and loads it anew.
    unsafe {
        let mut place = &raw mut (*word(block).cast::<Scratch>()).parsed;
        *place = parsed;
        asm!("{place} = {place}", place = inout(reg) place, options(nostack, preserves_flags));
        &*place
    }
}
