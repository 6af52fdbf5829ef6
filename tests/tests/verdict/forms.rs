//! The forms in which IP comes: tags, PPPoE, no Ethernet at all, options,
//! padding, frames in several buffers; and what is not IP.

use filter_common::Reason;
use nodewall_tests::verdict::{Expected, with_kernel};
use sandbox::{Tag, packet::frame};

use crate::common::{HOST, HOST6, PEER, PEER6};

const POLICY: &str = "[[rule]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n";

#[test]
fn tags() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        for (name, tag) in [("802.1Q", Tag::Customer), ("802.1ad", Tag::Service)] {
            for control in [0, 1, 0x0fff, 0xffff] {
                let one = || frame().eth().vlan_tag(tag, control);
                let what = |text: &str| format!("{text}, {name} {control:#06x}");
                let v4 = one().ipv4(PEER, HOST).tcp(4000, 22).syn().build();
                kernel.expect(what("one tag, IPv4"), &v4, Expected::rule("ssh"));
                let v6 = one().ipv6(PEER6, HOST6).tcp(4000, 22).syn().build();
                kernel.expect(what("one tag, IPv6"), &v6, Expected::rule("ssh"));
                let closed = one().ipv4(PEER, HOST).tcp(4000, 23).syn().build();
                kernel.expect(what("one tag, closed port"), &closed, Reason::PortClosed);
                let other = one().ethertype(0x88cc).payload([0; 46]).build();
                kernel.expect(what("one tag, LLDP"), &other, Reason::NotIp);
                let arp = one().arp_request([2, 0, 0, 0, 0, 2], PEER, HOST).build();
                kernel.expect(what("one tag, ARP"), &arp, Reason::Essential);
                for (name, inner) in [("802.1Q", Tag::Customer), ("802.1ad", Tag::Service)] {
                    let two = || one().vlan_tag(inner, control);
                    let what = |text: &str| format!("{}, in it {name}", what(text));
                    let v4 = two().ipv4(PEER, HOST).tcp(4000, 22).syn().build();
                    kernel.expect(what("two tags, IPv4"), &v4, Expected::rule("ssh"));
                    let v6 = two().ipv6(PEER6, HOST6).tcp(4000, 22).syn().build();
                    kernel.expect(what("two tags, IPv6"), &v6, Expected::rule("ssh"));
                    let pppoe = two().pppoe(7).ipv4(PEER, HOST).tcp(4000, 22).syn().build();
                    kernel.expect(what("two tags, PPPoE"), &pppoe, Expected::rule("ssh"));
                    let other = two().ethertype(0x88cc).payload([0; 46]).build();
                    kernel.expect(what("two tags, LLDP"), &other, Reason::NotIp);
                    let three =
                        two().vlan_tag(tag, control).ipv4(PEER, HOST).tcp(4000, 22).syn().build();
                    kernel.expect(what("three tags"), &three, Reason::Malformed);
                    let hidden =
                        two().vlan_tag(tag, control).ethertype(0x88cc).payload([0; 46]).build();
                    kernel.expect(what("three tags, LLDP"), &hidden, Reason::Malformed);
                }
            }
        }
        let four = frame().eth().vlan(0).vlan(0).vlan(0).vlan(0);
        kernel.expect(
            "four tags",
            &four.ipv4(PEER, HOST).tcp(4000, 22).syn().build(),
            Reason::Malformed,
        );
        let six = frame().eth().vlan(0).vlan(0).vlan(0).vlan(0).vlan(0).vlan(0);
        kernel.expect(
            "six tags",
            &six.ipv4(PEER, HOST).tcp(4000, 22).syn().build(),
            Reason::Malformed,
        );
    });
}

/// The protocol number of PPP behind a PPPoE header in its form of one byte.
fn compressed(protocol: u8, ip: &[u8]) -> Vec<u8> {
    let mut bytes = frame().eth().ethertype(0x8864).payload([0x11, 0, 0, 7]).build();
    bytes.extend(u16::try_from(ip.len() + 1).unwrap_or_default().to_be_bytes());
    bytes.push(protocol);
    bytes.extend(ip);
    bytes
}

