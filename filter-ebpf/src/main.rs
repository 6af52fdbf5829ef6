//! The kernel side of nodewall: the XDP program, which judges what is received,
//! and the classifier, which records what is sent. Both are the code of
//! `filter-common`, over packets and BPF maps.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod apart;
mod atomic;
mod clock;
mod control;
mod egress;
mod events;
mod flow_log;
mod flows;
mod globals;
mod inner;
mod maps;
mod packet;
mod probe;
mod scratch;
mod slots;
mod socket;
mod sources;
mod state;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, sock_ops, xdp},
    programs::{SockOpsContext, TcContext, XdpContext},
};
use aya_log_ebpf::debug;
use filter_common::{
    Packet as _, Reason, Verdict, egress::record, judge_parsed, judge_unread, read,
    tables::probe::ON,
};

use crate::{egress::SkbPacket, packet::XdpPacket, state::XdpState};

/// Judges one received frame and counts it.
// Into what the macro wraps around it: the call would cost every packet.
#[xdp(frags)]
#[inline(always)]
pub fn nodewall(context: XdpContext) -> u32 {
    let interface = context.ingress_ifindex() as u32;
    let Some(state) = XdpState::new(context.as_ptr(), interface) else {
        // It looks up a fixed place in an array, which is always found.
        return xdp_action::XDP_DROP;
    };
    if cfg!(feature = "until_state") {
        return xdp_action::XDP_DROP + (state.raw_ip() as u32);
    }
    // SAFETY: a value of the map.
    let packet = XdpPacket::new(&context, unsafe { scratch::word(state.block()) });
    // SAFETY: a value of the map.
    let parsed = unsafe { scratch::parsed(state.block()) };
    let outcome = match read::packet(&packet, state.raw_ip(), parsed) {
        Reason::Rule => {
            let parsed = scratch::settled(parsed);
            if cfg!(feature = "until_read") {
                return xdp_action::XDP_DROP;
            }
            let outcome = judge_parsed(&packet.again(&context), parsed, &state);
            if !cfg!(feature = "until_count") {
                flow_log::count(&state, parsed, &outcome, packet.length());
            }
            outcome
        }
        reason => judge_unread(reason, &state),
    };
    if !cfg!(feature = "until_verdict") {
        state.count(&outcome, packet.length());
    }
    if !cfg!(feature = "until_flow_log") {
        events::tell(&state, &outcome, packet.length());
    }
    if globals::probe(ON) {
        probe::answer(&outcome);
    }
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

/// Records one frame that is sent, and lets whatever else is on the hook run.
#[classifier]
pub fn nodewall_egress(context: TcContext) -> i32 {
    let Some(origin) = egress::origin(&context) else {
        return TC_ACT_UNSPEC;
    };
    // SAFETY: a field of the program's own argument.
    let interface = unsafe { (*context.skb.skb).ifindex };
    if let Some(state) = XdpState::new(context.as_ptr(), interface) {
        // SAFETY: a value of the map.
        let packet = SkbPacket::new(&context, unsafe { scratch::word(state.block()) });
        // SAFETY: a value of the map. Frames are sent with softirqs off, so
        // that none is received on this CPU meanwhile.
        let parsed = unsafe { scratch::parsed(state.block()) };
        if matches!(read::packet(&packet, state.raw_ip(), parsed), Reason::Rule) {
            record(&state, scratch::settled(parsed), origin);
        }
    }
    TC_ACT_UNSPEC
}

/// Follows TCP connections from their handshake to their end. Whatever it is
/// told of, it lets be: 1 is the answer that changes nothing.
#[sock_ops]
pub fn nodewall_slots(context: SockOpsContext) -> u32 {
    slots::follow(context.ops);
    1
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier refuses a program that could come here.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
