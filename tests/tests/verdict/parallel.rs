//! Limits are exact however many processors charge one bucket at once.

use std::{sync::Barrier, thread};

use filter_common::{Reason, Scope};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use nodewall_tests::{
    e2e::scaled,
    verdict::{Counts, Kernel, Place, with_kernel},
};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

/// Threads for each processor.
const EACH: usize = 2;
/// Frames that each thread sends at a time.
const AT_ONCE: u32 = 500;
const TIMES: u32 = 40;

/// The processors that this test may run on.
fn processors() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

/// Has every processor send `frames` at once, and tells what was counted.
fn flood(kernel: &mut Kernel, frames: &[Vec<u8>]) -> (Counts, u64) {
    let _before = kernel.added();
    let processors = processors();
    let threads = processors.len() * EACH;
    let programs: Vec<_> = (0..threads).map(|_| kernel.another_program()).collect();
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        for (program, cpu) in programs.iter().zip(processors.iter().cycle()) {
            let start = &start;
            scope.spawn(move || {
                let mut only = CpuSet::new();
                if only.set(*cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &only)).is_err()
                {
                    println!("processor {cpu} cannot be chosen");
                }
                start.wait();
                for _ in 0..scaled(TIMES) {
                    for frame in frames {
                        let _last = program.run(frame, None, AT_ONCE);
                    }
                }
            });
        }
    });
    let sent = threads as u64 * u64::from(scaled(TIMES) * AT_ONCE) * frames.len() as u64;
    (kernel.added(), sent)
}

#[test]
fn exactly_the_burst_passes() {
    let burst: u64 = scaled(5000);
    with_kernel(|kernel| {
        kernel.policy(&format!(
            "[[rule]]\nname = \"limited\"\nports = [\"tcp/22\", \"udp/22\"]\n[rule.per_source]\nnew_connections = {{ rate = \"1/m\", burst = {burst} }}\npackets = {{ rate = \"1/m\", burst = {burst} }}\n[icmp]\necho = {{ rate = \"1/m\", burst = {burst} }}\n"
        ));
        let number = kernel.interface();
        let rule = kernel.rules.get("limited").unwrap_or_default();
        let v4 = || frame().eth().ipv4(PEER, HOST);
        let v6 = || frame().eth().ipv6(PEER6, HOST6);
        let cases = [
            ("SYN", v4().tcp(4000, 22).syn().build(), Reason::ConnectionRate, Reason::Rule),
            ("UDP", v4().udp(4000, 22).build(), Reason::PacketRate, Reason::Rule),
            ("SYN, IPv6", v6().tcp(4000, 22).syn().build(), Reason::ConnectionRate, Reason::Rule),
            ("echo", v4().ping(1, 1).build(), Reason::IcmpRate, Reason::Icmp),
        ];
        for (what, frame, refusal, admission) in cases {
            let (counts, sent) = flood(kernel, std::slice::from_ref(&frame));
            let passed = counts.of_interface(number, admission);
            let refused = counts.of_interface(number, refusal);
            kernel.check(
                passed == burst && passed + refused == sent,
                format!(
                    "{what}: of {sent}, {passed} passed ({burst} should), {refused} were refused"
                ),
            );
            if admission == Reason::Rule {
                let place =
                    |reason, scope| Place::Rule { number: rule, reason, scope, monitored: false };
                let admitted = counts.packets(place(admission, None));
                let held = counts.packets(place(refusal, Some(Scope::PerSource)));
                kernel.check(
                    admitted == passed && held == refused,
                    format!("{what}: the rule counted {admitted} and {held}, its interface {passed} and {refused}"),
                );
            }
        }
    });
}

/// Two limits are paid together: what loses the second to another processor
/// gets the first back.
#[test]
fn two_limits_at_once() {
    let burst: u64 = scaled(50_000);
    with_kernel(|kernel| {
        let rule = format!(
            "[[rule]]\nname = \"two\"\nports = [\"udp/22\"]\n[rule.per_source]\npackets = {{ rate = \"1/m\", burst = {burst} }}\n"
        );
        let number = kernel.interface();
        let of = |length| frame().eth().ipv4(PEER, HOST).udp(4000, 22).pad_to(length).build();
        // Room for one frame at a time comes back again and again, and all want it.
        kernel.policy(&format!("{rule}bytes = {{ rate = \"20MB/s\", burst = 1000 }}\n"));
        let (counts, sent) = flood(kernel, &[of(1000)]);
        let long = counts.of_interface(number, Reason::Rule);
        let refused = counts.of_interface(number, Reason::ByteRate);
        kernel.check(
            long + refused == sent,
            format!("of {sent}, {long} passed, {refused} were refused for their bytes"),
        );
        kernel.policy(&rule);
        // Twice, so that one processor alone sends more than can be left.
        let (counts, _) = flood(kernel, &[of(60), of(60)]);
        let short = counts.of_interface(number, Reason::Rule);
        let left = burst.saturating_sub(long);
        // A minute brings one more.
        kernel.check(
            (left..=left + 1).contains(&short),
            format!(
                "{long} long frames passed, then {short} short ones of the {left} that were left"
            ),
        );
    });
}
