use filter_common::read::{self, Parsed};

use super::*;
use crate::capture::Link;

fn packet(text: &str) -> Packet {
    match text.parse() {
        Ok(packet) => packet,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// What the filter's own reader finds in the frame.
fn parsed(packet: &Packet, link: Link) -> Parsed {
    let frame = match packet.frame(link) {
        Ok(frame) => frame,
        Err(error) => panic!("{packet}: {error}"),
    };
    let mut parsed = Parsed::default();
    let reason = read::packet(frame.as_slice(), link == Link::RawIp, &mut parsed);
    assert_eq!(reason, filter_common::Reason::Rule, "{packet}: {frame:02x?}");
    parsed
}

#[test]
fn a_packet_reads_as_it_is_written() {
    for (text, shown) in [
        ("tcp 198.51.100.9:4000 > 203.0.113.5:22 syn", ""),
        ("eth0: tcp 198.51.100.9:4000 > 203.0.113.5:22 syn ack len 60", ""),
        ("tcp 198.51.100.9:4000>203.0.113.5:22", "tcp 198.51.100.9:4000 > 203.0.113.5:22 syn"),
        ("TCP 198.51.100.9 > 203.0.113.5:22 RST", "tcp 198.51.100.9:49152 > 203.0.113.5:22 rst"),
        ("tcp 198.51.100.9:1 > 203.0.113.5:22 none", ""),
        (
            "  wg0:  udp [2001:db8::1]:4000  >  [2001:db8::2]:14626 ",
            "wg0: udp [2001:db8::1]:4000 > [2001:db8::2]:14626",
        ),
        (
            "udp 2001:db8::1 > [2001:db8::2]:53 len 1400",
            "udp [2001:db8::1]:49152 > [2001:db8::2]:53 len 1400",
        ),
        ("icmp 198.51.100.9 > 203.0.113.5", "icmp 198.51.100.9 > 203.0.113.5 type 8 code 0"),
        (
            "icmp 198.51.100.9 > 203.0.113.5 echo len 98",
            "icmp 198.51.100.9 > 203.0.113.5 type 8 code 0 len 98",
        ),
        (
            "icmp 198.51.100.9 > 203.0.113.5 too-big",
            "icmp 198.51.100.9 > 203.0.113.5 type 3 code 4",
        ),
        (
            "icmp6 2001:db8::1 > [2001:db8::2] echo",
            "icmp6 2001:db8::1 > 2001:db8::2 type 128 code 0",
        ),
        ("icmp6 fe80::1 > ff02::1 type 134 code 0", ""),
        ("udp 198.51.100.9:4 > 203.0.113.5:5 frag 7,0,mf", ""),
        (
            "udp 198.51.100.9 > 203.0.113.5 frag 7,1480,0",
            "udp 198.51.100.9 > 203.0.113.5 frag 7,1480",
        ),
        (
            "udp 198.51.100.9:4 > 203.0.113.5:5 frag 7,1480,1",
            "udp 198.51.100.9 > 203.0.113.5 frag 7,1480,mf",
        ),
        ("tcp [2001:db8::1]:4 > [2001:db8::2]:5 ack frag 4294967295,0", ""),
    ] {
        let read = packet(text);
        let shown = if shown.is_empty() { text } else { shown };
        assert_eq!(read.to_string(), shown);
        assert_eq!(packet(shown).to_string(), shown, "once more");
        for link in [Link::Ethernet, Link::RawIp] {
            parsed(&read, link);
        }
    }
}

#[test]
fn the_filter_reads_in_the_frame_what_was_written() {
    let found = parsed(&packet("tcp 198.51.100.9:4000 > 203.0.113.5:22 syn ack"), Link::Ethernet);
    assert_eq!((found.flow.source_port, found.flow.destination_port), (4000, 22));
    assert_eq!(IpAddr::from(found.flow.source), "198.51.100.9".parse::<IpAddr>().unwrap());
    assert_eq!((found.tcp.flags, found.tcp.has_data), (0x12, false));
    let found = parsed(&packet("icmp6 fe80::1 > ff02::1 type 134"), Link::Ethernet);
    assert_eq!((found.icmp.kind, found.hop_limit), (134, 255));
    let found = parsed(&packet("udp 2001:db8::1 > [2001:db8::2]:53 frag 77,0,1"), Link::RawIp);
    assert!(found.fragment.is_first() && found.fragment.is_even());
    assert_eq!(
        (u32::from_be(found.fragment.identification), found.flow.destination_port),
        (77, 53)
    );
    let found = parsed(&packet("tcp 192.0.2.1 > 192.0.2.2 frag 7,1480,0"), Link::Ethernet);
    assert!(found.fragment.is_later() && !found.fragment.has_more());
    assert_eq!(found.fragment.offset(), 185);
}

#[test]
fn a_frame_is_as_long_as_it_is_said_to_be() {
    let length = |text: &str, link| packet(text).frame(link).map(|frame| frame.len());
    let (ethernet, raw) = (Link::Ethernet, Link::RawIp);
    assert_eq!(length("tcp 192.0.2.1:1 > 192.0.2.2:2", ethernet), Ok(54));
    assert_eq!(length("tcp 192.0.2.1:1 > 192.0.2.2:2", raw), Ok(40));
    assert_eq!(length("tcp 192.0.2.1:1 > 192.0.2.2:2 frag 1,0,mf", ethernet), Ok(58));
    assert_eq!(length("udp 192.0.2.1:1 > 192.0.2.2:2 len 1514", ethernet), Ok(1514));
    assert_eq!(length("udp 192.0.2.1:1 > 192.0.2.2:2 len 1514", raw), Ok(1514));
    assert_eq!(length("udp 192.0.2.1:1 > 192.0.2.2:2 len 65549", ethernet), Ok(65_549));
    assert!(length("udp 192.0.2.1:1 > 192.0.2.2:2 len 65549", raw).is_err());
    assert_eq!(length("udp [2001:db8::1]:1 > [2001:db8::2]:2 frag 1,8 len 100", ethernet), Ok(100));
}

#[test]
fn checksums_are_those_that_a_receiver_takes() {
    let sum = |bytes: &[u8]| {
        let words = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum
    };
    for (text, protocol, ip) in [
        ("tcp 192.0.2.1:1 > 192.0.2.2:2 len 91", 6, 20),
        ("udp 192.0.2.1:1 > 192.0.2.2:2 len 91", 17, 20),
        ("tcp [2001:db8::1]:1 > [2001:db8::2]:2 ack", 6, 40),
        ("udp [2001:db8::1]:1 > [2001:db8::2]:2 len 99", 17, 40),
        ("icmp6 2001:db8::1 > 2001:db8::2 len 99", 58, 40),
    ] {
        let frame = packet(text).frame(Link::RawIp).unwrap_or_default();
        let (header, body) = frame.split_at(ip);
        let addresses = &header[if ip == 20 { 12 } else { 8 }..];
        let pseudo = sum(addresses) + protocol + body.len() as u32;
        assert_eq!(
            sum(&[&(pseudo as u16).to_be_bytes(), &((pseudo >> 16) as u16).to_be_bytes(), body]
                .concat()),
            0xffff,
            "{text}"
        );
        assert!(ip == 40 || sum(header) == 0xffff, "{text}");
    }
    let icmp = packet("icmp 192.0.2.1 > 192.0.2.2 len 77").frame(Link::RawIp).unwrap_or_default();
    assert_eq!(sum(&icmp[20..]), 0xffff);
}

#[test]
fn errors_say_where_and_what() {
    for (text, column, what) in [
        ("", 1, "here is missing a protocol"),
        ("   ", 4, "here is missing a protocol"),
        ("sctp 192.0.2.1:1 > 192.0.2.2:2", 1, "`sctp` is no protocol"),
        ("eth0:tcp 192.0.2.1:1 > 192.0.2.2:2", 1, "`eth0:tcp` is no protocol"),
        (
            "a-name-that-is-too-long: tcp 192.0.2.1:1 > 192.0.2.2:2",
            1,
            "`a-name-that-is-too-long` is no name",
        ),
        (": tcp 192.0.2.1:1 > 192.0.2.2:2", 1, "`` is no name"),
        ("..: tcp 192.0.2.1:1 > 192.0.2.2:2", 1, "`..` is no name"),
        // A terminal would obey the escape.
        ("tcp 192.0.2.1:1\u{1b}[2J > 192.0.2.2:2", 15, "`1\\u{1b}[2J` is no port"),
        ("tcp", 4, "here is missing the sender"),
        ("tcp 192.0.2.1:1", 16, "here is missing `>`"),
        ("tcp 192.0.2.1:1 192.0.2.2:2", 17, "`192.0.2.2:2` stands where `>` should"),
        ("tcp 192.0.2.1:1 >", 18, "here is missing the receiver"),
        (
            "tcp 192.0.2.1:1 > 192.0.2.2",
            19,
            "192.0.2.2 has no port; write one, such as 192.0.2.2:22",
        ),
        (
            "tcp 192.0.2.1:1 > 2001:db8::1",
            19,
            "192.0.2.1 and 2001:db8::1 are of different families",
        ),
        (
            "udp 2001:db8::1 > 2001:db8::2:53",
            19,
            "2001:db8::2:53 has no port; write one, such as [2001:db8::2:53]:22",
        ),
        ("tcp 192.0.2.1:70000 > 192.0.2.2:2", 15, "`70000` is no port"),
        ("tcp 192.0.2.1:1 > 192.0.2.2:", 29, "`` is no port"),
        (
            "tcp 192.0.2.0/24 > 192.0.2.2:2",
            5,
            "a packet has one address, and `192.0.2.0/24` is a prefix",
        ),
        ("tcp 192.0.2.300 > 192.0.2.2:2", 5, "`192.0.2.300` is no address"),
        ("tcp example.org:1 > 192.0.2.2:2", 5, "`example.org` is a host name"),
        ("tcp [2001:db8::1:1 > [2001:db8::2]:2", 5, "`[2001:db8::1:1` has half of its brackets"),
        ("tcp fe80::1%eth0 > [2001:db8::2]:2", 5, "`fe80::1%eth0` names an interface"),
        (
            "tcp [::ffff:192.0.2.1]:1 > [2001:db8::2]:2",
            5,
            "`::ffff:192.0.2.1` is an IPv4 address in IPv6",
        ),
        ("icmp 192.0.2.1:1 > 192.0.2.2", 6, "icmp has no ports"),
        ("icmp 2001:db8::1 > 2001:db8::2", 6, "icmp goes over IPv4"),
        ("icmp6 192.0.2.1 > 192.0.2.2", 7, "icmp6 goes over IPv6"),
        ("tcp 192.0.2.1:1 > 192.0.2.2:2 sin", 31, "`sin` is no word for tcp; there are: fin, syn"),
        ("udp 192.0.2.1:1 > 192.0.2.2:2 syn", 31, "`syn` is no word for udp"),
        ("tcp 192.0.2.1:1 > 192.0.2.2:2 echo", 31, "`echo` is no word for tcp"),
        (
            "icmp 192.0.2.1 > 192.0.2.2 type 256",
            33,
            "`256` stands where there should be ICMP's type",
        ),
        ("udp 192.0.2.1:1 > 192.0.2.2:2 len", 34, "here is missing the frame's length"),
        (
            "udp 192.0.2.1:1 > 192.0.2.2:2 len ten",
            35,
            "`ten` stands where there should be the frame's length",
        ),
        (
            "udp 192.0.2.1:1 > 192.0.2.2:2 len 41",
            35,
            "a frame of 41 bytes has no room for the headers, which take 42",
        ),
        (
            "udp 192.0.2.1:1 > 192.0.2.2:2 len 65550",
            35,
            "a frame of 65550 bytes is longer than any",
        ),
        (
            "udp 192.0.2.1:1 > 192.0.2.2:2 frag 7",
            36,
            "`7` stands where there should be ID,OFFSET,MF",
        ),
        (
            "udp 192.0.2.1:1 > 192.0.2.2:2 frag 70000,0",
            36,
            "`70000,0` begins with no identification",
        ),
        (
            "udp 192.0.2.1:1 > 192.0.2.2:2 frag 7,100,0",
            36,
            "`7,100,0` has no offset that a fragment can have",
        ),
        ("udp 192.0.2.1:1 > 192.0.2.2:2 frag 7,0,x", 36, "`7,0,x` does not end in mf"),
        (
            "udp 192.0.2.1:1 > 192.0.2.2:2 frag 7,0,mf len 45",
            47,
            "a fragment with more to follow carries a multiple of 8 bytes, and in a frame of 45 it would be 11; write `len 50`",
        ),
    ] {
        let error = match text.parse::<Packet>() {
            Ok(packet) => panic!("`{text}` was taken as {packet}"),
            Err(error) => error,
        };
        assert!(error.what.starts_with(what), "{text}: {error}");
        assert_eq!(error.column, column, "{text}: {error}");
    }
}
