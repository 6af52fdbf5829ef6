//! What every packet reads without a look-up: a global of the program, which
//! the loader puts into the map `.bss` and the controller writes.

use core::ptr;

use filter_common::tables::{
    Control, GENERATIONS, Generation, events::Granted, interfaces, switch::Switch,
};

use crate::clock;

const SLOT_MASK: u32 = GENERATIONS - 1;
const _: () = assert!(GENERATIONS.is_power_of_two());

/// Exported: the compiler must not take it for the constant that no
/// instruction of this program ever changes.
#[unsafe(no_mangle)]
pub static mut CONTROL: Control = Control::new();

/// A section of its own, and so a map of its own: what writes it ten times a
/// second has nothing to do with the policy.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.events")]
pub static mut GRANTED: Granted = Granted { events: 0 };

/// How many events there may have been.
#[inline(always)]
pub fn granted() -> u64 {
    // SAFETY: a word, read in one piece.
    unsafe { ptr::read_volatile(&raw const GRANTED.events) }
}

/// Likewise, written once a second.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.flows")]
pub static mut FLOW_LOG: u64 = 0;

/// Whether, where and when flows are counted.
#[inline(always)]
pub fn flow_log() -> u64 {
    // SAFETY: a word, read in one piece.
    unsafe { ptr::read_volatile(&raw const FLOW_LOG) }
}

/// The control block.
#[inline(always)]
fn control() -> *const Control {
    &raw const CONTROL
}

/// The place of the generation in force, for all programs. A packet asks once.
#[inline(always)]
pub fn live() -> u32 {
    // SAFETY: a word of the block, read in one piece.
    let word = unsafe { ptr::read_volatile(&raw const (*control()).switch) };
    Switch(word).in_force(clock::boot) & SLOT_MASK
}

/// What a generation says.
#[inline(always)]
pub fn generation(slot: u32) -> &'static Generation {
    // SAFETY: within the block; not changed while a packet can read it.
    unsafe { &(*control()).policies[(slot & SLOT_MASK) as usize] }
}

/// The entry of an interface, by the kernel's index.
#[inline(always)]
pub fn guarded(index: u32) -> interfaces::Entry {
    let bucket = interfaces::bucket(index) as usize;
    // SAFETY: within the block; an entry is written before its interface is
    // attached and after it is detached.
    unsafe { (*control()).guarded[bucket].find(index) }
}

/// Which kinds of ban exist.
#[inline(always)]
pub fn bans() -> u32 {
    // SAFETY: a word of the block, read in one piece.
    unsafe { ptr::read_volatile(&raw const (*control()).bans) }
}

/// Whether the controller has set a flag ([`filter_common::tables::control`]).
#[inline(always)]
pub fn has(flag: u32) -> bool {
    // SAFETY: a word of the block, read in one piece.
    unsafe { ptr::read_volatile(&raw const (*control()).flags) & flag != 0 }
}

/// The cookie of the network namespace whose connections are counted.
#[inline(always)]
pub fn namespace() -> u64 {
    // SAFETY: a word of the block, read in one piece.
    unsafe { ptr::read_volatile(&raw const (*control()).namespace) }
}
