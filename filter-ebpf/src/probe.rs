//! The world of a program that judges for a question, see
//! `filter_common::tables::probe`.

use core::{arch::asm, ptr::NonNull};

use filter_common::{
    FlowKey, Outcome, Socket,
    fragments::Kept,
    read::{Flow, protocol},
    tables::{INTERFACES, interfaces, probe::Probe},
};

use crate::{maps, sources::Buckets};

/// What is asked.
#[inline(always)]
pub fn question() -> Option<&'static Probe> {
    maps::PROBE.get(0)
}

/// Where the packet is said to come in, or to leave.
#[inline(always)]
pub fn arrival() -> Option<interfaces::Entry> {
    let question = question()?;
    let number = (question.interface % INTERFACES) as u16;
    Some(interfaces::Entry { index: 0, number, flags: question.flags as u16 })
}

/// Hands back what became of it.
#[inline(always)]
pub fn answer(outcome: &Outcome) {
    if let Some(probe) = maps::PROBE.get_ptr_mut(0) {
        // SAFETY: a map's value, which this program alone writes while it runs.
        unsafe { (*probe).outcome = Kept::new(outcome).0 };
    }
}

/// Hands back which flow the tables were asked for that may not be looked at
/// without leaving a trace: the entries of an LRU table know that they were used.
#[inline(always)]
pub fn ask(key: &FlowKey) {
    if let Some(probe) = maps::PROBE.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe { (*probe).asked = *key };
    }
}

/// The buckets of a source that has none.
#[inline(always)]
pub fn idle() -> Option<Buckets> {
    let mut probe = maps::PROBE.get_ptr_mut(0)?;
    // SAFETY: the instruction changes nothing; but the compiler must take it
    // that it may, and so adds to the address only when that is no null: Linux
    // 6.1 refuses the program else.
    unsafe {
        asm!("{probe} = {probe}", probe = inout(reg) probe, options(nostack, preserves_flags));
    }
    // SAFETY: in a map's value.
    Some(unsafe { Buckets::new(NonNull::new_unchecked(&raw mut (*probe).idle)) })
}

/// The socket that it was told of, as its number. `answers`: the segment may
/// bring back a SYN cookie.
#[inline(always)]
pub fn socket(flow: &Flow, answers: bool) -> u32 {
    // SAFETY: the value is an aligned word, copied at once.
    let told = unsafe { maps::TOLD.get(FlowKey::received(flow, protocol::TCP)) };
    match told.map_or(Socket::None, |number| Socket::of_number(*number)) {
        Socket::Cookie if !answers => Socket::None as u32,
        socket => socket as u32,
    }
}
