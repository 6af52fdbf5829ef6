//! Frames that end too soon, at every byte, and lengths that lie.

use filter_common::Reason;
use nodewall_tests::verdict::{Expected, Kernel, cut, cut_honestly, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

const POLICY: &str = "[[rule]]\nname = \"ssh\"\nports = [\"tcp/22\", \"udp/22\"]\n[icmp]\necho = { rate = \"1M/s\" }\n";

/// A frame that ends with its last header, where its IP header begins, and
/// what becomes of it whole.
struct Form {
    name: &'static str,
    frame: Vec<u8>,
    ip: usize,
    whole: Expected,
}

fn forms() -> Vec<Form> {
    let rule = Expected::rule("ssh");
    let form = |name, ip, whole, frame| Form { name, frame, ip, whole };
    let v4 = || frame().eth().ipv4(PEER, HOST);
    let v6 = || frame().eth().ipv6(PEER6, HOST6);
    vec![
        form("IPv4 TCP", 14, rule, v4().tcp(4000, 22).syn().build()),
        form("IPv4 TCP options", 14, rule, v4().tcp(4000, 22).syn().options([1; 12]).build()),
        form("IPv4 UDP", 14, rule, v4().udp(4000, 22).build()),
        form("IPv4 echo", 14, Reason::Icmp.into(), v4().ping(1, 1).build()),
        form("IPv4 options TCP", 14, rule, v4().options([1; 40]).tcp(4000, 22).syn().build()),
        form(
            "one tag",
            18,
            rule,
            frame().eth().vlan(1).ipv4(PEER, HOST).tcp(4000, 22).syn().build(),
        ),
        form(
            "two tags",
            22,
            rule,
            frame().eth().vlan(1).vlan(2).ipv4(PEER, HOST).tcp(4000, 22).syn().build(),
        ),
        form(
            "two tags, IPv6",
            22,
            rule,
            frame().eth().vlan(1).vlan(2).ipv6(PEER6, HOST6).udp(4000, 22).build(),
        ),
        form(
            "PPPoE",
            22,
            rule,
            frame().eth().pppoe(1).ipv4(PEER, HOST).tcp(4000, 22).syn().build(),
        ),
        form(
            "PPPoE, IPv6",
            22,
            rule,
            frame().eth().pppoe(1).ipv6(PEER6, HOST6).tcp(4000, 22).syn().build(),
        ),
        form("IPv6 TCP", 14, rule, v6().tcp(4000, 22).syn().build()),
        form("IPv6 UDP", 14, rule, v6().udp(4000, 22).build()),
        form("IPv6 echo", 14, Reason::Icmp.into(), v6().pingv6(1, 1).build()),
        form("hop-by-hop", 14, rule, v6().hop_by_hop([]).tcp(4000, 22).syn().build()),
        form("routing", 14, rule, v6().routing(0, 0, [0; 4]).udp(4000, 22).build()),
        form(
            "destination options",
            14,
            rule,
            v6().destination_options([1; 14]).udp(4000, 22).build(),
        ),
        form(
            "authentication",
            14,
            rule,
            v6().authentication(1, 1, [7; 12]).tcp(4000, 22).syn().build(),
        ),
        form("mobility", 14, rule, v6().mobility(1, [0; 2]).udp(4000, 22).build()),
        form("HIP", 14, rule, v6().extension(139, [0; 6]).udp(4000, 22).build()),
        form("shim6", 14, rule, v6().extension(140, [0; 6]).udp(4000, 22).build()),
        form(
            "atomic fragment",
            14,
            rule,
            v6().fragment_header(1, 0, false).tcp(4000, 22).syn().build(),
        ),
        form(
            "six headers",
            14,
            rule,
            v6().hop_by_hop([])
                .destination_options([])
                .routing(0, 0, [0; 4])
                .fragment_header(1, 0, false)
                .authentication(1, 1, [7; 12])
                .destination_options([])
                .tcp(4000, 22)
                .syn()
                .build(),
        ),
    ]
}

fn truncate(kernel: &mut Kernel, Form { name, frame, ip, whole }: &Form) {
    let (frame, ip) = (frame.as_slice(), *ip);
    kernel.expect(format!("{name}, whole"), frame, *whole);
    for length in 0..frame.len() {
        kernel.expect(
            format!("{name}, broken off at {length}"),
            &cut(frame, length),
            Reason::Malformed,
        );
        let Some(mut honest) = cut_honestly(frame, ip, length) else { continue };
        kernel.expect(format!("{name}, ended at {length}"), &honest, Reason::Malformed);
        // The missing bytes are there, but do not belong to the IP packet.
        honest.extend(&frame[length..]);
        kernel.expect(
            format!("{name}, ended at {length}, the rest behind"),
            &honest,
            Reason::Malformed,
        );
        honest.extend([0; 60]);
        kernel.expect(format!("{name}, ended at {length}, padded"), &honest, Reason::Malformed);
    }
}

#[test]
fn truncation_at_every_byte() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        for form in forms() {
            truncate(kernel, &form);
        }
    });
}

