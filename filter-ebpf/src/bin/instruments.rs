//! What the benchmark and the tests need in the kernel beside the filter: the
//! bare programs that it is measured against, and a source of packets.
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_SOCK_OPS_STATE_CB, xdp_action},
    btf_maps::Array,
    helpers::{bpf_get_prandom_u32, bpf_sock_ops_cb_flags_set},
    macros::{btf_map, sock_ops, xdp},
    programs::{SockOpsContext, XdpContext},
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

/// Clears the flags by which programs hear of a socket's changes of state,
/// those of others too.
#[sock_ops]
pub fn forgetful(context: SockOpsContext) -> u32 {
    if context.op() == BPF_SOCK_OPS_STATE_CB {
        // SAFETY: the program's own context.
        unsafe { bpf_sock_ops_cb_flags_set(context.ops, 0) };
    }
    1
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

/// Ethertypes as a frame of this machine's order of bytes shows them.
const IPV4: u16 = 0x0800_u16.to_be();
const VLAN: u16 = 0x8100_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();

/// Of every tagged frame.
const VLAN_ID: u16 = 5_u16.to_be();

const TYPE: usize = 12;
/// Where the network header stands, without a VLAN tag.
const NETWORK: usize = 14;
const TAG: usize = 4;

/// Offsets from an IPv4 header of 20 bytes.
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const PORT: usize = 20;
/// Of the TCP checksum; UDP's is left at 0, which means none.
const TCP_CHECKSUM: usize = 20 + 16;
const LONGEST: usize = 20 + 20;

/// From an IPv6 header: the halves of the source that are drawn, and those that
/// make up for it in every checksum.
const DRAWN: [usize; 2] = [8 + 2, 8 + 4];
const BALANCE: [usize; 2] = [8 + 10, 8 + 12];

/// Sends the frame it is run on back out of its interface, from a source
/// drawn from the list or the network and, in IPv4, a random port. Checksums stay
/// right, or the stacks that it is sent to would throw it away before they are
/// measured. Of IPv6 sources there are as many as the list is long, in networks
/// of their own.
#[xdp]
pub fn generate(context: XdpContext) -> u32 {
    let (start, end) = (context.data(), context.data_end());
    if start + NETWORK + TAG + LONGEST > end {
        return xdp_action::XDP_ABORTED;
    }
    let Some(count) = SOURCE_COUNT.get(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: the helper only draws a number.
    let random = unsafe { bpf_get_prandom_u32() };
    let place = random & count.wrapping_sub(1);
    let Some([network, hosts]) = SOURCE_NETWORK.get(0).copied() else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: all of it lies before `end`; halves are aligned, as frames are.
    let mut kind = unsafe { half(start + TYPE) };
    // SAFETY: as above.
    if !matches!(kind, IPV4 | VLAN | IPV6) && unsafe { half(start + TYPE + TAG) } == IPV4 {
        // SAFETY: as above.
        unsafe { tag(start) };
        kind = VLAN;
    }
    if kind == IPV6 {
        // SAFETY: as above.
        unsafe { draw_ipv6(start + NETWORK, place) };
        return xdp_action::XDP_TX;
    }
    let source = if hosts == 0 {
        let Some(listed) = SOURCE_LIST.get(place) else {
            return xdp_action::XDP_ABORTED;
        };
        *listed
    } else {
        // SAFETY: as above.
        network | unsafe { bpf_get_prandom_u32() } & hosts
    };
    let port = (random >> 16) as u16 | 1;
    // SAFETY: as above.
    unsafe {
        match kind {
            IPV4 => draw_ipv4(start + NETWORK, source, port),
            VLAN => draw_ipv4(start + NETWORK + TAG, source, port),
            _ => return xdp_action::XDP_ABORTED,
        }
    }
    xdp_action::XDP_TX
}

/// A stack takes a tag off by moving the addresses over it, in the very memory in
/// which the next frame is sent. Moves them back.
///
/// # Safety
///
/// An Ethernet header with a tag stood at `at`.
#[inline(always)]
unsafe fn tag(at: usize) {
    for place in (0..TYPE).step_by(2) {
        // SAFETY: the caller's.
        unsafe { ptr::write((at + place) as *mut u16, half(at + place + TAG)) };
    }
    // SAFETY: as above.
    unsafe {
        ptr::write((at + TYPE) as *mut u16, VLAN);
        ptr::write((at + TYPE + 2) as *mut u16, VLAN_ID);
    }
}

/// # Safety
///
/// An IPv4 header of 20 bytes and as many after it stand at `at`.
#[inline(always)]
unsafe fn draw_ipv4(at: usize, source: u32, port: u16) {
    // SAFETY: the caller's.
    unsafe {
        let old_source = [half(at + SOURCE), half(at + SOURCE + 2)];
        let new_source = [source as u16, (source >> 16) as u16];
        let address = new_source[0] as u32
            + new_source[1] as u32
            + (!old_source[0]) as u32
            + (!old_source[1]) as u32;
        let ports = port as u32 + (!half(at + PORT)) as u32;
        adjust(at + CHECKSUM, address);
        adjust(at + TCP_CHECKSUM, address + ports);
        ptr::write((at + SOURCE) as *mut u16, new_source[0]);
        ptr::write((at + SOURCE + 2) as *mut u16, new_source[1]);
        ptr::write((at + PORT) as *mut u16, port);
    }
}

/// Wherever the transport's checksum stands: the sum of the address stays.
///
/// # Safety
///
/// An IPv6 header stands at `at`.
#[inline(always)]
unsafe fn draw_ipv6(at: usize, place: u32) {
    for (index, word) in [place as u16, (place >> 16) as u16].into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe {
            let (drawn, balance) = (at + DRAWN[index], at + BALANCE[index]);
            let sum = half(balance) as u32 + half(drawn) as u32 + (!word) as u32;
            ptr::write(drawn as *mut u16, word);
            ptr::write(balance as *mut u16, fold(sum));
        }
    }
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
        let sum = (!half(at)) as u32 + change;
        ptr::write(at as *mut u16, !fold(sum));
    }
}

/// A sum of halves in one's complement.
#[inline(always)]
fn fold(mut sum: u32) -> u16 {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier refuses a program that could come here.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
