//! The program asked what it would do: alone, beside the running filter, and of
//! another time.

use std::{net::SocketAddr, path::Path, time::Duration};

use filter_common::{FlowTable, Outcome, Reason, Scope, Socket, Stage, read::Flow};
use filter_user::{
    compile::{self, Numbers, compile},
    dataplane::{Arrival, Options, Probe, ProbeError, Times},
    policy,
};
use nodewall_tests::verdict::{Expected, Kernel, flow_key, with_kernel};
use sandbox::packet::frame;

use crate::{
    common::{HOST, HOST6, PEER, PEER6},
    slots::hold,
};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;

#[track_caller]
fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

fn compiled(text: &str) -> (compile::Tables, Numbers) {
    let Ok(loaded) = policy::parse(text, Path::new("/nodewall.toml")) else {
        panic!("the policy of this test is not valid")
    };
    let (mut rules, mut interfaces) = (Numbers::of_rules(), Numbers::of_interfaces());
    (done(compile(&loaded.policy, &mut rules, &mut interfaces)), rules)
}

/// On the first interface, so many nanoseconds after some moment.
fn at(nanoseconds: u64) -> Arrival {
    let now = (1 << 42) + nanoseconds;
    Arrival { interface: 1, raw_ip: false, times: Times { monotonic: now, boot: now } }
}

fn now(kernel: &Kernel) -> Arrival {
    Arrival { interface: kernel.interface(), raw_ip: false, times: Times::now() }
}

fn syn(source: &str, port: u16) -> Vec<u8> {
    let host = if source.contains(':') { HOST6 } else { HOST };
    let ip = frame().eth().ip(source, host);
    ip.tcp(4000, port).syn().build()
}

fn udp(source: &str, from: u16, port: u16, length: usize) -> Vec<u8> {
    frame().eth().ipv4(source, HOST).udp(from, port).payload(vec![0; length]).build()
}

const LIMITED: &str = "[[rule]]\nname = \"open\"\nports = [\"tcp/22\", \"udp/22\"]\n[rule.per_source]\nnew_connections = { rate = \"1/s\", burst = 2 }\npackets = { rate = \"1/s\", burst = 2 }\n";

/// A private filter goes by the time that it is given, and tells all of an
/// outcome.
#[test]
fn alone_it_goes_by_the_time_it_is_given() {
    with_kernel(|_| {
        let (tables, rules) = compiled(LIMITED);
        let mut probe = done(Probe::private(&Options::default(), &tables));
        let passes = Expected::rule("open").outcome(&rules);
        let refused = Expected::refused("open", Reason::ConnectionRate).outcome(&rules);
        for (after, expected) in [
            (0, passes),
            (0, passes),
            (0, refused),
            (SECOND - 1, refused),
            (SECOND, passes),
            (SECOND, refused),
            (HOUR, passes),
        ] {
            assert_eq!(done(probe.judge(&syn(PEER, 22), at(after))), expected, "after {after} ns");
        }
        let closed = done(probe.judge(&syn(PEER6, 23), at(0)));
        assert_eq!(closed, Outcome::of(Reason::PortClosed));
        let arp = frame().eth().ethertype(0x0806).payload([0; 28]).build();
        assert_eq!(done(probe.judge(&arp, at(0))).reason, Reason::Essential);
        let malformed = done(probe.judge(&syn(PEER, 22)[..30], at(0)));
        assert_eq!(malformed, Outcome::of(Reason::Malformed));
    });
}