#[test]
fn truncation_without_ethernet() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        kernel.loopback(true);
        for form in forms().into_iter().filter(|form| form.ip == 14) {
            let frame = form.frame[14..].to_vec();
            truncate(kernel, &Form { frame, ip: 0, ..form });
        }
    });
}

#[test]
fn lying_lengths() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        let v4 = || frame().eth().ipv4(PEER, HOST);
        let v6 = || frame().eth().ipv6(PEER6, HOST6);
        let (rule, lie) = (Expected::rule("ssh"), Expected::from(Reason::Malformed));
        // What follows is 20 bytes of TCP and 10 of data: 50 with the IPv4 header.
        for (total, expected) in [
            (0, lie),
            (19, lie),
            (20, lie),
            (39, lie),
            (40, rule),
            (49, rule),
            (50, rule),
            (51, lie),
            (u16::MAX, lie),
        ] {
            let liar = v4().total_length(total).tcp(4000, 22).syn().payload([0; 10]).build();
            kernel.expect(format!("a total length of {total}"), &liar, expected);
        }
        for words in 0..16 {
            // Without options; a header of 40 bytes and more has TCP's last bytes in front of its ports.
            let expected = if words == 5 { rule } else { lie };
            let liar = v4().header_words(words).tcp(4000, 22).syn().build();
            if words <= 5 || words > 10 {
                kernel.expect(format!("a header of {words} words"), &liar, expected);
            }
        }
        for version in (0..16).filter(|version| *version != 4) {
            let liar = v4().version(version).tcp(4000, 22).syn().build();
            kernel.expect(format!("version {version} in IPv4"), &liar, lie);
        }
        for version in (0..16).filter(|version| *version != 6) {
            let liar = v6().version(version).tcp(4000, 22).syn().build();
            kernel.expect(format!("version {version} in IPv6"), &liar, lie);
        }
        for (payload, expected) in
            [(0, lie), (19, lie), (20, rule), (29, rule), (30, rule), (31, lie), (u16::MAX, lie)]
        {
            let liar = v6().payload_length(payload).tcp(4000, 22).syn().payload([0; 10]).build();
            kernel.expect(format!("a payload length of {payload}"), &liar, expected);
        }
        for (length, expected) in
            [(0, lie), (7, lie), (8, rule), (17, rule), (18, rule), (19, lie), (u16::MAX, lie)]
        {
            let liar = v4().udp(4000, 22).length(length).payload([0; 10]).build();
            kernel.expect(format!("a UDP length of {length}"), &liar, expected);
            let liar = v6().udp(4000, 22).length(length).payload([0; 10]).build();
            kernel.expect(format!("a UDP length of {length}, IPv6"), &liar, expected);
            let padded = v4().udp(4000, 22).length(length).payload([0; 10]).pad_to(200).build();
            kernel.expect(format!("a UDP length of {length}, padded"), &padded, expected);
        }
        for words in 0..16 {
            // 20 bytes of header and 12 of data.
            let expected = if (5..=8).contains(&words) { rule } else { lie };
            let liar = v4().tcp(4000, 22).syn().data_offset(words).payload([0; 12]);
            kernel.expect(format!("a TCP header of {words} words"), &liar.build(), expected);
            kernel.expect(
                format!("a TCP header of {words} words, padded"),
                &liar.pad_to(200).build(),
                expected,
            );
            let liar =
                v6().tcp(4000, 22).syn().data_offset(words).payload([0; 12]).pad_to(200).build();
            kernel.expect(format!("a TCP header of {words} words, IPv6"), &liar, expected);
        }
    });
}
