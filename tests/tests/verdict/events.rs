//! What is told of single packets: rightly, no more than was granted, and with
//! the number of all that was not.

use std::net::IpAddr;

use filter_common::{
    Outcome, Reason, Scope, Verdict,
    fragments::Kept,
    tables::events::{Event, has},
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use nodewall_tests::verdict::{Kernel, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

/// Any number that nothing here uses up.
const PLENTY: u64 = 1 << 40;

/// Runs a frame, and takes the one event that it is to bring.
fn told(kernel: &mut Kernel, what: &str, frame: &[u8]) -> Event {
    kernel.run(frame, 1);
    let event = kernel.events.next_event();
    assert!(kernel.events.next_event().is_none(), "{what}: a second event");
    match event {
        Some(event) => event,
        None => panic!("{what}: no event"),
    }
}

fn outcome(event: &Event) -> Outcome {
    Kept(event.outcome).outcome()
}

/// The addresses of an event, unless it has none.
fn ends(event: &Event) -> Option<(IpAddr, IpAddr)> {
    (event.has & has::ADDRESSES != 0).then(|| (event.source.into(), event.destination.into()))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

const POLICY: &str = r#"
[sources]
denied = ["192.0.2.0/24", "2001:db8:dead::/48"]
[[rule]]
name = "few"
ports = ["tcp/22", "udp/22"]
[rule.per_network]
packets = { rate = "1/h", burst = 1 }
new_connections = { rate = "1/h", burst = 1 }
"#;

#[test]
fn an_event_says_who_whom_what_and_why() {
    with_kernel(|kernel| {
        pin(processors()[0]);
        kernel.policy(POLICY);
        assert_eq!(kernel.events.grant(PLENTY).map_err(|error| error.to_string()), Ok(()));
        let rule = kernel.rules.get("few").unwrap_or_default();
        let number = kernel.interface();
        for (peer, host, denied) in [(PEER, HOST, "192.0.2.7"), (PEER6, HOST6, "2001:db8:dead::1")]
        {
            let ip = |source| frame().eth().ip(source, host);
            let limited = |reason| Outcome {
                scope: Some(Scope::PerNetwork),
                ..Outcome::by_rule(reason, rule)
            };
            kernel.run(&ip(peer).tcp(4000, 22).syn().build(), 1);
            kernel.run(&ip(peer).udp(4000, 22).build(), 1);
            let by_port = has::ADDRESSES | has::PROTOCOL | has::PORTS;
            let by_segment = by_port | has::FLAGS;
            for (what, frame, source, wanted, protocol, bits) in [
                (
                    "closed",
                    ip(peer).tcp(4000, 81).syn().pad_to(99).build(),
                    peer,
                    Outcome::of(Reason::PortClosed),
                    6,
                    by_segment,
                ),
                (
                    "denied",
                    ip(denied).tcp(4001, 22).syn().build(),
                    denied,
                    Outcome::of(Reason::Denied),
                    6,
                    by_segment,
                ),
                (
                    "SYN over its rate",
                    ip(peer).tcp(4000, 22).syn().build(),
                    peer,
                    limited(Reason::ConnectionRate),
                    6,
                    by_segment,
                ),
                (
                    "UDP over its rate",
                    ip(peer).udp(4000, 22).build(),
                    peer,
                    limited(Reason::PacketRate),
                    17,
                    by_port,
                ),
                (
                    "out of state",
                    ip(peer).tcp(4000, 22).ack().build(),
                    peer,
                    Outcome::by_rule(Reason::OutOfState, rule),
                    6,
                    by_segment,
                ),
            ] {
                let event = told(kernel, what, &frame);
                assert_eq!(outcome(&event), wanted, "{what}");
                assert_eq!(ends(&event), Some((address(source), address(host))), "{what}");
                assert_eq!((event.protocol, event.has), (protocol, bits), "{what}");
                assert_eq!(event.length as usize, frame.len(), "{what}");
                assert_eq!((u32::from(event.interface), event.not_shown), (number, 0), "{what}");
                if bits & has::PORTS != 0 {
                    assert!(event.source_port.abs_diff(4000) < 2, "{what}: {event:?}");
                    assert!([22, 81].contains(&event.destination_port), "{what}: {event:?}");
                }
                let flags = match what {
                    "out of state" => 0x10,
                    _ if bits & has::FLAGS != 0 => 0x02,
                    _ => 0,
                };
                assert_eq!(event.flags, flags, "{what}");
            }
        }
        let ping = told(kernel, "echo", &frame().eth().ipv4(PEER, HOST).ping(7, 1).build());
        assert_eq!(outcome(&ping), Outcome::of(Reason::IcmpClosed));
        assert_eq!(ping.has, has::ADDRESSES | has::PROTOCOL | has::ICMP);
        assert_eq!((ping.kind, ping.code, ping.source_port), (8, 0, 0));
        let sctp = frame().eth().ipv4(PEER, HOST).protocol(132).build();
        let sctp = told(kernel, "another protocol", &sctp);
        assert_eq!(outcome(&sctp), Outcome::of(Reason::ProtocolClosed));
        assert_eq!((sctp.has, sctp.protocol), (has::ADDRESSES | has::PROTOCOL, 132));
        // A later fragment has no ports, and gets none from the packet before.
        let _before = told(kernel, "closed", &frame().eth().ipv4(PEER, HOST).udp(5, 6).build());
        let later = frame().eth().ipv4(PEER, HOST).fragment(1, 9, false).protocol(17);
        let later = told(kernel, "a later fragment", &later.payload([0; 8]).build());
        assert_eq!(outcome(&later), Outcome::of(Reason::Fragment));
        assert_eq!((later.has, later.source_port), (has::ADDRESSES | has::PROTOCOL, 0));
        assert!(later.time >= ping.time);
    });
}

#[test]
fn of_what_cannot_be_read_only_the_addresses_are_told() {
    with_kernel(|kernel| {
        kernel.policy("");
        assert!(kernel.events.grant(PLENTY).is_ok());
        // Something that was read, so that there is something to be left over.
        let before = frame().eth().ipv4("192.0.2.250", HOST).udp(5, 6).build();
        let v4 = || frame().eth().ipv4(PEER, HOST);
        let v6 = || frame().eth().vlan(3).ipv6(PEER6, HOST6);
        for (what, frame, ends_of) in [
            ("a short header", v4().header_words(3).tcp(1, 2).build(), Some((PEER, HOST))),
            ("a length that lies", v4().total_length(9).tcp(1, 2).build(), Some((PEER, HOST))),
            ("TCP that lies", v4().tcp(1, 80).data_offset(2).build(), Some((PEER, HOST))),
            ("IPv6 that lies", v6().payload_length(4000).udp(1, 2).build(), Some((PEER6, HOST6))),
            ("a wrong version", v4().version(5).tcp(1, 2).build(), None),
            (
                "three tags",
                frame().eth().vlan(1).vlan(1).vlan(1).ipv4(PEER, HOST).udp(1, 2).build(),
                None,
            ),
            ("a cut header", v4().tcp(1, 2).build()[..30].to_vec(), None),
            (
                "a mapped address",
                frame().eth().ipv6("::ffff:192.0.2.1", HOST6).udp(1, 2).build(),
                None,
            ),
        ] {
            let _before = told(kernel, "closed", &before);
            let event = told(kernel, what, &frame);
            assert_eq!(outcome(&event), Outcome::of(Reason::Malformed), "{what}");
            let wanted = ends_of.map(|(source, host)| (address(source), address(host)));
            assert_eq!(ends(&event), wanted, "{what}");
            assert_eq!(event.has & !has::ADDRESSES, 0, "{what}");
            let blank = Event {
                time: event.time,
                outcome: event.outcome,
                length: u32::try_from(frame.len()).unwrap_or_default(),
                interface: event.interface,
                source: event.source,
                destination: event.destination,
                has: event.has,
                ..Event::default()
            };
            assert_eq!(event, blank, "{what}");
            if wanted.is_none() {
                assert_eq!(event.source, Event::default().source, "{what}");
            }
        }
        kernel.loopback(true);
        let raw = frame().ipv4(PEER, HOST).header_words(3).tcp(1, 2).build();
        let event = told(kernel, "without Ethernet", &raw);
        assert_eq!(ends(&event), Some((address(PEER), address(HOST))));
    });
}

#[test]
fn monitor_mode_tells_what_would_have_dropped() {
    with_kernel(|kernel| {
        kernel.policy("mode = \"monitor\"\n");
        assert!(kernel.events.grant(PLENTY).is_ok());
        let event = told(kernel, "closed", &frame().eth().ipv4(PEER, HOST).tcp(1, 2).syn().build());
        assert_eq!(outcome(&event), Outcome::of(Reason::PortClosed).under(true));
        let event = told(
            kernel,
            "malformed",
            &frame().eth().ipv4(PEER, HOST).header_words(3).tcp(1, 2).build(),
        );
        assert_eq!(outcome(&event), Outcome::of(Reason::Malformed).under(true));
        assert_eq!(event.has, has::ADDRESSES);
        // What passes is no event.
        kernel.run(&frame().eth().ethertype(0x88cc).payload([1; 46]).build(), 1);
        kernel.run(&frame().eth().arp_request([2; 6], PEER, HOST).build(), 1);
        assert!(kernel.events.next_event().is_none());
    });
}

/// The processors that this test may run on.
fn processors() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

fn pin(cpu: usize) {
    let mut only = CpuSet::new();
    let pinned = only.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &only));
    assert_eq!(pinned, Ok(()), "processor {cpu}");
}

/// All that is in the ring: how many, and how many they say were not shown.
fn drain(kernel: &mut Kernel) -> (u64, u64) {
    let (mut shown, mut not_shown) = (0, 0);
    while let Some(event) = kernel.events.next_event() {
        shown += 1;
        not_shown += event.not_shown;
    }
    (shown, not_shown)
}

fn words(kernel: &Kernel) -> (u64, u64) {
    match (kernel.events.taken(), kernel.events.lost()) {
        (Ok(taken), Ok(lost)) => (taken, lost),
        (Err(error), _) | (_, Err(error)) => panic!("{error}"),
    }
}

fn dropped(kernel: &Kernel) -> u64 {
    match kernel.plane.interface_counters(kernel.interface()) {
        Ok(found) => found
            .iter()
            .filter(|found| found.monitored || found.reason.verdict() == Verdict::Drop)
            .map(|found| found.counter.packets)
            .sum(),
        Err(error) => panic!("{error}"),
    }
}

/// Shown or not, every drop is told of, whichever processor saw it.
#[test]
fn a_flood_is_told_of_as_much_as_was_granted_and_the_rest_is_counted() {
    const GRANTED: u64 = 40;
    let (closed, denied) = (
        frame().eth().ipv4(PEER, HOST).tcp(4000, 81).syn().build(),
        frame().eth().ipv6("2001:db8:dead::1", HOST6).udp(1, 2).build(),
    );
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        kernel.run(&closed, 100);
        assert_eq!(drain(kernel), (0, 0), "nothing was granted");
        let processors = processors();
        let (mut shown, mut not_shown) = (0, 0);
        for round in 1..=3 {
            assert!(kernel.events.grant(round * GRANTED).is_ok());
            let programs: Vec<_> = processors.iter().map(|_| kernel.another_program()).collect();
            std::thread::scope(|scope| {
                for (program, cpu) in programs.iter().zip(&processors) {
                    let (closed, denied) = (&closed, &denied);
                    scope.spawn(move || {
                        pin(*cpu);
                        for frame in [closed, denied, closed] {
                            let _drop = program.run(frame, None, 20_000);
                        }
                    });
                }
            });
            let (more, less) = drain(kernel);
            shown += more;
            not_shown += less;
            assert_eq!(shown, round * GRANTED);
            assert_eq!(words(kernel), (shown, 0));
        }
        // What each processor has left to tell, it tells with its next event.
        let program = kernel.another_program();
        for cpu in &processors {
            assert!(kernel.events.grant(shown + 1).is_ok());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    pin(*cpu);
                    let _drop = program.run(&closed, None, 1);
                });
            });
            let (one, less) = drain(kernel);
            assert_eq!(one, 1, "processor {cpu}");
            (shown, not_shown) = (shown + one, not_shown + less);
        }
        assert_eq!(shown + not_shown, dropped(kernel));
    });
}

