//! Makes the verifier forget how a packet was read.
//!
//! It follows every path through the program and remembers what each has
//! shown. Reading alone has hundreds of paths (tags, options, extension
//! headers); what comes after would be verified for each of them: more than
//! a million instructions, measured. What went through a map's value is
//! unknown to it, so all paths are one from there on.

use core::arch::asm;

use filter_common::read::Parsed;

use crate::maps;

/// This CPU's own place; the packets of one CPU come one after the other.
#[repr(C)]
pub struct Scratch {
    /// One number, see `Packet::forget`.
    pub word: u64,
    parsed: Parsed,
}

/// The place of the CPU that runs the program.
#[inline(always)]
pub fn place() -> Option<*mut Scratch> {
    maps::SCRATCH.get_ptr_mut(0)
}

/// Keeps what was read, and gives it back.
///
/// # Safety
///
/// `place` is what [`place`] gave.
#[inline(always)]
pub unsafe fn keep(place: *mut Scratch, parsed: Parsed) -> &'static Parsed {
    // SAFETY: the place is this CPU's own. The empty assembly may have changed
    // any memory, for all that the compiler knows: it reads anew.
    unsafe {
        (*place).parsed = parsed;
        asm!("", options(nostack, preserves_flags));
        &(*place).parsed
    }
}
