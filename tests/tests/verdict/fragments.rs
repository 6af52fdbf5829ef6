//! Fragments: the first is judged as any packet, later ones follow it.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

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

/// The first fragments of UDP datagrams hold so many bytes: three blocks.
const FIRST: usize = 24;

/// The pieces of a datagram between two hosts.
#[derive(Clone, Copy)]
struct Datagram {
    ipv6: bool,
    source: &'static str,
    id: u16,
}

impl Datagram {
    /// One for each family, which no other test case uses.
    fn both(id: u16) -> [Self; 2] {
        [(false, PEER), (true, PEER6)].map(|(ipv6, source)| Self { ipv6, source, id })
    }

    /// The first piece of a UDP datagram, of [`FIRST`] bytes.
    fn udp(self, port: u16) -> Vec<u8> {
        let payload = [0; FIRST - 8];
        if self.ipv6 {
            let ip = frame().eth().ipv6(self.source, HOST6);
            let udp = ip.fragment_header(self.id.into(), 0, true).udp(4000, port);
            udp.length(4000).payload(payload).build()
        } else {
            let ip = frame().eth().ipv4(self.source, HOST).fragment(self.id, 0, true);
            ip.udp(4000, port).length(4000).payload(payload).build()
        }
    }

    /// The first piece of a TCP segment: a bare SYN without options, 20 bytes.
    fn syn(self, port: u16) -> Vec<u8> {
        if self.ipv6 {
            let ip = frame().eth().ipv6(self.source, HOST6);
            ip.fragment_header(self.id.into(), 0, true).tcp(4000, port).syn().build()
        } else {
            let ip = frame().eth().ipv4(self.source, HOST).fragment(self.id, 0, true);
            ip.tcp(4000, port).syn().build()
        }
    }

    /// A piece of `length` bytes at `offset` blocks.
    fn later(self, protocol: u8, offset: u16, more: bool, length: usize) -> Vec<u8> {
        // It looks like an admitted SYN, where it is long enough, and is none.
        let mut inside = frame().tcp(4000, 22).syn().build();
        inside.resize(length, 0);
        if self.ipv6 {
            let ip = frame().eth().ipv6(self.source, HOST6);
            let ip = ip.fragment_header(self.id.into(), offset, more);
            ip.next_header(protocol).payload(inside).build()
        } else {
            let ip = frame().eth().ipv4(self.source, HOST).fragment(self.id, offset, more);
            ip.protocol(protocol).payload(inside).build()
        }
    }

    /// [`later`](Self::later), of UDP and 16 bytes.
    fn next(self, offset: u16, more: bool) -> Vec<u8> {
        self.later(17, offset, more, 16)
    }

    fn name(self) -> &'static str {
        if self.ipv6 { "IPv6" } else { "IPv4" }
    }
}

const OPEN: &str = "[[rule]]\nname = \"open\"\nports = [\"tcp/22\", \"udp/22\"]\n[[rule]]\nname = \"others\"\nports = [\"udp/24\"]\nfrom = [\"192.0.2.7\", \"2001:db8:7::7\"]\n";

#[test]
fn later_ones_follow_their_first() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        let mut id = 0;
        for (port, expected) in [
            (22, Expected::rule("open")),
            (23, Reason::PortClosed.into()),
            (24, Reason::SourceNotAllowed.into()),
        ] {
            id += 1;
            for datagram in Datagram::both(id) {
                let name = format!("{} to port {port}", datagram.name());
                kernel.expect(
                    format!("{name}: unknown"),
                    &datagram.next(3, true),
                    Reason::Fragment,
                );
                kernel.expect(format!("{name}: the first"), &datagram.udp(port), expected);
                kernel.expect(format!("{name}: the second"), &datagram.next(3, true), expected);
                // The next header of later fragments means nothing in IPv6.
                let protocol = if datagram.ipv6 { 60 } else { 17 };
                let third = datagram.later(protocol, 5, true, 8);
                kernel.expect(format!("{name}: the third"), &third, expected);
                let last = datagram.later(17, 6, false, 5);
                kernel.expect(format!("{name}: the last"), &last, expected);
                // Complete: there is nothing more to follow.
                kernel.expect(
                    format!("{name}: behind it"),
                    &datagram.next(9, true),
                    Reason::Fragment,
                );
                kernel.expect(format!("{name}: the last, again"), &last, Reason::Fragment);
                // The identification is free again.
                kernel.expect(
                    format!("{name}: another first"),
                    &datagram.udp(22),
                    Expected::rule("open"),
                );
                kernel.expect(
                    format!("{name}: and its second"),
                    &datagram.next(3, true),
                    Expected::rule("open"),
                );
            }
        }
        for datagram in Datagram::both(100) {
            let name = datagram.name();
            kernel.expect(format!("{name}: a SYN"), &datagram.syn(22), Expected::rule("open"));
            let later = datagram.later(6, 3, false, 9);
            kernel.expect(format!("{name}: behind a SYN"), &later, Expected::rule("open"));
        }
        // Another datagram's: source, identification, and in IPv4 the protocol.
        let [v4, v6] = Datagram::both(200);
        kernel.expect("the first", &v4.udp(22), Expected::rule("open"));
        kernel.expect("the first, IPv6", &v6.udp(22), Expected::rule("open"));
        for (what, other) in [
            ("another identification", Datagram { id: 201, ..v4 }),
            ("another identification, IPv6", Datagram { id: 201, ..v6 }),
            ("another source", Datagram { source: "203.0.113.10", ..v4 }),
            ("another source, IPv6", Datagram { source: "2001:db8:9::a", ..v6 }),
        ] {
            kernel.expect(what, &other.next(3, true), Reason::Fragment);
        }
        kernel.expect("another protocol", &v4.later(6, 3, true, 16), Reason::Fragment);
        kernel.expect("its own", &v4.next(3, true), Expected::rule("open"));
    });
}

