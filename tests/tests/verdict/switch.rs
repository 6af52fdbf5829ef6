//! A change of the policy is one step: every packet is judged by one policy or
//! the other, never by half of each.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use filter_common::Reason;
use filter_user::dataplane::boot_time;
use nodewall_tests::{
    e2e::scaled,
    verdict::{Counts, Expected, Kernel, OBJECT_VARIABLE, mutant_object, with_kernel, with_object},
};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6};

/// Both let the frames below in, each by a rule of its own. Behind the same
/// numbers stands something else in each: port 1000 has view 1 and rule 1 in
/// the first, view 2 and rule 2 in the second; the ports of the first are
/// those of another interface group; and what one trusts the other denies, one
/// by the /24 and one by the address.
const FIRST: &str = r#"
[sources]
trusted = ["192.0.2.9", "2001:db8:9:9::/64"]
denied = ["192.0.3.0/24", "2001:db8:8::/48"]
[[rule]]
name = "first"
ports = ["tcp/1000"]
from = ["203.0.113.0/24", "2001:db8:1::/48"]
interfaces = ["lo"]
[[rule]]
name = "first-other"
ports = ["tcp/2000"]
from = ["198.18.0.0/16"]
interfaces = ["lo"]
"#;
const SECOND: &str = r#"
[sources]
trusted = ["192.0.3.0/24", "2001:db8:8::/48"]
denied = ["192.0.2.0/24", "2001:db8:9::/48"]
[[rule]]
name = "second-other"
ports = ["tcp/500"]
from = ["198.18.0.0/16"]
[[rule]]
name = "second"
ports = ["tcp/1000"]
from = ["203.0.113.0/25", "2001:db8:1::/64"]
"#;

/// The frames, and what each policy makes of them.
fn frames() -> [(Vec<u8>, Expected, Expected); 5] {
    let v4 = |source| frame().eth().ipv4(source, HOST).tcp(4000, 1000).syn().build();
    let v6 = |source| frame().eth().ipv6(source, HOST6).tcp(4000, 1000).syn().build();
    let (first, second) = (Expected::rule("first"), Expected::rule("second"));
    let (trusted, denied) = (Reason::Trusted.into(), Reason::Denied.into());
    [
        (v4("203.0.113.9"), first, second),
        (v6("2001:db8:1::9"), first, second),
        (v4("192.0.2.9"), trusted, denied),
        (v4("192.0.3.9"), denied, trusted),
        (v6("2001:db8:9:9::9"), trusted, denied),
    ]
}

/// Frames of each kind at one go.
const AT_ONCE: u32 = 2000;
const PACKETS: u64 = 1_000_000;
const SWITCHES: u64 = 200;
/// A hundred switches a second.
const PAUSE: Duration = Duration::from_millis(10);
/// As fast as it goes, to hit as many packets in their middle as there may be.
const RUSH: Duration = Duration::from_micros(200);
const RUSHED: u64 = 800;
/// How often that is tried: how many are hit is chance.
const RUSHES: u32 = 40;

/// Switches to and fro while packets are judged, so many of them at least.
/// Gives what was counted, and how many frames of each kind were sent.
fn switch_under_load(
    kernel: &mut Kernel,
    pause: Duration,
    switches: u64,
    packets: u64,
) -> (Counts, u64) {
    let (first, second) = (kernel.compile(FIRST), kernel.compile(SECOND));
    let staged = [first, second].map(|tables| {
        let staged = kernel.plane.stage(&tables).unwrap_or_else(|error| panic!("{error}"));
        kernel.plane.activate(staged.again(), None).unwrap_or_else(|error| panic!("{error}"));
        staged
    });
    let _before = kernel.added();
    let runners = thread::available_parallelism().map_or(1, usize::from).max(2) - 1;
    let programs: Vec<_> = (0..runners).map(|_| kernel.another_program()).collect();
    let (sent, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let frames = frames();
    thread::scope(|scope| {
        for program in &programs {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for (frame, ..) in &frames {
                        let _last = program.run(frame, None, AT_ONCE);
                    }
                    sent.fetch_add(u64::from(AT_ONCE), Ordering::Relaxed);
                }
            });
        }
        for turn in 0.. {
            if turn >= switches && sent.load(Ordering::Relaxed) * frames.len() as u64 >= packets {
                break;
            }
            let staged = &staged[usize::from(turn % 2 == 1)];
            if let Err(error) = kernel.plane.activate(staged.again(), None) {
                stop.store(true, Ordering::Relaxed);
                panic!("{error}");
            }
            // However slow the switch was: emulated processors take turns, and it is the end of a
            // sleep that stops the other one in the middle of a packet.
            thread::sleep(pause);
        }
        stop.store(true, Ordering::Relaxed);
    });
    (kernel.added(), sent.load(Ordering::Relaxed))
}

