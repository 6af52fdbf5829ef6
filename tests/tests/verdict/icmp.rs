//! ICMP, ICMPv6 and the protocols without ports.

use std::net::SocketAddr;

use filter_common::{Reason, Socket};
use nodewall_tests::verdict::{Connection, Kernel, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

fn icmp(source: &str, kind: u8, quote: &[u8]) -> Vec<u8> {
    if source.contains(':') {
        frame().eth().ipv6(source, HOST6).icmpv6(kind, 0).payload(quote).build()
    } else {
        frame().eth().ipv4(source, HOST).icmp(kind, 0).payload(quote).build()
    }
}

#[test]
fn types() {
    with_kernel(|kernel| {
        for (policy, echo, errors) in [
            ("", Reason::IcmpClosed, Reason::IcmpClosed),
            ("[icmp]\necho = false\n", Reason::IcmpClosed, Reason::IcmpClosed),
            ("[icmp]\necho = { rate = \"100k/s\" }\n", Reason::Icmp, Reason::IcmpClosed),
            ("[icmp]\nerrors = { rate = \"100k/s\" }\n", Reason::IcmpClosed, Reason::Icmp),
        ] {
            kernel.policy(policy);
            for kind in 0..=u8::MAX {
                let v4 = match kind {
                    8 => echo,
                    3 | 11 | 12 => errors,
                    _ => Reason::IcmpClosed,
                };
                kernel.expect(format!("ICMP {kind}, {policy:?}"), &icmp(PEER, kind, &[]), v4);
                let v6 = match kind {
                    128 => echo,
                    1..=4 => errors,
                    // Hop limit 64, a global source: not essential.
                    _ => Reason::IcmpClosed,
                };
                kernel.expect(format!("ICMPv6 {kind}, {policy:?}"), &icmp(PEER6, kind, &[]), v6);
            }
            let crossed = frame()
                .eth()
                .ipv4(PEER, HOST)
                .protocol(58)
                .payload([128, 0, 0, 0, 0, 0, 0, 0])
                .build();
            kernel.expect("ICMPv6 over IPv4", &crossed, Reason::ProtocolClosed);
            let crossed = frame()
                .eth()
                .ipv6(PEER6, HOST6)
                .next_header(1)
                .payload([8, 0, 0, 0, 0, 0, 0, 0])
                .build();
            kernel.expect("ICMP over IPv6", &crossed, Reason::ProtocolClosed);
        }
    });
}

fn drain(kernel: &mut Kernel, what: &str, frame: &[u8], burst: u32) {
    for n in 1..=burst {
        kernel.expect(format!("{what}, {n} of {burst}"), frame, Reason::Icmp);
    }
    for n in 1..=3 {
        kernel.expect(format!("{what}, {n} beyond {burst}"), frame, Reason::IcmpRate);
    }
}

#[test]
fn rates() {
    with_kernel(|kernel| {
        kernel.policy("[icmp]\necho = { rate = \"1/h\", burst = 3 }\nerrors = { rate = \"1/h\", burst = 4 }\n");
        for source in [PEER, "203.0.113.10", PEER6] {
            drain(
                kernel,
                &format!("echo from {source}"),
                &icmp(source, if source.contains(':') { 128 } else { 8 }, &[]),
                3,
            );
        }
        // A /64 is one source; errors share one bucket, whoever sends them.
        kernel.expect("the same /64", &icmp("2001:db8:9::10", 128, &[]), Reason::IcmpRate);
        kernel.expect("an error", &icmp(PEER, 3, &[]), Reason::Icmp);
        drain(kernel, "errors of all", &icmp(PEER6, 1, &[]), 3);
        kernel.expect("an error from elsewhere", &icmp("192.0.2.1", 11, &[]), Reason::IcmpRate);
    });
}

/// The first bytes of what this host sent: an IP header and a transport header.
fn quote(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    frame().ip(local.ip(), remote.ip()).tcp(local.port(), remote.port()).ack().build()
}

/// Errors about a live connection pass, rate or not.
#[test]
fn errors_that_quote_a_connection() {
    with_kernel(|kernel| {
        for address in ["127.0.0.1", "::1"] {
            let Some(connection) =
                address.parse().ok().and_then(|address| Connection::open(address).ok())
            else {
                panic!("no connection over {address}")
            };
            let (Ok(local), Ok(remote)) =
                (connection.client.local_addr(), connection.client.peer_addr())
            else {
                panic!("no addresses")
            };
            kernel.tell_of_socket(remote, local, Socket::Live);
            kernel.tell_of_socket(local, remote, Socket::Live);
            let v6 = local.is_ipv6();
            // From any router on the way.
            let router = if v6 { PEER6 } else { PEER };
            let kind = if v6 { 2 } else { 3 };
            let ours = quote(local, remote);
            let header = if v6 { 40 } else { 20 };
            let port_off = |by: usize| {
                let mut bytes = ours.clone();
                bytes[header + by] ^= 1;
                bytes
            };
            let options = frame().ip(local.ip(), remote.ip());
            let udp = options.udp(local.port(), remote.port()).build();
            let mut version = ours.clone();
            version[0] ^= 0xf0;
            let strangers: [(&str, Vec<u8>); 9] = [
                ("nothing", Vec::new()),
                ("another local port", port_off(1)),
                ("another remote port", port_off(3)),
                ("another address", {
                    let mut bytes = ours.clone();
                    bytes[header - 1] ^= 2;
                    bytes
                }),
                ("UDP", udp),
                ("another version", version),
                ("an IP header alone", ours[..header].to_vec()),
                ("all but one byte of the ports", ours[..header + 7].to_vec()),
                ("half an IP header", ours[..header / 2].to_vec()),
            ];
            kernel.policy("");
            for (what, bytes) in &strangers {
                kernel.expect(
                    format!("{address}, closed, {what}"),
                    &icmp(router, kind, bytes),
                    Reason::IcmpClosed,
                );
            }
            kernel.expect(format!("{address}, closed"), &icmp(router, kind, &ours), Reason::Icmp);
            kernel.expect(
                format!("{address}, an echo request that quotes"),
                &icmp(router, if v6 { 128 } else { 8 }, &ours),
                Reason::IcmpClosed,
            );
            let burst = 2 * strangers.len();
            kernel.policy(&format!("[icmp]\nerrors = {{ rate = \"1/h\", burst = {burst} }}\n"));
            for _ in 0..2 * burst {
                kernel.expect(
                    format!("{address}, spends nothing"),
                    &icmp(router, kind, &ours),
                    Reason::Icmp,
                );
                kernel.expect(
                    format!("{address}, 8 bytes are enough"),
                    &icmp(router, kind, &ours[..header + 8]),
                    Reason::Icmp,
                );
            }
        }
    });
}

#[test]
fn strangers_spend_the_rate() {
    with_kernel(|kernel| {
        let Ok(connection) = Connection::open([127, 0, 0, 1].into()) else {
            panic!("no connection")
        };
        let (Ok(local), Ok(remote)) =
            (connection.client.local_addr(), connection.client.peer_addr())
        else {
            panic!("no addresses")
        };
        kernel.tell_of_socket(remote, local, Socket::Live);
        kernel.policy("[icmp]\nerrors = { rate = \"1/h\", burst = 5 }\n");
        let ours = icmp(PEER, 3, &quote(local, remote));
        kernel.expect("ours", &ours, Reason::Icmp);
        drain(
            kernel,
            "forged",
            &icmp(PEER, 3, &quote(SocketAddr::new(local.ip(), local.port() ^ 1), remote)),
            5,
        );
        kernel.expect("ours, the rate spent", &ours, Reason::Icmp);
        let options = frame()
            .ipv4([127, 0, 0, 1], [127, 0, 0, 1])
            .options([1; 24])
            .tcp(local.port(), remote.port())
            .build();
        kernel.expect("a quote with options", &icmp(PEER, 3, &options), Reason::Icmp);
    });
}

#[test]
fn protocols() {
    with_kernel(|kernel| {
        kernel.policy("[protocols]\nallow = [\"esp\", \"gre\", 0, 63, 64, 255]\n");
        for number in 0..=u8::MAX {
            let open = matches!(number, 50 | 47 | 0 | 63 | 64 | 255);
            let v4 = frame().eth().ipv4(PEER, HOST).protocol(number).payload([0; 40]).build();
            match number {
                1 | 6 | 17 => {}
                2 => kernel.expect("IGMP", &v4, Reason::Essential),
                _ => {
                    let expected = if open { Reason::Protocol } else { Reason::ProtocolClosed };
                    kernel.expect(format!("protocol {number}"), &v4, expected);
                }
            }
            let v6 = frame().eth().ipv6(PEER6, HOST6).next_header(number).payload([0; 40]).build();
            // Those that are read further: extension headers, TCP, UDP, ICMPv6.
            if !matches!(number, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140 | 6 | 17 | 58) {
                let expected = if open { Reason::Protocol } else { Reason::ProtocolClosed };
                kernel.expect(format!("next header {number}"), &v6, expected);
            }
        }
        kernel.policy("");
        let gre = frame().eth().ipv4(PEER, HOST).protocol(47).payload([0; 40]).build();
        kernel.expect("GRE, not named any more", &gre, Reason::ProtocolClosed);
        let empty = frame().eth().ipv4(PEER, HOST).protocol(47).build();
        kernel.expect("GRE without a body", &empty, Reason::ProtocolClosed);
    });
}