#[test]
fn overlapping_and_out_of_order_ones_drop() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        for datagram in Datagram::both(7) {
            let name = datagram.name();
            kernel.expect(format!("{name}: the first"), &datagram.udp(22), Expected::rule("open"));
            for (what, offset, more, length, follows) in [
                ("over the ports' checksum", 1, true, 8, false),
                ("over the payload", 2, false, 8, false),
                ("empty", 3, true, 0, false),
                ("behind a gap", 5, true, 16, true),
                ("in the gap, late", 3, true, 16, false),
                ("the same again", 5, true, 16, false),
                ("half over it", 6, true, 16, false),
                ("behind it", 7, true, 8, true),
                ("the last", 10, false, 3, true),
                ("behind the last", 11, true, 8, false),
                ("far behind the last", 0x1ff0, false, 8, false),
            ] {
                let expected =
                    if follows { Expected::rule("open") } else { Reason::Fragment.into() };
                let piece = datagram.later(17, offset, more, length);
                kernel.expect(format!("{name}: {what}"), &piece, expected);
            }
        }
        for datagram in Datagram::both(8) {
            // A SYN of 20 bytes: the third block is its own, odd as it is.
            let name = datagram.name();
            kernel.expect(format!("{name}: a SYN"), &datagram.syn(22), Expected::rule("open"));
            for offset in [1, 2] {
                let over = datagram.later(6, offset, false, 16);
                kernel.expect(format!("{name}: over a SYN, at {offset}"), &over, Reason::Fragment);
            }
        }
    });
}

#[test]
fn a_second_first_drops() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        for datagram in Datagram::both(7) {
            let name = datagram.name();
            kernel.expect(format!("{name}: the first"), &datagram.udp(22), Expected::rule("open"));
            for port in [22, 23] {
                kernel.expect(
                    format!("{name}: again, to {port}"),
                    &datagram.udp(port),
                    Reason::Fragment,
                );
            }
            kernel.expect(
                format!("{name}: its later one"),
                &datagram.next(3, true),
                Expected::rule("open"),
            );
            kernel.expect(format!("{name}: and again"), &datagram.udp(22), Reason::Fragment);
        }
        for datagram in Datagram::both(8) {
            let name = datagram.name();
            kernel.expect(format!("{name}: dropped"), &datagram.udp(23), Reason::PortClosed);
            kernel.expect(
                format!("{name}: then to an open port"),
                &datagram.udp(22),
                Reason::Fragment,
            );
            kernel.expect(
                format!("{name}: its later one"),
                &datagram.next(3, false),
                Reason::PortClosed,
            );
        }
    });
}

#[test]
fn it_is_forgotten_after_thirty_seconds() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        let datagrams = Datagram::both(7);
        for datagram in datagrams {
            kernel.expect("the first", &datagram.udp(22), Expected::rule("open"));
            kernel.expect("the second", &datagram.next(3, true), Expected::rule("open"));
        }
        kernel.wait(Duration::from_millis(30_100));
        for datagram in datagrams {
            kernel.expect("too late", &datagram.next(5, true), Reason::Fragment);
            kernel.expect("another first", &datagram.udp(23), Reason::PortClosed);
            kernel.expect("and its second", &datagram.next(3, true), Reason::PortClosed);
        }
    });
}

