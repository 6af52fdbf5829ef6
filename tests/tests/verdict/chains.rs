//! The extension headers of IPv6, one by one and in chains.

use filter_common::Reason;
use nodewall_tests::verdict::{Expected, with_kernel};
use sandbox::packet::{Extension, Frame, Header, frame};

use crate::common::{HOST, HOST6, PEER, PEER6};

const POLICY: &str = "[[rule]]\nname = \"ssh\"\nports = [\"tcp/22\", \"udp/22\"]\n";

/// Numbers of the headers that have the common form.
const COMMON: [(&str, u8); 6] = [
    ("hop-by-hop", 0),
    ("routing", 43),
    ("destination options", 60),
    ("mobility", 135),
    ("HIP", 139),
    ("shim6", 140),
];

#[test]
fn one_header() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        for (port, expected) in [(22, Expected::rule("ssh")), (23, Reason::PortClosed.into())] {
            let ip = || frame().eth().ipv6(PEER6, HOST6);
            for (name, number) in COMMON {
                // Units of eight bytes; the body holds what looks like another port.
                for units in [1, 2, 3, 8, 32, 256] {
                    let body = [0, 23].repeat((units * 8 - 2) / 2);
                    let tcp = ip().extension(number, body.clone()).tcp(4000, port).syn().build();
                    kernel.expect(format!("{name} of {units} units, TCP {port}"), &tcp, expected);
                    let udp = ip().extension(number, body).udp(4000, port).build();
                    kernel.expect(format!("{name} of {units} units, UDP {port}"), &udp, expected);
                }
            }
            // Its length is in words of four bytes, less two.
            for value in [0, 4, 12, 20, 28, 1012] {
                let tcp = ip().authentication(1, 2, vec![23; value]).tcp(4000, port).syn().build();
                kernel.expect(
                    format!("authentication with {value} bytes, TCP {port}"),
                    &tcp,
                    expected,
                );
            }
            let shortest = ip().extension(51, [0; 6]).length(0).tcp(4000, port).syn().build();
            kernel.expect(
                format!("authentication of the least length, TCP {port}"),
                &shortest,
                expected,
            );
            let atomic = ip().fragment_header(7, 0, false).tcp(4000, port).syn().build();
            kernel.expect(format!("an atomic fragment, TCP {port}"), &atomic, expected);
            let reserved =
                ip().fragment_header(7, 0, false).length(0xff).tcp(4000, port).syn().build();
            kernel.expect(
                format!("an atomic fragment with a reserved byte, TCP {port}"),
                &reserved,
                expected,
            );
            let tagged = frame().eth().vlan(1).vlan(2).pppoe(3).ipv6(PEER6, HOST6).hop_by_hop([]);
            let tagged = tagged.tcp(4000, port).syn().build();
            kernel.expect(
                format!("hop-by-hop in two tags and a session, TCP {port}"),
                &tagged,
                expected,
            );
        }
        let ip = || frame().eth().ipv6(PEER6, HOST6);
        // Nothing can be read behind ESP, and there is nothing behind 59.
        for (name, number) in [
            ("ESP", 50),
            ("no next header", 59),
            ("IPv4", 4),
            ("IPv6", 41),
            ("ICMP", 1),
            ("SCTP", 132),
            ("experimental", 253),
        ] {
            let other = ip().next_header(number).tcp(4000, 22).syn().build();
            kernel.expect(name, &other, Reason::ProtocolClosed);
            let behind = ip().hop_by_hop([]).next_header(number).tcp(4000, 22).syn().build();
            kernel.expect(format!("{name} behind hop-by-hop"), &behind, Reason::ProtocolClosed);
        }
        // These numbers are extension headers in IPv6 alone.
        for number in [0, 43, 44, 51, 60, 135, 139, 140] {
            let v4 = frame().eth().ipv4(PEER, HOST).protocol(number).tcp(4000, 22).syn().build();
            kernel.expect(format!("protocol {number} over IPv4"), &v4, Reason::ProtocolClosed);
        }
    });
}