#[test]
fn what_nobody_reads_is_lost_and_counted() {
    with_kernel(|kernel| {
        // Each processor tells of what it has seen itself.
        pin(processors()[0]);
        kernel.policy("");
        assert!(kernel.events.grant(PLENTY).is_ok());
        let frame = frame().eth().ipv4(PEER, HOST).udp(1, 2).build();
        kernel.run(&frame, 10_000);
        let (taken, lost) = words(kernel);
        assert_eq!(taken, 10_000);
        let (shown, _) = drain(kernel);
        assert!(shown >= 3000, "the ring has room for {shown}");
        assert_eq!(shown + lost, taken);
        // The first that finds room again tells of them.
        kernel.run(&frame, 1);
        assert_eq!(drain(kernel), (1, lost));
    });
}

/// Grants that were used up by an earlier controller are no obstacle to another.
#[test]
fn a_new_controller_goes_on_from_what_was_taken() {
    with_kernel(|kernel| {
        kernel.policy("");
        let frame = frame().eth().ipv4(PEER, HOST).udp(1, 2).build();
        assert!(kernel.events.grant(5).is_ok());
        kernel.run(&frame, 10);
        assert_eq!(drain(kernel), (5, 0));
        let (taken, _) = words(kernel);
        assert!(kernel.events.grant(taken).is_ok());
        kernel.run(&frame, 10);
        assert_eq!(drain(kernel).0, 0);
        assert!(kernel.events.grant(taken + 2).is_ok());
        kernel.run(&frame, 10);
        assert_eq!(drain(kernel).0, 2);
    });
}