#[test]
fn lists_and_bans_come_first() {
    with_kernel(|kernel| {
        let listed = "[sources]\ntrusted = [\"192.0.2.1\"]\ndenied = [\"192.0.2.129\"]\n";
        kernel.policy(&format!("{listed}{OPEN}"));
        for (source, expected) in [("192.0.2.1", Reason::Trusted), ("192.0.2.129", Reason::Denied)]
        {
            let datagram = Datagram { ipv6: false, source, id: 7 };
            // It needs no entry: each says the same, in any order.
            for _ in 0..2 {
                kernel.expect(format!("first, {source}"), &datagram.udp(23), expected);
                kernel.expect(format!("later, {source}"), &datagram.next(1, true), expected);
            }
        }
        for datagram in Datagram::both(7) {
            kernel.expect("the first", &datagram.udp(22), Expected::rule("open"));
            kernel.ban(datagram.source, None);
            kernel.expect("banned meanwhile", &datagram.next(3, true), Reason::Banned);
            kernel.unban(datagram.source);
            kernel.expect("no longer", &datagram.next(3, true), Expected::rule("open"));
        }
    });
}

#[test]
fn later_ones_pay_as_their_first_did() {
    with_kernel(|kernel| {
        kernel.policy("[[rule]]\nname = \"packets\"\nports = [\"udp/22\", \"tcp/22\"]\n[rule.per_source]\npackets = { rate = \"1/h\", burst = 3 }\n[[rule]]\nname = \"bytes\"\nports = [\"udp/23\"]\n[rule.per_source]\nbytes = { rate = \"1/h\", burst = 200 }\n[icmp]\necho = { rate = \"1/h\", burst = 2 }\n");
        let (packets, bytes) = (Expected::rule("packets"), Expected::rule("bytes"));
        for datagram in Datagram::both(7) {
            let name = datagram.name();
            let refused = Expected::refused("packets", Reason::PacketRate);
            kernel.expect(format!("{name}: 1"), &datagram.udp(22), packets);
            kernel.expect(format!("{name}: 2"), &datagram.next(3, true), packets);
            kernel.expect(format!("{name}: 3"), &datagram.next(5, true), packets);
            kernel.expect(format!("{name}: 4"), &datagram.next(7, true), refused);
            // Where the first is refused, so are the others, and nothing is charged.
            let datagram = Datagram { id: 8, ..datagram };
            kernel.expect(format!("{name}: refused"), &datagram.udp(22), refused);
            kernel.expect(format!("{name}: after it"), &datagram.next(3, false), refused);
            // A bare SYN pays otherwise; what follows it pays as packets do.
            let datagram = Datagram { id: 9, ..datagram };
            kernel.expect(format!("{name}: a SYN"), &datagram.syn(22), packets);
            kernel.expect(format!("{name}: behind it"), &datagram.later(6, 3, false, 8), refused);
        }
        let [datagram, _] = Datagram::both(10);
        // 14 + 20 + 24, then 14 + 20 + 16 each: 58 + 50 + 50 of 200.
        kernel.expect("bytes: 1", &datagram.udp(23), bytes);
        kernel.expect("bytes: 2", &datagram.next(3, true), bytes);
        kernel.expect("bytes: 3", &datagram.next(5, true), bytes);
        kernel.expect(
            "bytes: 4",
            &datagram.next(7, true),
            Expected::refused("bytes", Reason::ByteRate),
        );

        let ping = frame().eth().ipv4(PEER, HOST).fragment(11, 0, true).ping(1, 1).build();
        let datagram = Datagram { id: 11, ..datagram };
        kernel.expect("a long ping", &ping, Reason::Icmp);
        kernel.expect("its second", &datagram.later(1, 3, true, 16), Reason::Icmp);
        kernel.expect("its third", &datagram.later(1, 5, true, 16), Reason::IcmpRate);
    });
}

#[test]
fn monitor_mode_lets_them_follow() {
    with_kernel(|kernel| {
        let limited = "[[rule]]\nname = \"limited\"\nmode = \"monitor\"\nports = [\"udp/22\"]\n[rule.per_source]\npackets = { rate = \"1/h\", burst = 1 }\n";
        kernel.policy(limited);
        let refused = Expected::refused("limited", Reason::PacketRate).monitored();
        for datagram in Datagram::both(7) {
            kernel.expect("within", &datagram.udp(22), Expected::rule("limited"));
            kernel.expect("its second is too much", &datagram.next(3, true), refused);
            let datagram = Datagram { id: 8, ..datagram };
            kernel.expect("too much", &datagram.udp(22), refused);
            kernel.expect("its second", &datagram.next(3, true), refused);
        }
        kernel.policy("mode = \"monitor\"\n");
        let closed = Expected::from(Reason::PortClosed).monitored();
        for datagram in Datagram::both(9) {
            kernel.expect("closed", &datagram.udp(22), closed);
            kernel.expect("its second", &datagram.next(3, true), closed);
            let unknown = Expected::from(Reason::Fragment).monitored();
            kernel.expect("overlapping", &datagram.next(3, true), unknown);
            kernel.expect("a second first", &datagram.udp(22), unknown);
        }
    });
}

