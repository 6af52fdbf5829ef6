//! The bytes of a frame that is sent, and whose it is.

use core::{mem::MaybeUninit, ptr};

use aya_ebpf::{
    EbpfContext as _,
    bindings::__sk_buff,
    helpers::{bpf_sk_fullsock, bpf_skb_load_bytes},
    programs::TcContext,
};
use filter_common::{Origin, Packet, read::protocol};
use zerocopy::FromBytes;

use crate::scratch;

/// A frame on its way out. What is forwarded may lie in pages that the program
/// cannot point into: a helper copies the headers.
pub struct SkbPacket {
    buffer: *mut __sk_buff,
    length: u32,
    /// A word of this CPU's own, see [`forget`](Packet::forget).
    word: *mut u64,
}

impl SkbPacket {
    /// The frame that the program was called for. `word`: a place in a map's
    /// value that is this CPU's own.
    #[inline(always)]
    pub fn new(context: &TcContext, word: *mut u64) -> Self {
        Self { buffer: context.as_ptr().cast(), length: context.len(), word }
    }
}

impl Packet for SkbPacket {
    #[inline(always)]
    fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    fn load<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes the whole of the value, or fails.
        unsafe {
            let failed = bpf_skb_load_bytes(
                self.buffer.cast(),
                offset as u32,
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
            );
            if failed == 0 { Some(value.assume_init()) } else { None }
        }
    }

    #[inline(always)]
    fn forget(&self, number: usize) -> usize {
        // SAFETY: this CPU's own word, by `new`.
        unsafe { scratch::forget(self.word, number) }
    }
}

/// Where the frame comes from. `None`: it is TCP of a socket that a look-up
/// finds, and there is nothing to record of it.
#[inline(always)]
pub fn origin(context: &TcContext) -> Option<Origin> {
    let buffer: *mut __sk_buff = context.as_ptr().cast();
    // SAFETY: fields of the program's own argument and of the socket that it
    // holds; the verifier follows both.
    unsafe {
        let socket = (*buffer).__bindgen_anon_2.sk;
        if socket.is_null() {
            // A SYN+ACK with a cookie has no socket (`tcp_make_synack` in
            // net/ipv4/tcp_output.c), and comes from nowhere but here: as a
            // forwarded one it would let in whatever claims to follow it.
            let forwarded = (*buffer).ingress_ifindex != 0;
            return Some(if forwarded { Origin::Forwarded } else { Origin::Own });
        }
        if ptr::read_volatile(&raw const (*socket).bound_dev_if) != 0 {
            return Some(Origin::Bound);
        }
        let whole = bpf_sk_fullsock(socket);
        if !whole.is_null()
            && ptr::read_volatile(&raw const (*whole).protocol) == protocol::TCP as u32
        {
            return None;
        }
    }
    Some(Origin::Own)
}
