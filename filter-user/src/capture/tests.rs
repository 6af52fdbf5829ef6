//! Captures of both formats, made by hand.

use std::io;

use super::*;

/// Bytes in one order or the other.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

impl Order {
    fn two(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn four(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn words(self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| self.four(*word)).collect()
    }

    fn pcap(self, magic: u32, link: u32) -> Vec<u8> {
        let mut file = self.words(&[magic]);
        file.extend([self.two(2), self.two(4)].concat());
        file.extend(self.words(&[0, 0, 262_144, link]));
        file
    }

    fn record(self, seconds: u32, rest: u32, original: u32, bytes: &[u8]) -> Vec<u8> {
        let mut record = self.words(&[seconds, rest, bytes.len() as u32, original]);
        record.extend(bytes);
        record
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = body.len().next_multiple_of(4) - body.len();
        let length = (body.len() + padding + 12) as u32;
        let (head, tail) = (self.words(&[kind, length]), self.four(length));
        [head.as_slice(), body, &[0; 3][..padding], &tail].concat()
    }

    fn section(self) -> Vec<u8> {
        let version = [self.two(1), self.two(0)].concat();
        self.block(0x0a0d_0d0a, &[&self.four(0x1a2b_3c4d), version.as_slice(), &[0xff; 8]].concat())
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let padded = [value, &[0; 3][..value.len().next_multiple_of(4) - value.len()]].concat();
        [self.two(code).as_slice(), &self.two(value.len() as u16), &padded].concat()
    }

    fn interface(self, link: u16, most: u32, options: &[u8]) -> Vec<u8> {
        let head = [self.two(link), [0; 2]].concat();
        self.block(1, &[head.as_slice(), &self.four(most), options].concat())
    }

    fn packet(self, interface: u32, ticks: u64, original: u32, bytes: &[u8]) -> Vec<u8> {
        let (high, low) = ((ticks >> 32) as u32, ticks as u32);
        let head = self.words(&[interface, high, low, bytes.len() as u32, original]);
        self.block(6, &[head.as_slice(), bytes].concat())
    }
}

const BOTH: [Order; 2] = [Order { big: false }, Order { big: true }];
const FRAME: [u8; 15] = [7; 15];

/// Number, time, link, original length, captured length.
type Row = (u64, Option<u64>, Link, u32, usize);

/// Hands out so many bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(self.0.len()).min(buffer.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

/// All that is read, and the error at its end.
fn read(file: &[u8], at_a_time: usize) -> (Vec<Row>, Option<String>) {
    let mut rows = Vec::new();
    let mut reader = match Reader::new(Trickle(file, at_a_time)) {
        Ok(reader) => reader,
        Err(error) => return (rows, Some(error.to_string())),
    };
    loop {
        match reader.next_record() {
            Ok(Some(record)) => {
                assert!(record.bytes.iter().all(|byte| *byte == 7), "{record:?}");
                let Record { n, time, link, original, bytes } = record;
                rows.push((n, time, link, original, bytes.len()));
            }
            Ok(None) => return (rows, None),
            Err(error) => {
                assert!(matches!(reader.next_record(), Ok(None)), "it goes on after {error}");
                return (rows, Some(error.to_string()));
            }
        }
    }
}

fn rows(file: &[u8]) -> Vec<Row> {
    let (rows, error) = read(file, usize::MAX);
    assert_eq!(error, None);
    for at_a_time in 1..5 {
        assert_eq!(read(file, at_a_time), (rows.clone(), None));
    }
    rows
}

fn error(file: &[u8]) -> String {
    read(file, usize::MAX).1.unwrap_or_default()
}

#[test]
fn pcap_in_both_orders_and_both_resolutions() {
    for order in BOTH {
        for (magic, tick) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)] {
            let mut file = order.pcap(magic, 1);
            file.extend(order.record(1_700_000_000, 999_999, 15, &FRAME));
            file.extend(order.record(1_700_000_001, 5, 1500, &FRAME[..13]));
            file.extend(order.record(0, 0, 0, &[]));
            let second = 1_000_000_000;
            assert_eq!(
                rows(&file),
                [
                    (1, Some(1_700_000_000 * second + 999_999 * tick), Link::Ethernet, 15, 15),
                    (2, Some(1_700_000_001 * second + 5 * tick), Link::Ethernet, 1500, 13),
                    (3, Some(0), Link::Ethernet, 0, 0),
                ]
            );
        }
    }
}

