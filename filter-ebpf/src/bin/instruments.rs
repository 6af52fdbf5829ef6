//! What the benchmark and the tests need in the kernel beside the filter: the
//! bare programs that it is measured against, and a source of packets.
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::{
    bindings::xdp_action,
    btf_maps::Array,
    helpers::bpf_get_prandom_u32,
    macros::{btf_map, xdp},
    programs::XdpContext,
};

/// Drops every frame: the ceiling of a set-up.
#[xdp]
pub fn bare_drop(_: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Passes every frame.
#[xdp(frags)]
pub fn bare_pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Sources that `generate` draws from, in network order.
const SOURCES: usize = 1 << 20;

#[btf_map]
static SOURCE_LIST: Array<u32, SOURCES> = Array::new();

/// How many of them there are: a power of two, at most [`SOURCES`].
#[btf_map]
static SOURCE_COUNT: Array<u32, 1> = Array::new();

/// A network and the mask of its hosts, in network order: where the mask is not
/// 0, sources are drawn from all of it instead of the list.
#[btf_map]
static SOURCE_NETWORK: Array<[u32; 2], 1> = Array::new();

/// Offsets in an Ethernet frame with an IPv4 header of 20 bytes.
const CHECKSUM: usize = 14 + 10;
const SOURCE: usize = 14 + 12;
const PORT: usize = 14 + 20;
/// Of the TCP checksum; UDP's is left at 0, which means none.
const TCP_CHECKSUM: usize = 14 + 20 + 16;
const FRAME: usize = 14 + 20 + 20;

/// Sends the frame it is run on back out of its interface, from a source
/// drawn from the list or the network and a random port. Checksums stay right, or the stacks
/// that it is sent to would throw it away before they are measured.
#[xdp]
pub fn generate(context: XdpContext) -> u32 {
    let (start, end) = (context.data(), context.data_end());
    if start + FRAME > end {
        return xdp_action::XDP_ABORTED;
    }
    let Some(count) = SOURCE_COUNT.get(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: the helper only draws a number.
    let random = unsafe { bpf_get_prandom_u32() };
    let Some([network, hosts]) = SOURCE_NETWORK.get(0).copied() else {
        return xdp_action::XDP_ABORTED;
    };
    let source = if hosts == 0 {
        let Some(listed) = SOURCE_LIST.get(random & count.wrapping_sub(1)) else {
            return xdp_action::XDP_ABORTED;
        };
        *listed
    } else {
        // SAFETY: as above.
        network | unsafe { bpf_get_prandom_u32() } & hosts
    };
    let port = (random >> 16) as u16 | 1;
    // SAFETY: all of it lies before `end`; halves are aligned, as frames are.
    unsafe {
        let old_source = [half(start + SOURCE), half(start + SOURCE + 2)];
        let new_source = [source as u16, (source >> 16) as u16];
        let address = new_source[0] as u32
            + new_source[1] as u32
            + (!old_source[0]) as u32
            + (!old_source[1]) as u32;
        let ports = port as u32 + (!half(start + PORT)) as u32;
        adjust(start + CHECKSUM, address);
        adjust(start + TCP_CHECKSUM, address + ports);
        ptr::write((start + SOURCE) as *mut u16, new_source[0]);
        ptr::write((start + SOURCE + 2) as *mut u16, new_source[1]);
        ptr::write((start + PORT) as *mut u16, port);
    }
    xdp_action::XDP_TX
}

/// # Safety
///
/// Two bytes of the frame stand at `at`.
#[inline(always)]
unsafe fn half(at: usize) -> u16 {
    // SAFETY: the caller's.
    unsafe { ptr::read(at as *const u16) }
}

/// Adds a change to an internet checksum (RFC 1624, equation 3).
///
/// # Safety
///
/// As [`half`].
#[inline(always)]
unsafe fn adjust(at: usize, change: u32) {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = (!half(at)) as u32 + change;
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        ptr::write(at as *mut u16, !(sum as u16));
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier refuses a program that could come here.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
