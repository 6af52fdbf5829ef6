//! Makes the verifier forget how a packet was read.
//!
//! It follows every path through the program and remembers what each has
//! shown. Reading alone has hundreds of paths (tags, options, extension
//! headers); what comes after would be verified for each of them: more than
//! a million instructions, measured. What went through a map's value is
//! unknown to it, so all paths are one from there on.

use core::{arch::asm, ptr};

use filter_common::{
    read::{Flow, Parsed, Tcp},
    tables::{InterfaceBlock, SourceKey},
};

/// The scratch of an interface's block: this CPU's own, and the packets of one
/// CPU come one after the other.
#[repr(C)]
struct Scratch {
    word: u64,
    key: SourceKey,
    question: Question,
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

/// The number, of which the verifier forgets what it knows: it knows nothing
/// of what is loaded from a map, so that what was found in one way or another
/// goes on as one.
///
/// # Safety
///
/// `word` is of [`word`].
#[inline(always)]
pub unsafe fn forget(word: *mut u64, number: usize) -> usize {
    // SAFETY: the caller's.
    unsafe {
        ptr::write_volatile(word, number as u64);
        ptr::read_volatile(word) as usize
    }
}

/// What the socket table is asked.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Question {
    pub flow: Flow,
    /// Of the segment that may bring back a SYN cookie.
    pub tcp: Tcp,
}

/// The place of a question to the socket table.
///
/// # Safety
///
/// As [`word`].
#[inline(always)]
pub unsafe fn question(block: *mut InterfaceBlock) -> *mut Question {
    // SAFETY: the caller's.
    unsafe { &raw mut (*word(block).cast::<Scratch>()).question }
}

/// The place of a key that is handed to another function.
///
/// # Safety
///
/// As [`word`].
#[inline(always)]
pub unsafe fn key(block: *mut InterfaceBlock) -> *mut SourceKey {
    // SAFETY: the caller's.
    unsafe { &raw mut (*word(block).cast::<Scratch>()).key }
}

/// What was read of the packet at hand, after it was kept.
///
/// # Safety
///
/// As [`word`].
#[inline(always)]
pub unsafe fn kept(block: *mut InterfaceBlock) -> &'static Parsed {
    // SAFETY: the caller's, and every word makes the numbers of a `Parsed`;
    // its enumerations are written by `keep` alone.
    unsafe { &(*word(block).cast::<Scratch>()).parsed }
}

/// Where what is read of the packet at hand is written.
///
/// # Safety
///
/// As [`word`]. Nothing else refers to it meanwhile.
#[inline(always)]
pub unsafe fn parsed(block: *mut InterfaceBlock) -> &'static mut Parsed {
    // SAFETY: it fits, and the place is this CPU's own. Zeroes, with which the
    // map begins, are a `Parsed`, and what is written later is one.
    unsafe { &mut (*word(block).cast::<Scratch>()).parsed }
}

/// The same, now that it is read. The instruction changes nothing, but the
/// compiler must take it that it may have changed the memory: it has stored
/// what was read, and loads it anew.
#[inline(always)]
pub fn settled(parsed: &mut Parsed) -> &Parsed {
    // SAFETY: the same place.
    unsafe {
        let mut place = parsed as *mut Parsed;
        asm!("{place} = {place}", place = inout(reg) place, options(nostack, preserves_flags));
        &*place
    }
}