#[test]
fn links_with_and_without_framing_and_others_by_name() {
    let [order, _] = BOTH;
    for (number, link) in [
        (1, Link::Ethernet),
        (101, Link::RawIp),
        (228, Link::RawIp),
        (229, Link::RawIp),
        (12, Link::RawIp),
    ] {
        // With the upper half telling of a frame check sequence.
        let mut file = order.pcap(0xa1b2_c3d4, number | 0x2400_0000);
        file.extend(order.record(1, 0, 15, &FRAME));
        assert_eq!(rows(&file), [(1, Some(1_000_000_000), link, 15, 15)]);
    }
    let mut file = order.pcap(0xa1b2_c3d4, 113);
    file.extend(order.record(1, 0, 15, &FRAME));
    assert!(error(&file).starts_with("record 1 is of link type 113 (Linux cooked"));
}

#[test]
fn pcapng_has_several_interfaces_with_clocks_of_their_own() {
    for order in BOTH {
        let offset = if order.big { (-10_i64).to_be_bytes() } else { (-10_i64).to_le_bytes() };
        let mut file = order.section();
        file.extend(order.interface(1, 0, &[]));
        file.extend(order.interface(101, 0, &order.option(9, &[9])));
        file.extend(order.interface(1, 0, &order.option(9, &[0x80 | 10])));
        let options = [order.option(9, &[3]), order.option(14, &offset)].concat();
        file.extend(order.interface(1, 0, &options));
        // A block that nobody knows, and statistics.
        file.extend(order.block(0x0bad, &[1, 2, 3]));
        file.extend(order.packet(0, 1_700_000_000_000_001, 15, &FRAME));
        file.extend(order.packet(1, 1_700_000_000_000_000_001, 60, &FRAME));
        file.extend(order.packet(2, 1024 * 5 + 512, 15, &FRAME));
        file.extend(order.packet(3, 12_001, 15, &FRAME));
        file.extend(order.packet(3, 1, 15, &FRAME));
        assert_eq!(
            rows(&file),
            [
                (1, Some(1_700_000_000_000_001_000), Link::Ethernet, 15, 15),
                (2, Some(1_700_000_000_000_000_001), Link::RawIp, 60, 15),
                (3, Some(5_500_000_000), Link::Ethernet, 15, 15),
                (4, Some(2_001_000_000), Link::Ethernet, 15, 15),
                // Before 1970.
                (5, Some(0), Link::Ethernet, 15, 15),
            ]
        );
    }
}

#[test]
fn pcapng_has_simple_packets_old_ones_and_sections_of_either_order() {
    let mut file = Vec::new();
    for order in BOTH {
        file.extend(order.section());
        file.extend(order.interface(1, 13, &[]));
        let simple = |original: u32, bytes: &[u8]| {
            order.block(3, &[order.four(original).as_slice(), bytes].concat())
        };
        file.extend(simple(9, &FRAME[..9]));
        // Cut to the interface's most, and padded.
        file.extend(simple(900, &FRAME[..13]));
        let old = [order.two(0), order.two(5)].concat();
        let old = [old, order.words(&[0, 7, 15, 15]), FRAME.to_vec()].concat();
        file.extend(order.block(2, &old));
    }
    let link = Link::Ethernet;
    let three = |n| {
        [(n, None, link, 9, 9), (n + 1, None, link, 900, 13), (n + 2, Some(7000), link, 15, 15)]
    };
    assert_eq!(rows(&file), [three(1), three(4)].concat());
}

