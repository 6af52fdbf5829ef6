//! Bytes that are known, bytes that `etherparse` writes too, and bytes that lie.

use etherparse::{PacketBuilder, SlicedPacket, TcpOptionElement};

use super::{checksum, frame};

const A: [u8; 6] = [2, 0, 0, 0, 0, 2];
const B: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SOURCE: [u8; 4] = [203, 0, 113, 9];
const DESTINATION: [u8; 4] = [198, 51, 100, 1];
const SOURCE6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
const DESTINATION6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0x51, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

#[test]
fn checksum_of_the_example_in_rfc_1071() {
    let words = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(checksum(&words), !0xddf2);
    assert_eq!(checksum(&[]), 0xffff);
    assert_eq!(checksum(&[0x12]), !0x1200, "an odd byte is the high one");
    assert_eq!(checksum(&[0xff; 65_536]), 0, "carries are folded until none is left");
}

#[test]
fn checksum_of_a_known_ipv4_header() {
    // 192.168.0.1 to 192.168.0.199, UDP, as captured: its checksum is b861.
    let header =
        frame().ipv4("192.168.0.1", "192.168.0.199").id(0).protocol(17).total_length(115).build();
    let known = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];
    assert_eq!(header, known);
}

/// What `etherparse` writes for the same headers and this payload.
macro_rules! written {
    ($builder:expr, $payload:expr) => {{
        let mut bytes = Vec::new();
        $builder.write(&mut bytes, $payload).expect("a Vec takes all");
        bytes
    }};
}

#[test]
fn tcp_over_ipv4_is_what_etherparse_writes() {
    let options = [TcpOptionElement::MaximumSegmentSize(1460), TcpOptionElement::Noop];
    let theirs = PacketBuilder::ethernet2(A, B)
        .ipv4(SOURCE, DESTINATION, 64)
        .tcp(4000, 22, 1, 65_535)
        .syn()
        .options(&options)
        .expect("options fit");
    let ours = frame().eth().ipv4("203.0.113.9", "198.51.100.1").id(0).tcp(4000, 22).syn();
    // etherparse ends its options with zeroes, as here.
    let ours = ours.options([2, 4, 5, 180, 1]).build();
    assert_eq!(ours, written!(theirs, &[]));
}

#[test]
fn tcp_over_ipv6_with_an_odd_payload_is_what_etherparse_writes() {
    let theirs = PacketBuilder::ethernet2(A, B)
        .ipv6(SOURCE6, DESTINATION6, 64)
        .tcp(4000, 22, 7, 512)
        .ack(9)
        .psh()
        .fin();
    let ours = frame().eth().ipv6("2001:db8::9", "2001:db8:51::1").tcp(4000, 22);
    let ours =
        ours.sequence(7).window(512).ack().acknowledgement(9).psh().fin().payload(*b"odd").build();
    assert_eq!(ours, written!(theirs, b"odd"));
}

#[test]
fn udp_behind_one_and_two_tags_is_what_etherparse_writes() {
    let id = |id| etherparse::VlanId::try_new(id).expect("twelve bits");
    let theirs = PacketBuilder::ethernet2(A, B)
        .single_vlan(id(5))
        .ipv4(SOURCE, DESTINATION, 1)
        .udp(53, 1024);
    let ours = frame()
        .eth()
        .vlan(5)
        .ipv4(SOURCE, DESTINATION)
        .id(0)
        .ttl(1)
        .udp(53, 1024)
        .payload(*b"four");
    assert_eq!(ours.build(), written!(theirs, b"four"));

    let theirs = PacketBuilder::ethernet2(A, B)
        .double_vlan(id(7), id(5))
        .ipv6(SOURCE6, DESTINATION6, 64)
        .udp(53, 1024);
    let ours = frame().eth().vlan_tag(crate::Tag::Service, 7).vlan(5);
    let ours = ours.ipv6(SOURCE6, DESTINATION6).udp(53, 1024).payload(*b"x").build();
    assert_eq!(ours, written!(theirs, b"x"));
}

