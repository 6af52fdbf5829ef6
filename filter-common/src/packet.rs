//! Where the bytes of a packet come from.

use zerocopy::FromBytes;

/// A received frame, from its first byte.
pub trait Packet {
    /// Length of the whole frame in bytes, those parts included that
    /// [`load`](Self::load) cannot reach (the fragments of a jumbo frame).
    fn length(&self) -> u32;

    /// Whether the frame reaches to `end` bytes from its start. Asked by what
    /// is read, so that [`length`](Self::length) is settled after it.
    fn reaches(&self, end: usize) -> bool {
        end <= self.length() as usize
    }

    /// Copies a header out of the frame, `offset` bytes from its start.
    /// `None` where the frame ends before the header does.
    fn load<T: FromBytes + Copy>(&self, offset: usize) -> Option<T>;

    /// The same number. Where a verifier follows every path through this
    /// code, it lets it forget what the paths so far have told it of the
    /// number, so that they become one.
    fn forget(&self, number: usize) -> usize {
        number
    }
}

impl Packet for [u8] {
    fn length(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn load<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        T::read_from_prefix(self.get(offset..)?).ok().map(|(header, _)| header)
    }
}
