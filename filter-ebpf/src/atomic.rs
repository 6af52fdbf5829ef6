//! 64-bit atomics that the BPF target has instructions but no Rust type for
//! (kernel 5.12, Documentation/bpf/standardization/instruction-set.rst).

use core::{arch::asm, ptr};

use filter_common::{Cell, tables::probe::READ_ONLY};

use crate::globals;

/// A word in a map value, which other CPUs change too.
#[derive(Clone, Copy)]
pub struct MapWord(*mut u64);

impl MapWord {
    /// # Safety
    ///
    /// `word` points into a map value that lives as long as the program
    /// runs: the kernel frees it only after an RCU grace period.
    #[inline(always)]
    pub unsafe fn new(word: *mut u64) -> Self {
        Self(word)
    }

    /// Adds to it.
    #[inline(always)]
    pub fn add(&self, amount: u64) {
        self.subtract(amount.wrapping_neg());
    }
}

impl Cell for MapWord {
    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: valid by `new`; an aligned word is read in one piece.
        unsafe { ptr::read_volatile(self.0) }
    }

    #[inline(always)]
    fn compare_exchange(&self, old: u64, new: u64) -> u64 {
        if globals::probe(READ_ONLY) {
            // As if it had been swapped: nobody else does.
            return self.load();
        }
        let seen: u64;
        // SAFETY: valid by `new`; the instruction touches that word and r0.
        unsafe {
            asm!(
                "r0 = cmpxchg_64({word} + 0, r0, {new})",
                word = in(reg) self.0,
                new = in(reg) new,
                inout("r0") old => seen,
                options(nostack),
            );
        }
        seen
    }

    #[inline(always)]
    fn subtract(&self, amount: u64) {
        if globals::probe(READ_ONLY) {
            return;
        }
        // SAFETY: valid by `new`; the instruction touches that word alone.
        unsafe {
            asm!(
                "lock *(u64 *)({word} + 0) += {amount}",
                word = in(reg) self.0,
                amount = in(reg) amount.wrapping_neg(),
                options(nostack),
            );
        }
    }
}