#[test]
fn alone_it_knows_what_it_was_told_and_what_was_sent() {
    with_kernel(|_| {
        let (tables, rules) = compiled(LIMITED);
        let mut probe = done(Probe::private(&Options::default(), &tables));
        let segment = frame().eth().ipv4(PEER, HOST).tcp(443, 5555).ack().build();
        let judged = |probe: &mut Probe| done(probe.judge(&segment, at(0))).reason;
        let flow = Flow {
            source: PEER.parse::<std::net::IpAddr>().unwrap().into(),
            destination: HOST.parse::<std::net::IpAddr>().unwrap().into(),
            source_port: 443,
            destination_port: 5555,
        };
        for (socket, expected) in [
            (Socket::None, Reason::PortClosed),
            (Socket::Live, Reason::Reply),
            (Socket::HalfOpen, Reason::Reply),
            (Socket::Cookie, Reason::PortClosed),
            (Socket::None, Reason::PortClosed),
        ] {
            done(probe.set_socket(&flow, socket));
            assert_eq!(judged(&mut probe), expected, "{socket:?}");
        }
        // The host asks, and is answered for as long as a flow lives.
        let answer = udp(PEER, 53, 5353, 20);
        assert_eq!(done(probe.judge(&answer, at(0))).reason, Reason::PortClosed);
        let question = frame().eth().ipv4(HOST, PEER).udp(5353, 53).payload([0; 20]).build();
        done(probe.send(&question, at(0)));
        assert_eq!(done(probe.judge(&answer, at(SECOND))).reason, Reason::Reply);
        assert_eq!(done(probe.judge(&answer, at(1000 * SECOND))).reason, Reason::PortClosed);
        // A ban ends by the other clock.
        let plane = probe.plane().expect("a private filter");
        let until = filter_user::dataplane::Until {
            boot: Duration::from_nanos(at(SECOND).times.boot),
            ..filter_user::dataplane::Until::after(Duration::from_secs(1)).unwrap()
        };
        let ban = filter_user::dataplane::Ban { until: Some(until), reason: None };
        done(plane.bans().add(nodewall_tests::verdict::prefix_of(PEER), ban));
        assert_eq!(done(probe.judge(&syn(PEER, 22), at(SECOND - 1))).reason, Reason::Banned);
        // Never early, and less than a unit of the table late.
        let after = SECOND + (1 << 27);
        let outcome = done(probe.judge(&syn(PEER, 22), at(after)));
        assert_eq!(outcome, Expected::rule("open").outcome(&rules));
    });
}

/// Frames larger than a page lie in several buffers; too small ones are refused.
#[test]
fn frames_of_every_size() {
    with_kernel(|_| {
        let (tables, rules) = compiled(LIMITED);
        let mut probe = done(Probe::private(&Options::default(), &tables));
        for length in [0, 3000, 4000, 9000, 60_000] {
            let outcome = done(probe.judge(&udp(PEER, 1, 22, length), at(length as u64 * SECOND)));
            assert_eq!(outcome, Expected::rule("open").outcome(&rules), "{length} bytes");
        }
        assert!(matches!(probe.judge(&[0; 13], at(0)), Err(ProbeError::Short { length: 13 })));
        let raw = frame().ipv4(PEER, HOST).tcp(4000, 22).syn().build();
        let arrival = Arrival { raw_ip: true, ..at(0) };
        assert_eq!(done(probe.judge(&raw, arrival)), Expected::rule("open").outcome(&rules));
    });
}