/// Puts the headers `kinds` between IPv6 and a SYN to `port`.
fn chain(kinds: &[u8], port: u16) -> Vec<u8> {
    fn add(frame: Frame<Extension>, kinds: &[u8], port: u16) -> Vec<u8> {
        match kinds {
            [] => frame.tcp(4000, port).syn().build(),
            [kind, rest @ ..] => add(one(frame, *kind), rest, port),
        }
    }
    fn one<H: Header>(frame: Frame<H>, kind: u8) -> Frame<Extension> {
        match kind {
            44 => frame.fragment_header(7, 0, false),
            51 => frame.authentication(1, 2, [23; 12]),
            kind => frame.extension(kind, [0, 23, 0, 23, 0, 23]),
        }
    }
    let ip = frame().eth().ipv6(PEER6, HOST6);
    match kinds {
        [] => ip.tcp(4000, port).syn().build(),
        [kind, rest @ ..] => add(one(ip, *kind), rest, port),
    }
}

#[test]
fn chains() {
    const KINDS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        // Every pair, and behind it every length of chain.
        for first in KINDS {
            for second in KINDS {
                for (port, expected) in
                    [(22, Expected::rule("ssh")), (23, Reason::PortClosed.into())]
                {
                    kernel.expect(
                        format!("{first}, {second}, TCP {port}"),
                        &chain(&[first, second], port),
                        expected,
                    );
                }
            }
            for length in 1..=12_usize {
                let same = vec![first; length];
                let mixed: Vec<u8> =
                    KINDS.iter().cycle().skip(usize::from(first)).take(length).copied().collect();
                for kinds in [same, mixed] {
                    for (port, open) in
                        [(22, Expected::rule("ssh")), (23, Reason::PortClosed.into())]
                    {
                        let expected = if length <= 6 { open } else { Reason::Malformed.into() };
                        kernel.expect(
                            format!("{kinds:?}, TCP {port}"),
                            &chain(&kinds, port),
                            expected,
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn headers_that_run_past_the_end() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        let ip = || frame().eth().ipv6(PEER6, HOST6);
        for (name, number) in COMMON {
            for told in [4, 5, 64, 255] {
                // 8 bytes of header and 20 of TCP are there: units 1 to 3 fit.
                let liar = ip().extension(number, [0; 6]).length(told).tcp(4000, 22).syn().build();
                kernel.expect(format!("{name} that says {told}"), &liar, Reason::Malformed);
                let padded = ip()
                    .extension(number, [0; 6])
                    .length(told)
                    .tcp(4000, 22)
                    .syn()
                    .pad_to(3000)
                    .build();
                kernel.expect(
                    format!("{name} that says {told}, padded"),
                    &padded,
                    Reason::Malformed,
                );
            }
            let alone = ip().extension(number, [0; 6]).next_header(6).build();
            kernel.expect(format!("{name} and nothing behind"), &alone, Reason::Malformed);
            let padded = ip().extension(number, [0; 6]).next_header(6).pad_to(200).build();
            kernel.expect(format!("{name} and only padding behind"), &padded, Reason::Malformed);
            let endless = ip().extension(number, [0; 6]).next_header(number).build();
            kernel.expect(format!("{name} that names itself"), &endless, Reason::Malformed);
        }
        let liar =
            ip().authentication(1, 2, [0; 12]).length(255).tcp(4000, 22).syn().pad_to(3000).build();
        kernel.expect("authentication that says 255", &liar, Reason::Malformed);
        let jumbogram =
            ip().payload_length(0).hop_by_hop([0xc2, 4, 0, 1, 0, 0]).tcp(4000, 22).syn().build();
        kernel.expect("a jumbogram", &jumbogram, Reason::Malformed);
    });
}

/// Such an address stands for an IPv4 one in the tables: the wire must not forge it.
#[test]
fn mapped_addresses() {
    with_kernel(|kernel| {
        kernel.policy("[sources]\ntrusted = [\"203.0.113.0/24\"]\n[[rule]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n");
        for (source, destination) in [
            ("::ffff:203.0.113.9", HOST6),
            (PEER6, "::ffff:198.51.100.1"),
            ("::ffff:0.0.0.0", "::ffff:0.0.0.0"),
        ] {
            let forged = frame().eth().ipv6(source, destination).tcp(4000, 22).syn().build();
            kernel.expect(format!("{source} > {destination}"), &forged, Reason::Malformed);
        }
        for source in
            ["::fffe:203.0.113.9", "::1:ffff:203.0.113.9", "::203.0.113.9", "64:ff9b::203.0.113.9"]
        {
            let near = frame().eth().ipv6(source, HOST6).tcp(4000, 22).syn().build();
            kernel.expect(source, &near, Expected::rule("ssh"));
        }
        let real = frame().eth().ipv4("203.0.113.9", HOST).tcp(4000, 22).syn().build();
        kernel.expect("the IPv4 address itself", &real, Reason::Trusted);
    });
}
