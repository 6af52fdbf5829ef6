//! The flows that the flow log is written from: every packet that can be read
//! is in one, or is counted as having found no room.

use std::{collections::BTreeMap, net::IpAddr};

use filter_common::tables::flow_log::{Entry, REFUSED_WAYS, WAYS};
use filter_user::dataplane::Half;
use nodewall_tests::verdict::{FLOWS, Kernel, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

const POLICY: &str = "[[rule]]\nname = \"open\"\nports = [\"udp/53\", \"tcp/80\"]\n";

/// Takes a step that the kernel must not refuse.
fn ok<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Packets and bytes by source, ports, protocol and whether they were refused.
type Sums = BTreeMap<(IpAddr, u16, u16, u8, bool), (u64, u64)>;

fn sums(flows: &[Entry]) -> Sums {
    let mut sums = Sums::new();
    for Entry { key, packets, bytes, .. } in flows {
        let place = (
            key.source.into(),
            key.source_port,
            key.destination_port,
            key.protocol,
            key.refused == 1,
        );
        let sum = sums.entry(place).or_default();
        *sum = (sum.0 + packets, sum.1 + bytes);
    }
    sums
}

fn unlogged(kernel: &Kernel) -> u64 {
    ok(kernel.flow_counts.unlogged(kernel.interface()))
}

#[test]
fn each_packet_counts_for_its_flow_and_what_became_of_it() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        let v4 = || frame().eth().ipv4(PEER, HOST);
        let v6 = || frame().eth().vlan(3).ipv6(PEER6, HOST6);
        let (peer, peer6) = (ok(PEER.parse::<IpAddr>()), ok(PEER6.parse::<IpAddr>()));
        let dns = v4().udp(4000, 53).pad_to(70).build();
        kernel.run(&dns, 1);
        assert_eq!(ok(kernel.flow_counts.flows(Half::First)), [], "nothing is asked for");

        ok(kernel.flow_counts.count_in(Some((Half::First, 1000))));
        let mut expected = Sums::new();
        let cases = [
            (dns, 3, Some((peer, 4000, 53, 17, false))),
            (v4().udp(4000, 54).pad_to(70).build(), 2, Some((peer, 4000, 54, 17, true))),
            (v4().udp(4001, 54).pad_to(71).build(), 1, Some((peer, 4001, 54, 17, true))),
            (v4().tcp(4000, 80).syn().build(), 1, Some((peer, 4000, 80, 6, false))),
            // The same flow, of which this much is refused.
            (v4().tcp(4000, 80).ack().build(), 5, Some((peer, 4000, 80, 6, true))),
            (v6().tcp(4000, 81).syn().build(), 4, Some((peer6, 4000, 81, 6, true))),
            (v6().udp(4000, 53).build(), 2, Some((peer6, 4000, 53, 17, false))),
            (v4().ping(7, 1).build(), 2, Some((peer, 0, 0, 1, true))),
            (v4().protocol(132).build(), 1, Some((peer, 0, 0, 132, true))),
            // Has no ports, whatever the packet before had.
            (
                v4().fragment(1, 9, false).protocol(17).payload([0; 8]).build(),
                1,
                Some((peer, 0, 0, 17, true)),
            ),
            // In no flow.
            (v4().header_words(3).tcp(1, 2).build(), 9, None),
            (frame().eth().ethertype(0x88cc).payload([1; 46]).build(), 9, None),
        ];
        for (frame, times, place) in &cases {
            kernel.run(frame, *times);
            if let Some(place) = place {
                let sum = (u64::from(*times), u64::from(*times) * frame.len() as u64);
                assert_eq!(expected.insert(*place, sum), None);
            }
        }
        assert_eq!(sums(&ok(kernel.flow_counts.flows(Half::First))), expected);

        // The other half is another minute.
        ok(kernel.flow_counts.count_in(Some((Half::Second, 1060))));
        kernel.run(&cases[0].0, 6);
        ok(kernel.flow_counts.count_in(Some((Half::Second, 1062))));
        kernel.run(&cases[0].0, 1);
        let first = ok(kernel.flow_counts.drain(Half::First));
        assert_eq!(sums(&first), expected);
        assert!(first.iter().all(|flow| (flow.first, flow.last) == (1000, 1000)));
        let second = ok(kernel.flow_counts.drain(Half::Second));
        assert_eq!(second.len(), 1);
        assert_eq!((second[0].packets, second[0].first, second[0].last), (7, 1060, 1062));
        for half in [Half::First, Half::Second] {
            assert_eq!(ok(kernel.flow_counts.flows(half)), []);
        }

        ok(kernel.flow_counts.count_in(None));
        kernel.run(&cases[0].0, 1);
        assert_eq!(ok(kernel.flow_counts.flows(Half::Second)), []);
        assert_eq!(unlogged(kernel), 0);
    });
}

/// A flood of refused flows fills its part of the table and no more.
#[test]
fn what_finds_no_room_is_counted_and_accepted_flows_have_theirs() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        ok(kernel.flow_counts.count_in(Some((Half::First, 1000))));
        let capacity = kernel.flow_counts.capacity();
        assert_eq!(capacity, FLOWS);
        let sent = u64::from(capacity) * 2;
        let udp = |n: u64, port| {
            let source = format!("10.0.{}.{}", n >> 8 & 255, n & 255);
            frame().eth().ipv4(&*source, HOST).udp(4000, port).build()
        };
        for n in 0..sent {
            kernel.run(&udp(n, 54), 2);
        }
        let refused = ok(kernel.flow_counts.flows(Half::First));
        let room = u64::from(capacity) * REFUSED_WAYS as u64 / WAYS as u64;
        let taken = refused.len() as u64;
        assert!(taken <= room && taken > room * 9 / 10, "{taken} of {room}");
        assert!(refused.iter().all(|flow| flow.packets == 2));
        assert_eq!(unlogged(kernel), (sent - taken) * 2);

        let before = unlogged(kernel);
        let accepted = u64::from(capacity) / 8;
        for n in 0..accepted {
            kernel.run(&udp(n, 53), 1);
        }
        let flows = ok(kernel.flow_counts.drain(Half::First));
        let found = flows.iter().filter(|flow| flow.key.refused == 0).count() as u64;
        assert_eq!(found + unlogged(kernel) - before, accepted);
        assert!(found > accepted * 9 / 10, "{found} of {accepted}");
        assert_eq!(flows.len() as u64, taken + found);
    });
}