#[test]
fn echo_requests_are_what_etherparse_writes() {
    let theirs =
        PacketBuilder::ethernet2(A, B).ipv4(SOURCE, DESTINATION, 64).icmpv4_echo_request(3, 4);
    let ours = frame().eth().ipv4(SOURCE, DESTINATION).id(0).ping(3, 4).payload(*b"hello").build();
    assert_eq!(ours, written!(theirs, b"hello"));

    let theirs =
        PacketBuilder::ethernet2(A, B).ipv6(SOURCE6, DESTINATION6, 64).icmpv6_echo_request(3, 4);
    let ours = frame().eth().ipv6(SOURCE6, DESTINATION6).pingv6(3, 4).payload(*b"hello").build();
    assert_eq!(ours, written!(theirs, b"hello"));
}

#[test]
fn a_chain_of_extension_headers_is_read_to_its_end() {
    let bytes = frame()
        .eth()
        .ipv6(SOURCE6, DESTINATION6)
        .hop_by_hop([5, 2, 0, 0])
        .destination_options([])
        .routing(4, 0, [0; 20])
        .fragment_header(77, 0, false)
        .authentication(1, 2, [9; 12])
        .destination_options([1, 3, 0, 0, 0])
        .udp(1, 2)
        .payload(*b"end")
        .build();
    let packet = SlicedPacket::from_ethernet(&bytes).expect("every length is right");
    let Some(etherparse::NetSlice::Ipv6(ip)) = &packet.net else { panic!("not IPv6: {packet:?}") };
    assert_eq!(usize::from(ip.header().payload_length()), bytes.len() - 14 - 40);
    let Some(etherparse::TransportSlice::Udp(udp)) = &packet.transport else {
        panic!("not UDP: {packet:?}")
    };
    assert_eq!((udp.source_port(), udp.destination_port(), udp.payload()), (1, 2, &b"end"[..]));
    let header = udp.to_header();
    let sum = header.calc_checksum_ipv6(&ip.header().to_header(), udp.payload());
    assert_eq!(sum.expect("short"), udp.checksum());
}

#[test]
fn extension_headers_have_the_length_of_their_kind() {
    // Header, kind, and their second byte.
    let second = |bytes: Vec<u8>| bytes[41];
    let ip = || frame().ipv6(SOURCE6, DESTINATION6);
    assert_eq!(second(ip().hop_by_hop([0; 6]).build()), 0);
    assert_eq!(second(ip().hop_by_hop([0; 7]).build()), 1);
    assert_eq!(second(ip().routing(0, 1, [0; 20]).build()), 2);
    assert_eq!(second(ip().authentication(1, 1, []).build()), 2, "16 bytes: four words less two");
    assert_eq!(second(ip().authentication(1, 1, [0; 12]).build()), 4);
    assert_eq!(second(ip().mobility(5, []).build()), 0);
    assert_eq!(
        ip().fragment_header(0x0102_0304, 3, true).build()[40..],
        [253, 0, 0, 25, 1, 2, 3, 4]
    );
    assert_eq!(
        ip().destination_options([9]).build()[40..],
        [253, 0, 9, 1, 3, 0, 0, 0],
        "filled with PadN"
    );
    assert_eq!(ip().destination_options([9; 5]).build()[47], 0, "filled with Pad1");
}

#[test]
fn ipv4_options_lengthen_the_header() {
    let bytes = frame().ipv4(SOURCE, DESTINATION).options([7, 4, 4, 0, 0]).tcp(1, 2).syn().build();
    assert_eq!(bytes[0], 0x47);
    assert_eq!(bytes.len(), 20 + 8 + 20);
    assert_eq!(checksum(&bytes[..28]), 0, "a sum with its checksum is zero");
    let packet = SlicedPacket::from_ip(&bytes).expect("every length is right");
    assert!(matches!(packet.transport, Some(etherparse::TransportSlice::Tcp(_))), "{packet:?}");
}

#[test]
fn fragments_tell_their_place() {
    let first = frame().ipv4(SOURCE, DESTINATION).fragment(7, 0, true).udp(1, 2).build();
    assert_eq!((&first[4..8], first[9]), (&[0, 7, 0x20, 0][..], 17));
    let later = frame()
        .ipv4(SOURCE, DESTINATION)
        .fragment(7, 185, false)
        .protocol(17)
        .payload([0; 8])
        .build();
    assert_eq!((&later[4..8], later[9]), (&[0, 7, 0, 185][..], 17));
}

