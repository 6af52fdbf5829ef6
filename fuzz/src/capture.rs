//! Captures: pcap and pcapng.

use std::io::{self, Read};

use filter_user::capture::{Link, Reader};

use crate::{PLANTED, input::Input, sentence::is_one_line};

/// The first byte says of what kind the rest is, and the second how it is cut
/// when it is read.
pub fn capture(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let cut = usize::from(input.byte()) + 1;
    let bytes = match kind % 4 {
        0 | 1 => input.0.to_vec(),
        2 => blocks(&mut input, u32::to_le_bytes),
        _ => blocks(&mut input, u32::to_be_bytes),
    };
    let (records, error) = records(&bytes[..]);
    let taken: usize = records.iter().map(|record| record.bytes.len()).sum();
    assert!(taken <= bytes.len(), "{taken} bytes of records from {}", bytes.len());
    for (record, n) in records.iter().zip(1..) {
        assert_eq!(record.n, n);
    }
    if let Some(error) = &error {
        is_one_line(error);
    }
    assert_eq!(
        self::records(Pieces { rest: &bytes, cut }),
        (records, error),
        "it reads otherwise in pieces"
    );
}

/// Blocks of pcapng, whose lengths are right. Each piece comes after its
/// length, in words; its first word is the block's type.
fn blocks(input: &mut Input<'_>, word: fn(u32) -> [u8; 4]) -> Vec<u8> {
    let mut file = Vec::new();
    while !input.is_empty() {
        let length = 4 * (usize::from(input.byte()) + 1);
        let mut piece = input.take(length).to_vec();
        piece.resize(piece.len().next_multiple_of(4).max(4), 0);
        let length = u32::try_from(piece.len() + 8).unwrap_or_default();
        file.extend(&piece[..4]);
        file.extend(word(length));
        file.extend(&piece[4..]);
        file.extend(word(length));
    }
    file
}

/// A record, kept.
#[derive(Debug, PartialEq)]
struct Kept {
    n: u64,
    time: Option<u64>,
    link: Link,
    original: u32,
    bytes: Vec<u8>,
}

/// What is in a capture, and what is wrong with the rest.
fn records(input: impl Read) -> (Vec<Kept>, Option<String>) {
    let mut records = Vec::new();
    let mut reader = match Reader::new(input) {
        Ok(reader) => reader,
        Err(error) => return (records, Some(error.to_string())),
    };
    let error = loop {
        match reader.next_record() {
            Ok(Some(record)) => records.push(Kept {
                n: record.n,
                time: record.time,
                link: record.link,
                original: record.original,
                bytes: record.bytes.to_vec(),
            }),
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    assert!(matches!(reader.next_record(), Ok(None)), "it goes on after its end");
    (records, error)
}

/// Gives a few bytes at a time, and is interrupted now and then.
struct Pieces<'a> {
    rest: &'a [u8],
    cut: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.len() % 7 == 3 && self.cut.is_multiple_of(2) {
            self.cut += 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = self.cut.min(buffer.len()).min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest[..length]);
        // Gives a byte again that it has given.
        let again = usize::from(PLANTED && length > 1 && self.rest[length - 1] == b'!');
        self.rest = &self.rest[length - again..];
        Ok(length)
    }
}