#[test]
fn pppoe() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        let session = || frame().eth().pppoe(7);
        for (port, expected) in [(22, Expected::rule("ssh")), (23, Reason::PortClosed.into())] {
            let v4 = session().ipv4(PEER, HOST).tcp(4000, port).syn().build();
            kernel.expect(format!("IPv4 in a session, port {port}"), &v4, expected);
            let v6 = session().ipv6(PEER6, HOST6).tcp(4000, port).syn().build();
            kernel.expect(format!("IPv6 in a session, port {port}"), &v6, expected);
            let v4 = frame().ipv4(PEER, HOST).tcp(4000, port).syn().build();
            kernel.expect(format!("IPv4, one byte, port {port}"), &compressed(0x21, &v4), expected);
            let v6 = frame().ipv6(PEER6, HOST6).tcp(4000, port).syn().build();
            kernel.expect(format!("IPv6, one byte, port {port}"), &compressed(0x57, &v6), expected);
            let tagged =
                frame().eth().vlan(7).pppoe(7).ipv4(PEER, HOST).tcp(4000, port).syn().build();
            kernel.expect(format!("a session in a tag, port {port}"), &tagged, expected);
        }
        for protocol in [0x8021, 0x8057, 0xc021, 0xc023, 0xc223] {
            let control = session().ppp_protocol(protocol).payload([1, 1, 0, 4]).build();
            kernel.expect(format!("control protocol {protocol:#06x}"), &control, Reason::NotIp);
        }
        // Multilink, compressed datagrams, Van Jacobson, MPLS, bridging.
        for protocol in [0x003d, 0x00fd, 0x002d, 0x002f, 0x0281, 0x0031, 0x00fb, 0x0041] {
            let data = session().ppp_protocol(protocol).payload([0x45; 60]).build();
            kernel.expect(format!("network data {protocol:#06x}"), &data, Reason::Malformed);
        }
        kernel.expect("multilink, one byte", &compressed(0x3d, &[0x45; 60]), Reason::Malformed);
        let discovery = frame().eth().ethertype(0x8863).payload([0x11, 9, 0, 0, 0, 0]).build();
        kernel.expect("discovery", &discovery, Reason::NotIp);
        let liar = session().ipv4(PEER, HOST).version(6).tcp(4000, 22).syn().build();
        kernel.expect("IPv4 that says it is version 6", &liar, Reason::Malformed);
    });
}

#[test]
fn without_ethernet() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        kernel.loopback(true);
        for (port, expected) in [(22, Expected::rule("ssh")), (23, Reason::PortClosed.into())] {
            let v4 = frame().ipv4(PEER, HOST).tcp(4000, port).syn().build();
            kernel.expect(format!("IPv4, port {port}"), &v4, expected);
            let v6 = frame().ipv6(PEER6, HOST6).tcp(4000, port).syn().build();
            kernel.expect(format!("IPv6, port {port}"), &v6, expected);
        }
        for first in 0..=u8::MAX {
            let version = first >> 4;
            if version != 4 && version != 6 {
                let mut bytes = frame().ipv4(PEER, HOST).tcp(4000, 22).syn().build();
                bytes[0] = first;
                kernel.expect(format!("a first byte of {first:#04x}"), &bytes, Reason::Malformed);
            }
        }
        let ethernet = frame().eth().ipv4(PEER, HOST).tcp(4000, 22).syn().build();
        kernel.expect("an Ethernet frame", &ethernet, Reason::Malformed);
        for length in 0..20 {
            kernel.expect(
                format!("{length} bytes of 0x45"),
                &[0x45_u8; 20][..length],
                Reason::Malformed,
            );
        }
        kernel.loopback(false);
        let v4 = frame().ipv4(PEER, HOST).tcp(4000, 22).syn().build();
        kernel.expect("bare IP where frames have Ethernet headers", &v4, Reason::NotIp);
    });
}

#[test]
fn not_ip() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        let arp = frame().eth().arp_request([2, 0, 0, 0, 0, 2], PEER, HOST).build();
        kernel.expect("ARP", &arp, Reason::Essential);
        kernel.expect(
            "ARP, padded",
            &frame().eth().ethertype(0x0806).pad_to(60).build(),
            Reason::Essential,
        );
        kernel.expect("ARP without a body", &arp[..14], Reason::Essential);
        let inside = frame().ipv4(PEER, HOST).tcp(4000, 22).syn().build();
        // 802.3 lengths, LLDP, EAPOL, MPLS, PTP, RARP, QinQ's other numbers.
        for kind in [
            0, 38, 46, 1500, 0x0600, 0x88cc, 0x888e, 0x8847, 0x8848, 0x88f7, 0x8035, 0x9100,
            0x88e7, 0xffff,
        ] {
            let other = frame().eth().ethertype(kind).payload(inside.clone()).build();
            kernel.expect(format!("ethertype {kind:#06x}"), &other, Reason::NotIp);
            let tagged = frame().eth().vlan(3).ethertype(kind).payload(inside.clone()).build();
            kernel.expect(format!("ethertype {kind:#06x} in a tag"), &tagged, Reason::NotIp);
        }
        // IP in an LLC/SNAP frame: Linux does not take it for IP.
        let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &inside].concat();
        let llc = frame().eth().ethertype(snap.len() as u16).payload(snap).build();
        kernel.expect("LLC with SNAP", &llc, Reason::NotIp);
        for length in 0..14 {
            kernel.expect(format!("{length} bytes"), &arp[..length], Reason::Malformed);
        }
    });
}