#[test]
fn pppoe_and_arp_have_their_form() {
    let bytes = frame().eth().pppoe(0x1234).ipv4(SOURCE, DESTINATION).tcp(1, 2).build();
    assert_eq!(bytes[12..22], [0x88, 0x64, 0x11, 0, 0x12, 0x34, 0, 42, 0, 0x21]);
    let bytes = frame().eth().pppoe(1).ipv6(SOURCE6, DESTINATION6).build();
    assert_eq!(bytes[18..22], [0, 42, 0, 0x57]);
    let bytes = frame().eth().arp_request(A, SOURCE, DESTINATION).build();
    let packet = SlicedPacket::from_ethernet(&bytes).expect("every length is right");
    let Some(etherparse::NetSlice::Arp(arp)) = packet.net else { panic!("not ARP: {packet:?}") };
    assert_eq!(
        (arp.sender_protocol_addr(), arp.target_protocol_addr()),
        (&SOURCE[..], &DESTINATION[..])
    );
}

#[test]
fn what_is_set_is_written_as_it_is() {
    let ip = frame().ipv4(SOURCE, DESTINATION);
    let bytes =
        ip.clone().version(5).header_words(4).total_length(9).checksum(0xbeef).tos(1).build();
    assert_eq!(bytes[..4], [0x54, 1, 0, 9]);
    assert_eq!(bytes[10..12], [0xbe, 0xef]);
    assert_eq!(ip.clone().flags_and_offset(0x8001).build()[6..8], [0x80, 1]);

    let tcp = ip.clone().tcp(1, 2).data_offset(4).checksum(0x1234).flags(0xff).urgent(5).build();
    assert_eq!(tcp[32..40], [0x40, 0xff, 0xff, 0xff, 0x12, 0x34, 0, 5]);
    let udp = ip.clone().udp(1, 2).length(7).checksum(0).build();
    assert_eq!(udp[24..28], [0, 7, 0, 0]);
    assert_eq!(
        ip.icmp(3, 4).checksum(1).rest([0, 0, 5, 220]).build()[20..],
        [3, 4, 0, 1, 0, 0, 5, 220]
    );

    let ip = frame().ipv6(SOURCE6, DESTINATION6);
    let bytes = ip
        .clone()
        .version(7)
        .class_and_flow(0xab, 0xc_dead)
        .payload_length(1)
        .next_header(59)
        .build();
    assert_eq!(bytes[..8], [0x7a, 0xbc, 0xde, 0xad, 0, 1, 59, 64]);
    assert_eq!(ip.hop_by_hop([]).length(200).next_header(6).build()[40..42], [6, 200]);
    assert_eq!(frame().eth().ethertype(46).payload([1]).build()[12..], [0, 46, 1]);
}

#[test]
fn both_families_are_written_alike() {
    let four = frame().eth().ip("203.0.113.9", "198.51.100.1").tcp(1, 2).syn().build();
    assert_eq!(four, frame().eth().ipv4(SOURCE, DESTINATION).tcp(1, 2).syn().build());
    let six = frame().eth().ip("2001:db8::9", "2001:db8:51::1").udp(1, 2).build();
    assert_eq!(six, frame().eth().ipv6(SOURCE6, DESTINATION6).udp(1, 2).build());
}

#[test]
fn trailer_and_padding_are_outside_of_every_length() {
    let bytes =
        frame().eth().ipv4(SOURCE, DESTINATION).tcp(1, 2).trailer([0xaa; 3]).pad_to(60).build();
    assert_eq!(bytes.len(), 60);
    assert_eq!(bytes[16..18], [0, 40], "total length");
    assert_eq!(bytes[54..], [0xaa, 0xaa, 0xaa, 0, 0, 0]);
}

#[test]
fn a_udp_checksum_of_zero_is_written_as_ffff() {
    // The payload is the sum that is missing to all ones.
    let plain = frame().ipv4(SOURCE, DESTINATION).udp(1, 2).payload([0, 0]).build();
    let missing = [plain[26], plain[27]];
    let bytes = frame().ipv4(SOURCE, DESTINATION).udp(1, 2).payload(missing).build();
    assert_eq!(bytes[26..28], [0xff, 0xff]);
}

#[test]
#[should_panic(expected = "`198.51.100` is no IPv4 address")]
fn a_wrong_literal_is_named() {
    let _never = frame().ipv4("198.51.100", DESTINATION);
}
