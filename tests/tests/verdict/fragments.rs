//! Fragments: the first is judged as any packet, later ones follow it.

mod datagram;
mod followers;
mod table;

use std::cell::Cell;

use filter_common::Reason;
use nodewall_tests::verdict::{Expected, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

#[test]
fn the_first_is_judged_and_later_ones_alone_drop() {
    with_kernel(|kernel| {
        kernel.policy("[sources]\ntrusted = [\"192.0.2.0/25\"]\ndenied = [\"192.0.2.128/25\"]\n[[rule]]\nname = \"open\"\nports = [\"tcp/22\", \"udp/22\"]\n[icmp]\necho = { rate = \"1k/s\" }\n[protocols]\nallow = [\"esp\"]\n");
        let open = Expected::rule("open");
        let count = Cell::new(1000_u16);
        let fresh = || count.replace(count.get() + 1);
        for (port, expected) in [(22, open), (23, Reason::PortClosed.into())] {
            let v4 = || frame().eth().ipv4(PEER, HOST).fragment(fresh(), 0, true);
            let v6 = || frame().eth().ipv6(PEER6, HOST6).fragment_header(fresh().into(), 0, true);
            kernel.expect(
                format!("the first, TCP {port}"),
                &v4().tcp(4000, port).syn().build(),
                expected,
            );
            kernel.expect(
                format!("the first, IPv6, TCP {port}"),
                &v6().tcp(4000, port).syn().build(),
                expected,
            );
            // The UDP length is the whole datagram's.
            let long = v4().udp(4000, port).length(4000).payload([0; 16]).build();
            kernel.expect(format!("the first of a long datagram, UDP {port}"), &long, expected);
            let long = v6().udp(4000, port).length(4000).payload([0; 16]).build();
            kernel.expect(
                format!("the first of a long datagram, IPv6, UDP {port}"),
                &long,
                expected,
            );
            let lie = frame()
                .eth()
                .ipv4(PEER, HOST)
                .udp(4000, port)
                .length(4000)
                .payload([0; 16])
                .build();
            kernel.expect(
                format!("the same, and no fragment, UDP {port}"),
                &lie,
                Reason::Malformed,
            );
            let behind = frame()
                .eth()
                .ipv6(PEER6, HOST6)
                .hop_by_hop([])
                .fragment_header(fresh().into(), 0, true)
                .destination_options([]);
            kernel.expect(
                format!("the first, between headers, TCP {port}"),
                &behind.tcp(4000, port).syn().build(),
                expected,
            );
        }
        kernel.expect(
            "the first, echo",
            &frame().eth().ipv4(PEER, HOST).fragment(fresh(), 0, true).ping(1, 1).build(),
            Reason::Icmp,
        );
        kernel.expect(
            "the first, ESP",
            &frame()
                .eth()
                .ipv4(PEER, HOST)
                .fragment(fresh(), 0, true)
                .protocol(50)
                .payload([0; 8])
                .build(),
            Reason::Protocol,
        );
        for (protocol, header) in [(6, 20), (17, 8), (1, 8)] {
            for length in 0..header {
                let tiny = frame()
                    .eth()
                    .ipv4(PEER, HOST)
                    .fragment(7, 0, true)
                    .protocol(protocol)
                    .payload(vec![0; length]);
                kernel.expect(
                    format!("a first of {length} bytes, protocol {protocol}"),
                    &tiny.build(),
                    Reason::Malformed,
                );
                kernel.expect(
                    format!("a first of {length} bytes, protocol {protocol}, padded"),
                    &tiny.pad_to(100).build(),
                    Reason::Malformed,
                );
                let number = if protocol == 1 { 58 } else { protocol };
                let tiny = frame()
                    .eth()
                    .ipv6(PEER6, HOST6)
                    .fragment_header(7, 0, true)
                    .next_header(number)
                    .payload(vec![0; length])
                    .pad_to(120);
                kernel.expect(
                    format!("a first of {length} bytes, IPv6, protocol {protocol}"),
                    &tiny.build(),
                    Reason::Malformed,
                );
            }
        }
        for offset in [1, 2, 185, 0x1ff0] {
            for more in [false, true] {
                for protocol in [6, 17, 1, 2, 50, 132] {
                    // It looks like an admitted SYN and is none.
                    let inside = frame().tcp(4000, 22).syn().build();
                    let later = frame()
                        .eth()
                        .ipv4(PEER, HOST)
                        .fragment(7, offset, more)
                        .protocol(protocol)
                        .payload(inside.clone());
                    kernel.expect(
                        format!("later, at {offset}, protocol {protocol}"),
                        &later.build(),
                        Reason::Fragment,
                    );
                    let empty = frame()
                        .eth()
                        .ipv4(PEER, HOST)
                        .fragment(7, offset, more)
                        .protocol(protocol)
                        .build();
                    kernel.expect(
                        format!("later and empty, at {offset}, protocol {protocol}"),
                        &empty,
                        Reason::Fragment,
                    );
                    let later = frame()
                        .eth()
                        .ipv6(PEER6, HOST6)
                        .fragment_header(7, offset, more)
                        .next_header(protocol)
                        .payload(inside);
                    kernel.expect(
                        format!("later, IPv6, at {offset}, protocol {protocol}"),
                        &later.build(),
                        Reason::Fragment,
                    );
                }
                let chain = frame()
                    .eth()
                    .ipv6(PEER6, HOST6)
                    .hop_by_hop([])
                    .fragment_header(7, offset, more)
                    .next_header(60)
                    .payload([0; 3]);
                kernel.expect(
                    format!("later, between headers, at {offset}"),
                    &chain.build(),
                    Reason::Fragment,
                );
                for (source, expected) in
                    [("192.0.2.1", Reason::Trusted), ("192.0.2.129", Reason::Denied)]
                {
                    let later = frame()
                        .eth()
                        .ipv4(source, HOST)
                        .fragment(7, offset, more)
                        .protocol(17)
                        .payload([0; 8])
                        .build();
                    kernel.expect(format!("later, from {source}, at {offset}"), &later, expected);
                }
            }
        }
        // The reserved bit and "don't fragment" are no fragment.
        for word in [0x4000, 0x8000, 0xc000] {
            let whole =
                frame().eth().ipv4(PEER, HOST).flags_and_offset(word).tcp(4000, 22).syn().build();
            kernel.expect(format!("flags {word:#06x}"), &whole, open);
        }
        kernel.expect(
            "later, and it lies",
            &frame()
                .eth()
                .ipv4(PEER, HOST)
                .fragment(7, 9, false)
                .total_length(60)
                .protocol(17)
                .payload([0; 8])
                .build(),
            Reason::Malformed,
        );
    });
}
