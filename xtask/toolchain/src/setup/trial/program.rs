//! An XDP program that passes the frames whose bytes 13 to 16 are not all zero: enough to need `core` and the linker.
#![no_std]
#![no_main]

use core::ptr;

#[repr(C)]
pub struct Context {
    data: u32,
    data_end: u32,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn program(context: *const Context) -> u32 {
    // SAFETY: the kernel hands in its own context.
    let (start, end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
    if start + 17 > end {
        return 1;
    }
    // SAFETY: the bytes lie within the packet, by the comparison above.
    let word: u32 = unsafe { ptr::read_unaligned((start + 13) as *const u32) };
    if word.checked_ilog2().is_some() { 2 } else { 1 }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
