//! The kernel side of nodewall: the XDP program. It judges with the code of
//! `filter-common`, over packet pointers and BPF maps.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod atomic;
mod control;
mod inner;
mod maps;
mod packet;
mod scratch;
mod socket;
mod state;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use aya_log_ebpf::debug;
use filter_common::{Packet as _, Verdict, judge_parsed, judge_unread, read};

use crate::{packet::XdpPacket, state::XdpState};

/// Judges one received frame and counts it.
#[xdp(frags)]
pub fn nodewall(context: XdpContext) -> u32 {
    let Some(state) = XdpState::new(&context) else {
        // It looks up a fixed place in an array, which is always found.
        return xdp_action::XDP_DROP;
    };
    // SAFETY: a value of the map.
    let packet = XdpPacket::new(&context, unsafe { scratch::word(state.block()) });
    let outcome = match read::packet(&packet, state.raw_ip()) {
        Ok(parsed) => {
            // SAFETY: a value of the map.
            let parsed = unsafe { scratch::keep(state.block(), parsed) };
            judge_parsed(&packet.again(&context), parsed, &state)
        }
        Err(reason) => judge_unread(reason, &state),
    };
    state.count(&outcome, packet.length());
    match outcome.verdict() {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Drop => {
            // For bringing it up. The level is settled at load: where it is
            // off, which is the default, the verifier cuts this out.
            debug!(&context, "drop: interface {}, reason {}", state.number(), outcome.reason as u8);
            xdp_action::XDP_DROP
        }
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
