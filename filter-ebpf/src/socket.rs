//! Asks the kernel's socket table about a TCP segment.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock_tuple, xdp_md},
    helpers::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie},
};
use filter_common::{
    Socket,
    read::{Flow, Tcp},
};

/// Socket states (include/net/tcp_states.h) that are no connection.
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;
/// One that lacks the last segment of its handshake.
const TCP_NEW_SYN_RECV: u32 = 12;

/// Words of the tuples in `union bpf_sock_tuple` (include/uapi/linux/bpf.h):
/// addresses, then both ports in one word.
const TUPLE_IPV4: usize = 3;
const TUPLE_IPV6: usize = 9;

/// What holds the segment's addresses and ports, in the network namespace of
/// the interface that it came in on.
#[inline(always)]
pub fn lookup(context: *mut xdp_md, flow: &Flow, answer: Option<&Tcp>) -> Socket {
    let (source, destination) = (&flow.source.0, &flow.destination.0);
    let is_ipv4 = flow.source.is_ipv4();
    let ports = ports_word(flow);
    let mut tuple = [0_u32; TUPLE_IPV6];
    let words = if is_ipv4 {
        tuple[0] = source[3];
        tuple[1] = destination[3];
        tuple[2] = ports;
        TUPLE_IPV4
    } else {
        [tuple[0], tuple[1], tuple[2], tuple[3]] = *source;
        [tuple[4], tuple[5], tuple[6], tuple[7]] = *destination;
        tuple[8] = ports;
        TUPLE_IPV6
    };
    // SAFETY: the context is the program's own argument, the tuple is as long
    // as told, and whatever is found is released below on every path.
    let socket = unsafe {
        bpf_skc_lookup_tcp(
            context.cast(),
            tuple.as_mut_ptr().cast::<bpf_sock_tuple>(),
            (words * size_of::<u32>()) as u32,
            BPF_F_CURRENT_NETNS as i64 as u64,
            0,
        )
    };
    if socket.is_null() {
        return Socket::None;
    }
    // SAFETY: not null, and held until it is released.
    let found = match unsafe { (*socket).state } {
        TCP_LISTEN => match answer {
            Some(tcp) if is_cookie(socket.cast(), flow, ports, tcp) => Socket::Cookie,
            _ => Socket::None,
        },
        TCP_CLOSE => Socket::None,
        TCP_NEW_SYN_RECV => Socket::HalfOpen,
        _ => Socket::Live,
    };
    // SAFETY: it was acquired above and is not used again.
    unsafe { bpf_sk_release(socket.cast()) };
    found
}

/// Both ports as they stand in a TCP header.
#[inline(always)]
fn ports_word(flow: &Flow) -> u32 {
    let [a, b] = flow.source_port.to_be_bytes();
    let [c, d] = flow.destination_port.to_be_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// Whether the segment brings back a SYN cookie that the listener gave out.
/// The kernel wants headers; it reads of them what stands in these.
#[inline(always)]
fn is_cookie(listener: *mut c_void, flow: &Flow, ports: u32, tcp: &Tcp) -> bool {
    /// Words of an IPv4 and of an IPv6 header, of a TCP header.
    const IPV4: usize = 5;
    const IPV6: usize = 10;
    const TCP: usize = 5;

    let (source, destination) = (&flow.source.0, &flow.destination.0);
    let mut ip = [0_u32; IPV6];
    let words = if flow.source.is_ipv4() {
        ip[0] = 0x4500_0000_u32.to_be();
        ip[3] = source[3];
        ip[4] = destination[3];
        IPV4
    } else {
        ip[0] = 0x6000_0000_u32.to_be();
        [ip[2], ip[3], ip[4], ip[5]] = *source;
        [ip[6], ip[7], ip[8], ip[9]] = *destination;
        IPV6
    };
    let flags = 0x5000_0000 | (tcp.flags as u32) << 16;
    let mut header: [u32; TCP] = [ports, tcp.sequence, tcp.acknowledgement, flags.to_be(), 0];
    // SAFETY: the listener is held by the caller; both headers are as long as told.
    let answer = unsafe {
        bpf_tcp_check_syncookie(
            listener,
            ip.as_mut_ptr().cast(),
            (words * size_of::<u32>()) as u32,
            header.as_mut_ptr().cast(),
            (TCP * size_of::<u32>()) as u32,
        )
    };
    answer == 0
}