#[test]
fn options_and_padding() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        for words in 0..=10_usize {
            for (port, expected) in [(22, Expected::rule("ssh")), (23, Reason::PortClosed.into())] {
                // Where a reader without options would look for the port stands another one.
                let options = [0, 23].repeat(words * 2);
                let v4 =
                    frame().eth().ipv4(PEER, HOST).options(options.clone()).tcp(4000, port).syn();
                kernel.expect(
                    format!("{words} words of options, port {port}"),
                    &v4.build(),
                    expected,
                );
                let tagged =
                    frame().eth().vlan(1).vlan(2).ipv4(PEER, HOST).options(options.clone());
                let tagged = tagged.tcp(4000, port).syn().build();
                kernel.expect(
                    format!("{words} words of options in two tags, port {port}"),
                    &tagged,
                    expected,
                );
                let tcp = frame().eth().ipv4(PEER, HOST).tcp(4000, port).options(options).syn();
                kernel.expect(
                    format!("{words} words of TCP options, port {port}"),
                    &tcp.build(),
                    expected,
                );
            }
        }
        for length in [54, 60, 61, 64, 100, 1514] {
            let v4 = frame().eth().ipv4(PEER, HOST).tcp(4000, 22).syn().pad_to(length).build();
            kernel.expect(format!("IPv4 padded to {length}"), &v4, Expected::rule("ssh"));
            let v6 = frame().eth().ipv6(PEER6, HOST6).udp(4000, 22).pad_to(length).build();
            kernel.expect(format!("IPv6 padded to {length}"), &v6, Reason::PortClosed);
            let trailer = frame()
                .eth()
                .ipv4(PEER, HOST)
                .tcp(4000, 22)
                .syn()
                .trailer(vec![0xff; length])
                .build();
            kernel.expect(format!("a trailer of {length}"), &trailer, Expected::rule("ssh"));
        }
    });
}

/// Above 3,520 bytes the frame is in several buffers: the lengths that IP and
/// UDP tell are still held against the whole, and all bytes are counted.
#[test]
fn frames_in_several_buffers() {
    with_kernel(|kernel| {
        kernel.policy("[[rule]]\nname = \"any\"\nports = [\"tcp/22\", \"udp/22\"]\n[rule.per_source]\nbytes = { rate = \"1GB/s\" }\n");
        for length in [1514, 3518, 3519, 3520, 3521, 4095, 4096, 4097, 9014, 16_000, 60_000] {
            let rest = vec![0x5a; length - 14 - 20 - 8];
            let udp = frame().eth().ipv4(PEER, HOST).udp(4000, 22).payload(rest.clone());
            kernel.expect(format!("UDP, {length} bytes"), &udp.build(), Expected::rule("any"));
            let closed = frame().eth().ipv4(PEER, HOST).udp(4000, 23).payload(rest.clone()).build();
            kernel.expect(format!("UDP, {length} bytes, closed"), &closed, Reason::PortClosed);
            let short =
                frame().eth().ipv4(PEER, HOST).total_length((length - 14 + 1) as u16).udp(4000, 22);
            let short = short.payload(rest).build();
            kernel.expect(format!("one byte more than {length}"), &short, Reason::Malformed);
            let rest = vec![0x5a; length - 14 - 40 - 8];
            let udp = frame().eth().ipv6(PEER6, HOST6).udp(4000, 22).payload(rest.clone()).build();
            kernel.expect(format!("UDP over IPv6, {length} bytes"), &udp, Expected::rule("any"));
            let short =
                frame().eth().ipv6(PEER6, HOST6).payload_length((length - 14 - 40 + 1) as u16);
            let short = short.udp(4000, 22).payload(rest).build();
            kernel.expect(format!("one byte more than {length}, IPv6"), &short, Reason::Malformed);
        }
    });
}