/// Packets that neither policy would have judged so: what was counted beyond
/// the outcomes that one of them has.
fn mixed(kernel: &Kernel, counts: &Counts, sent: u64) -> (u64, [u64; 4]) {
    let number = kernel.interface();
    let of_rule = |name| {
        let number = kernel.rules.get(name).unwrap_or_default();
        counts.packets(nodewall_tests::verdict::Place::Rule {
            number,
            reason: Reason::Rule,
            scope: None,
            monitored: false,
        })
    };
    let seen = [
        of_rule("first"),
        of_rule("second"),
        counts.of_interface(number, Reason::Trusted),
        counts.of_interface(number, Reason::Denied),
    ];
    (sent * frames().len() as u64 - seen.iter().sum::<u64>(), seen)
}

#[test]
fn no_packet_sees_half_of_each() {
    with_kernel(|kernel| {
        // Each policy by itself does what the frames say of it.
        for (policy, second) in [(FIRST, false), (SECOND, true)] {
            kernel.policy(policy);
            for (index, (frame, one, other)) in frames().iter().enumerate() {
                kernel.expect(format!("frame {index}"), frame, if second { *other } else { *one });
            }
        }
        let (counts, sent) = switch_under_load(kernel, PAUSE, SWITCHES, scaled(PACKETS));
        let (mixed, seen) = mixed(kernel, &counts, sent);
        kernel.check(
            mixed == 0,
            format!("{mixed} packets were judged by half of each policy: {counts:?}"),
        );
        kernel.check(
            seen.iter().all(|packets| *packets > 0),
            format!("both policies judged: {seen:?}"),
        );
        kernel.check(
            sent * frames().len() as u64 >= scaled(PACKETS),
            format!("{sent} of each frame were sent"),
        );
    });
}

/// A program that reads twice which generation is in force must be found out,
/// or the test above would show nothing.
#[test]
fn the_mutant_is_caught() {
    let Some(object) = mutant_object() else {
        println!("skipped: {OBJECT_VARIABLE} names no object that reads the generation twice");
        return;
    };
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        println!("skipped: one processor never switches in the middle of a packet");
        return;
    }
    with_object(&object, |kernel| {
        let is_caught = (0..RUSHES).any(|_| {
            let (counts, sent) = switch_under_load(kernel, RUSH, RUSHED, 1);
            let (mixed, seen) = mixed(kernel, &counts, sent);
            println!("the mutant judged {mixed} packets by half of each policy, {seen:?} by one");
            mixed > 0
        });
        kernel.check(is_caught, "no packet was judged by half of each policy");
    });
}

/// The kernel's own clock takes back what nobody confirms, whoever lives.
#[test]
fn what_is_not_settled_in_time_is_taken_back() {
    const PATIENCE: Duration = Duration::from_secs(2);
    with_kernel(|kernel| {
        let judges = |kernel: &mut Kernel, when: &str, by_second: bool| {
            for (index, (frame, first, second)) in frames().iter().enumerate() {
                let expected = if by_second { *second } else { *first };
                kernel.expect(format!("{when}, frame {index}"), frame, expected);
            }
        };
        kernel.policy(FIRST);
        let deadline = kernel.policy_until(SECOND, PATIENCE);
        judges(kernel, "before the deadline", true);
        thread::sleep(deadline.saturating_sub(boot_time()));
        kernel.model_policy(FIRST);
        judges(kernel, "after the deadline", false);

        let deadline = kernel.policy_until(SECOND, PATIENCE);
        kernel.plane.settle().unwrap_or_else(|error| panic!("{error}"));
        thread::sleep(deadline.saturating_sub(boot_time()));
        judges(kernel, "settled", true);
    });
}
