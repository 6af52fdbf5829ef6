//! The bytes of a received frame.

use core::{arch::asm, cell::Cell, mem::MaybeUninit, ptr};

use aya_ebpf::{
    EbpfContext as _, bindings::xdp_md, helpers::bpf_xdp_get_buff_len, programs::XdpContext,
};
use filter_common::Packet;
use zerocopy::FromBytes;

use crate::scratch;

/// No chain of headers that is followed reaches further (six extension
/// headers of at most 2,048 bytes); the verifier wants a bound.
const OFFSET_MAX: usize = 0x3fff;

/// A first buffer so short holds a frame whole, or the headers of one that its
/// driver splits: then the IP header tells of more. Asking the kernel costs a
/// call, which a flood of small frames would pay for each.
const SHORT: usize = 256;

/// A received frame. Of a frame in several buffers, the first one can be
/// read; drivers keep the headers there.
pub struct XdpPacket {
    start: usize,
    end: usize,
    /// What is known of it: the first buffer, or all.
    length: Cell<u32>,
    context: *mut xdp_md,
    /// A word of this CPU's own, see [`forget`](Packet::forget).
    word: *mut u64,
}

impl XdpPacket {
    /// The frame that the program was called for. `word`: a place in a map's
    /// value that is this CPU's own.
    #[inline(always)]
    pub fn new(context: &XdpContext, word: *mut u64) -> Self {
        let (start, end) = (context.data(), context.data_end());
        let context = context.as_ptr().cast();
        let length = if end - start < SHORT { (end - start) as u32 } else { whole(context) };
        Self { start, end, length: Cell::new(length), context, word }
    }

    /// The same frame, of whose bytes the verifier knows nothing yet.
    #[inline(always)]
    pub fn again(&self, context: &XdpContext) -> Self {
        let length = self.length.clone();
        Self { start: context.data(), end: context.data_end(), length, ..*self }
    }
}

impl Packet for XdpPacket {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.length.get()
    }

    #[inline(always)]
    fn reaches(&self, end: usize) -> bool {
        if end <= self.length.get() as usize {
            return true;
        }
        self.length.set(whole(self.context));
        end <= self.length.get() as usize
    }

    #[inline(always)]
    fn load<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        if offset > OFFSET_MAX {
            return None;
        }
        let mut offset = offset;
        // SAFETY: it changes nothing in an offset within the bound. Linux 6.1
        // wants to see a bound on the very register that it adds, and the
        // compiler may have checked a copy of it.
        unsafe {
            asm!(
                "{offset} &= {bound}",
                offset = inout(reg) offset,
                bound = const OFFSET_MAX,
                options(pure, nomem, nostack),
            );
        }
        let from = self.start + offset;
        if from + size_of::<T>() > self.end {
            return None;
        }
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the bytes lie between the frame's start and its end, which
        // the verifier proves anew; any bytes make a `T` (`FromBytes`).
        Some(unsafe {
            copy(from, value.as_mut_ptr().cast(), size_of::<T>());
            value.assume_init()
        })
    }

    #[inline(always)]
    fn forget(&self, number: usize) -> usize {
        // SAFETY: this CPU's own word, by `new`.
        unsafe { scratch::forget(self.word, number) }
    }
}

/// The length of a frame over all its buffers.
#[inline(always)]
fn whole(context: *mut xdp_md) -> u32 {
    // SAFETY: the context is the program's own argument.
    unsafe { bpf_xdp_get_buff_len(context) as u32 }
}

/// Copies a header in as few loads as there are: the compiler would load it
/// byte by byte, because headers are not aligned in a frame, while the
/// instructions do not mind (the verifier checks that the CPU does not).
///
/// # Safety
///
/// `length` bytes can be read at `from` and written at `to`.
#[inline(always)]
unsafe fn copy(from: usize, to: *mut u8, length: usize) {
    macro_rules! step {
        ($done:expr, $type:ty, $instruction:literal) => {{
            let value: u64;
            // SAFETY: the caller's; the instruction reads those bytes alone.
            unsafe {
                asm!(
                    concat!("{value} = *(", $instruction, " *)({from} + 0)"),
                    value = out(reg) value,
                    from = in(reg) from + $done,
                    options(pure, readonly, nostack, preserves_flags),
                );
                ptr::write_unaligned(to.add($done).cast::<$type>(), value as $type);
            }
        }};
    }
    let mut done = 0;
    while done + 4 <= length {
        step!(done, u32, "u32");
        done += 4;
    }
    if done + 2 <= length {
        step!(done, u16, "u16");
        done += 2;
    }
    if done < length {
        step!(done, u8, "u8");
    }
}