#[test]
fn a_change_of_policy_does_not_tear_a_datagram() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        let datagrams = Datagram::both(7);
        for datagram in datagrams {
            kernel.expect("the first", &datagram.udp(22), Expected::rule("open"));
        }
        // The rule is another's number now, and then its own again.
        for policy in ["[[rule]]\nname = \"new\"\nports = [\"udp/1\"]\n", OPEN] {
            kernel.policy(policy);
            let offset = if policy == OPEN { 5 } else { 3 };
            for datagram in datagrams {
                kernel.expect("later", &datagram.next(offset, true), Expected::rule("open"));
            }
        }
    });
}

#[test]
fn nothing_is_longer_than_a_datagram_can_be() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        for datagram in Datagram::both(7) {
            kernel.expect("the first", &datagram.udp(22), Expected::rule("open"));
            let name = datagram.name();
            for (offset, length, fits) in
                [(0x1fff, 8, false), (0x1fff, 7, true), (0x1ff0, 127, true), (0x1ff0, 128, false)]
            {
                let expected = if fits { Reason::Fragment } else { Reason::Malformed };
                let piece = Datagram { id: 8, ..datagram }.later(17, offset, false, length);
                kernel.expect(format!("{name}: {length} at {offset}"), &piece, expected);
            }
        }
    });
}

/// First fragments of different datagrams from all over the world.
fn flood(port: u16) -> impl Iterator<Item = Vec<u8>> {
    let mut bytes = Datagram { ipv6: false, source: PEER, id: 0 }.udp(port);
    (1_u32..).map(move |number| {
        // Identification and source; the header's checksum is the stack's business.
        bytes[18..20].copy_from_slice(&(number as u16).to_be_bytes());
        bytes[26..30].copy_from_slice(
            &(0x0b00_0000 + number.wrapping_mul(0x9e37) % (1 << 24)).to_be_bytes(),
        );
        bytes.clone()
    })
}

#[test]
fn no_flood_pushes_out_what_is_fresh() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        let open = Expected::rule("open");
        let begun = Instant::now();
        for datagram in Datagram::both(7) {
            kernel.expect("the first", &datagram.udp(22), open);
        }
        // So many that every bucket is full of datagrams that passed.
        for bytes in flood(22).take(1_000_000) {
            kernel.run(&bytes, 1);
        }
        for bytes in flood(22).take(100_000) {
            kernel.model_passes(&bytes, 1);
        }
        let (used, capacity) = kernel.plane.fragments().expect("the table can be read");
        let full = kernel.plane.fragments_full().expect("the counters can be read");
        println!(
            "{:?} for a million: {used} of {capacity} entries, no room {full} times",
            begun.elapsed()
        );
        if begun.elapsed() > Duration::from_secs(29) {
            println!("skipped: this machine takes longer for a flood than an entry lives");
            return;
        }
        kernel.check(used == capacity, format!("{used} of {capacity} entries are in use"));
        kernel.check(full == 1_000_002 - u64::from(capacity), format!("no room {full} times"));
        let _flood = kernel.added();
        for datagram in Datagram::both(7) {
            kernel.expect("it follows after the flood", &datagram.next(3, true), open);
        }
        for datagram in Datagram::both(8) {
            // A newcomer loses: its first is judged, the rest has nothing to follow.
            kernel.run(&datagram.udp(22), 1);
            kernel.model_passes(&datagram.udp(22), 1);
            let passed = kernel.added_for(Reason::Rule);
            kernel.check(passed == 1, "a newcomer's first passes");
            kernel.expect("a newcomer's second", &datagram.next(3, true), Reason::Fragment);
        }
        let after = kernel.plane.fragments_full().expect("the counters can be read");
        kernel.check(after == full + 2, format!("newcomers are counted: {after} after {full}"));
    });
}

#[test]
fn what_drops_makes_way_for_what_passes() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        // To a closed port: it fills the table as well.
        for bytes in flood(23).take(100_000) {
            kernel.run(&bytes, 1);
            kernel.model_passes(&bytes, 1);
        }
        let (used, capacity) = kernel.plane.fragments().expect("the table can be read");
        kernel.check(used == capacity, format!("{used} of {capacity} entries are in use"));
        let _flood = kernel.added();
        let open = Expected::rule("open");
        for datagram in Datagram::both(7) {
            kernel.expect("the first", &datagram.udp(22), open);
            kernel.expect("its second", &datagram.next(3, true), open);
        }
        for bytes in flood(23).skip(100_000).take(50_000) {
            kernel.run(&bytes, 1);
            kernel.model_passes(&bytes, 1);
        }
        let _flood = kernel.added();
        for datagram in Datagram::both(7) {
            kernel.expect("its last", &datagram.next(5, false), open);
        }
    });
}
