//! The bytes of a received frame.

use core::{arch::asm, mem::MaybeUninit, ptr};

use aya_ebpf::{EbpfContext as _, helpers::bpf_xdp_get_buff_len, programs::XdpContext};
use filter_common::Packet;
use zerocopy::FromBytes;

/// No chain of headers that is followed reaches further (six extension
/// headers of at most 2,048 bytes); the verifier wants a bound.
const OFFSET_MAX: usize = 0x3fff;

/// A received frame. Of a frame in several buffers, the first one can be
/// read; drivers keep the headers there.
pub struct XdpPacket {
    start: usize,
    end: usize,
    length: u32,
    /// A word of this CPU's own, see [`forget`](Packet::forget).
    word: *mut u64,
}

impl XdpPacket {
    /// The frame that the program was called for. `word`: a place in a map's
    /// value that is this CPU's own.
    #[inline(always)]
    pub fn new(context: &XdpContext, word: *mut u64) -> Self {
        Self {
            start: context.data(),
            end: context.data_end(),
            // SAFETY: the context is the program's own argument.
            length: unsafe { bpf_xdp_get_buff_len(context.as_ptr().cast()) } as u32,
            word,
        }
    }

    /// The same frame, of whose bytes the verifier knows nothing yet.
    #[inline(always)]
    pub fn again(&self, context: &XdpContext) -> Self {
        Self { start: context.data(), end: context.data_end(), ..*self }
    }
}

impl Packet for XdpPacket {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    fn load<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        if offset > OFFSET_MAX {
            return None;
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
        unsafe {
            ptr::write_volatile(self.word, number as u64);
            ptr::read_volatile(self.word) as usize
        }
    }
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
