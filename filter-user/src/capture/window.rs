//! The part of an input that is looked at.

use std::io::{self, Read};

/// What there is room for at first, in bytes.
const ROOM: usize = 128 << 10;

/// A stretch of an input. It grows only when it is full of bytes that were
/// read, so that no number in a file can make it large.
#[derive(Debug)]
pub(super) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Window<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: vec![0; ROOM], start: 0, end: 0 }
    }

    /// What was read and not passed.
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads on until there are so many bytes; whether there are.
    pub(super) fn reach(&mut self, length: usize) -> io::Result<bool> {
        while self.end - self.start < length {
            if self.end == self.buffer.len() {
                self.make_room();
            }
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn make_room(&mut self) {
        // Moves what is left of a full buffer, which is little, unless that is all of it.
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }

    /// Leaves so many bytes behind.
    pub(super) fn pass(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }
}