#[test]
fn a_capture_that_is_cut_off_gives_its_whole_records() {
    let [order, _] = BOTH;
    let mut pcap = order.pcap(0xa1b2_c3d4, 1);
    let mut ng = [order.section(), order.interface(1, 0, &[])].concat();
    let (mut pcap_ends, mut ng_ends) = (vec![pcap.len()], vec![ng.len()]);
    for n in 0..3 {
        pcap.extend(order.record(n, 0, 15, &FRAME));
        ng.extend(order.packet(0, n.into(), 15, &FRAME));
        pcap_ends.push(pcap.len());
        ng_ends.push(ng.len());
    }
    for (file, ends) in [(pcap, pcap_ends), (ng, ng_ends)] {
        for length in ends[0]..=file.len() {
            let whole = ends.iter().filter(|end| **end <= length).count() - 1;
            let (rows, error) = read(&file[..length], 7);
            assert_eq!(rows.len(), whole, "{length}");
            let expected = format!("the capture ends within record {}: the {whole} ", whole + 1);
            match ends.contains(&length) {
                true => assert_eq!(error, None),
                false => assert!(error.is_some_and(|error| error.starts_with(&expected))),
            }
        }
        // In the header, too, it is an error and no more.
        for length in 0..ends[0] {
            let (rows, _) = read(&file[..length], 7);
            assert_eq!(rows, []);
        }
    }
}

#[test]
fn what_is_no_capture_is_told_so() {
    for (file, start) in [
        (&b""[..], "the capture is empty"),
        (b"[sources]\ntrusted = []\n\n\n", "the file is no capture"),
        (
            b"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "the file is compressed with gzip",
        ),
        (b"\x28\xb5\x2f\xfd", "the file is compressed with zstd"),
        (b"\xd4\xc3\xb2\xa1\x02\0", "the capture ends within record 1"),
    ] {
        assert!(error(file).starts_with(start), "{}", error(file));
    }
}

#[test]
fn lengths_that_lie_are_found_out() {
    for order in BOTH {
        let begun = [order.section(), order.interface(1, 0, &[])].concat();
        let with = |more: Vec<u8>| [begun.clone(), more].concat();
        // Captured lengths beyond the block, in all three forms.
        let lies = [
            order.block(6, &order.words(&[0, 0, 0, 17, 17, 0x0707_0707])),
            order.block(6, &order.words(&[0, 0, 0, u32::MAX, 17, 0x0707_0707])),
            order.block(6, &order.words(&[0, 0, 0, u32::MAX - 4, 17, 0x0707_0707])),
            order.block(2, &order.words(&[0, 0, 0, 17, 17, 0x0707_0707])),
            order.block(6, &[0; 8]),
            order.block(2, &[0; 8]),
            order.block(3, &[]),
            order.block(1, &[]),
            order.packet(1, 0, 15, &FRAME),
            order.words(&[6, 0, 0]),
            order.words(&[6, 13, 0]),
            order.words(&[6, u32::MAX, 0]),
            order.words(&[6, 64 << 20, 0]),
        ];
        for lie in lies {
            let error = error(&with(lie));
            assert!(error.starts_with("the capture is damaged at record 1: "), "{error}");
        }
        let mut pcap = order.pcap(0xa1b2_c3d4, 1);
        pcap.extend(order.words(&[0, 0, u32::MAX, 60]));
        assert!(error(&pcap).starts_with("the capture is damaged at record 1: it claims"));
    }
}

#[test]
fn whatever_byte_is_changed_nothing_breaks() {
    for order in BOTH {
        let mut pcap = order.pcap(0xa1b2_c3d4, 1);
        pcap.extend(order.record(5, 5, 15, &FRAME));
        let mut ng = [order.section(), order.interface(1, 0, &order.option(9, &[9]))].concat();
        ng.extend(order.packet(0, 77, 15, &FRAME));
        for file in [pcap, ng] {
            for at in 0..file.len() {
                for value in [0, 1, 2, 6, 0x7f, 0x80, 0xff] {
                    let mut changed = file.clone();
                    changed[at] = value;
                    let mut reader = match Reader::new(changed.as_slice()) {
                        Ok(reader) => reader,
                        Err(_) => continue,
                    };
                    while let Ok(Some(record)) = reader.next_record() {
                        assert!(record.bytes.len() <= file.len());
                    }
                }
            }
        }
    }
}