/// Whatever it is asked, of the running filter nothing changes: it goes on as
/// the model does, which was not asked.
#[test]
fn beside_the_filter_it_looks_and_does_not_touch() {
    with_kernel(|kernel| {
        kernel.policy("[sources]\ndenied = [\"198.51.100.0/24\"]\n[[rule]]\nname = \"open\"\nports = [\"tcp/22\", \"udp/22\"]\n[rule.per_source]\nnew_connections = { rate = \"1/h\", burst = 2 }\npackets = { rate = \"1/h\", burst = 2 }\n[rule.total]\nconnections = 3\n[icmp]\necho = { rate = \"1/h\", burst = 1 }\nerrors = { rate = \"1/h\", burst = 1 }\n");
        kernel.ban("192.0.2.200", None);
        let mut probe = done(kernel.plane.explain_probe());
        let passes = Expected::rule("open");
        let refused = Expected::refused("open", Reason::ConnectionRate);
        let ask = |probe: &mut Probe, kernel: &mut Kernel, frame: &[u8], wanted: Expected| {
            let wanted = wanted.outcome(&kernel.rules);
            for _ in 0..20 {
                assert_eq!(done(probe.judge(frame, now(kernel))), wanted);
            }
        };
        // It sees the rate of each moment.
        ask(&mut probe, kernel, &syn(PEER, 22), passes);
        kernel.expect("the first", &syn(PEER, 22), passes);
        ask(&mut probe, kernel, &syn(PEER, 22), passes);
        kernel.expect("the second", &syn(PEER, 22), passes);
        ask(&mut probe, kernel, &syn(PEER, 22), refused);
        kernel.expect("the third", &syn(PEER, 22), refused);
        let datagram = udp(PEER, 4000, 22, 10);
        ask(&mut probe, kernel, &datagram, passes);
        // Bans and lists, and that a ban was taken back.
        ask(&mut probe, kernel, &syn("192.0.2.200", 22), Reason::Banned.into());
        ask(&mut probe, kernel, &syn("198.51.100.7", 22), Reason::Denied.into());
        kernel.unban("192.0.2.200");
        ask(&mut probe, kernel, &syn("192.0.2.200", 22), passes);
        // Connections that are held.
        hold(kernel, "open", Scope::Total, "", 3);
        let full = Expected::over("open", Reason::ConnectionLimit, Scope::Total);
        ask(&mut probe, kernel, &syn("192.0.2.7", 22), full);
        hold(kernel, "open", Scope::Total, "", 2);
        // Fragments: asked of a first one, it knows no later one by it.
        let first = frame()
            .eth()
            .ipv4(PEER, HOST)
            .fragment(7, 0, true)
            .udp(4000, 22)
            .length(64)
            .payload([0; 24])
            .build();
        let later = frame()
            .eth()
            .ipv4(PEER, HOST)
            .fragment(7, 32, false)
            .protocol(17)
            .payload([0; 32])
            .build();
        ask(&mut probe, kernel, &first, passes);
        ask(&mut probe, kernel, &later, Reason::Fragment.into());
        kernel.expect("a first fragment", &first, passes);
        ask(&mut probe, kernel, &later, passes);
        ask(&mut probe, kernel, &later, passes);
        kernel.expect("its later one", &later, passes);
        // What was sent, in tables that remember a look.
        let remote: SocketAddr = "203.0.113.53:53".parse().unwrap();
        let answer = udp("203.0.113.53", 53, 5353, 20);
        ask(&mut probe, kernel, &answer, Reason::PortClosed.into());
        let key = flow_key((remote.ip(), 53), (HOST.parse().unwrap(), 5353), 17);
        kernel.remember(FlowTable::Flows, &key, Stage::Open, Duration::ZERO);
        ask(&mut probe, kernel, &answer, Reason::Reply.into());
        kernel.expect("an answer", &answer, Reason::Reply);
        // An echo request, and an error, whose rates are left as they were.
        let echo = frame().eth().ipv4(PEER, HOST).icmp(8, 0).build();
        ask(&mut probe, kernel, &echo, Reason::Icmp.into());
        kernel.expect("an echo request", &echo, Reason::Icmp);
        ask(&mut probe, kernel, &echo, Reason::IcmpRate.into());
        // Another policy.
        kernel.policy("");
        ask(&mut probe, kernel, &syn(PEER, 22), Reason::PortClosed.into());
        assert_eq!(done(kernel.events.taken()), 0);
    });
}

/// What it is asked of another time is judged by the running policy and bans,
/// and by rates of its own.
#[test]
fn of_another_time_it_has_rates_of_its_own() {
    with_kernel(|kernel| {
        // So slow that nothing comes back while the test runs.
        kernel.policy(&LIMITED.replace("1/s", "1/h"));
        kernel.ban("192.0.2.200", None);
        for _ in 0..2 {
            kernel.expect("the burst", &syn(PEER, 22), Expected::rule("open"));
        }
        let mut probe = done(kernel.plane.replay_probe());
        let boot = Times::now().boot;
        let arrival = |after: u64| {
            let arrival = at(after);
            Arrival { times: Times { boot, ..arrival.times }, ..arrival }
        };
        let passes = Expected::rule("open").outcome(&kernel.rules);
        let refused = Expected::refused("open", Reason::ConnectionRate).outcome(&kernel.rules);
        for (after, expected) in [(0, passes), (0, passes), (0, refused), (HOUR, passes)] {
            assert_eq!(done(probe.judge(&syn(PEER, 22), arrival(after))), expected);
        }
        let banned = done(probe.judge(&syn("192.0.2.200", 22), arrival(0)));
        assert_eq!(banned, Outcome::of(Reason::Banned));
        let question = frame().eth().ipv4(HOST, PEER).udp(5353, 53).payload([0; 20]).build();
        done(probe.send(&question, arrival(0)));
        let answer = udp(PEER, 53, 5353, 20);
        assert_eq!(done(probe.judge(&answer, arrival(0))).reason, Reason::Reply);
        // None of it is known to the running filter.
        kernel.expect("an answer to nothing", &answer, Reason::PortClosed);
        kernel.expect("over", &syn(PEER, 22), Expected::refused("open", Reason::ConnectionRate));
    });
}
