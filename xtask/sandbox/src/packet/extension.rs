//! Extension headers of IPv6 (RFC 8200; RFC 4302 for authentication).

use super::{
    Frame, Header,
    header::{Inside, Write},
};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

/// An extension header of any kind.
#[derive(Debug, Clone)]
pub struct Extension {
    protocol: u8,
    next_header: Option<u8>,
    /// The second byte: the length in the unit of its kind, or reserved.
    length: u8,
    /// Everything after the second byte.
    body: Vec<u8>,
}

impl<H: Header> Frame<H> {
    /// Adds hop-by-hop options. `options` are filled up with PadN or Pad1.
    #[must_use]
    pub fn hop_by_hop(self, options: impl Into<Vec<u8>>) -> Frame<Extension> {
        self.filled_options(HOP_BY_HOP, options.into())
    }

    /// Adds destination options. `options` are filled up with PadN or Pad1.
    #[must_use]
    pub fn destination_options(self, options: impl Into<Vec<u8>>) -> Frame<Extension> {
        self.filled_options(DESTINATION_OPTIONS, options.into())
    }

    fn filled_options(self, protocol: u8, mut options: Vec<u8>) -> Frame<Extension> {
        let missing = padding(options.len());
        match missing {
            0 => {}
            // Pad1
            1 => options.push(0),
            // PadN
            _ => {
                options.extend([1, (missing - 2) as u8]);
                options.resize(options.len() + missing - 2, 0);
            }
        }
        self.extension(protocol, options)
    }

    /// Adds a routing header: its type, the segments that are left, and its
    /// data behind the first four bytes. Checksums inside go on covering the
    /// destination of the IPv6 header.
    #[must_use]
    pub fn routing(
        self,
        kind: u8,
        segments_left: u8,
        data: impl Into<Vec<u8>>,
    ) -> Frame<Extension> {
        let mut body = vec![kind, segments_left];
        body.extend(data.into());
        self.extension(ROUTING, body)
    }

    /// Adds a fragment header: the packet's identification, the place in units
    /// of eight bytes, and whether more follow. What comes next is written
    /// whole; a later fragment carries a payload and needs [`Frame::next_header`].
    #[must_use]
    pub fn fragment_header(self, id: u32, offset: u16, more: bool) -> Frame<Extension> {
        let mut body = Vec::from((offset << 3 | u16::from(more)).to_be_bytes());
        body.extend(id.to_be_bytes());
        self.then(Extension { protocol: FRAGMENT, next_header: None, length: 0, body })
    }

    /// Adds an authentication header with `value` as its integrity check value,
    /// filled up with zeroes.
    #[must_use]
    pub fn authentication(
        self,
        index: u32,
        sequence: u32,
        value: impl Into<Vec<u8>>,
    ) -> Frame<Extension> {
        let mut body = vec![0; 2];
        body.extend(index.to_be_bytes());
        body.extend(sequence.to_be_bytes());
        body.extend(value.into());
        body.resize(body.len() + padding(body.len()), 0);
        // In words of four bytes, without the first two (RFC 4302, 2.2).
        let length = ((body.len() + 2) / 4 - 2) as u8;
        self.then(Extension { protocol: AUTHENTICATION, next_header: None, length, body })
    }

    /// Adds a mobility header of RFC 6275 with `data` behind its first six bytes.
    #[must_use]
    pub fn mobility(self, kind: u8, data: impl Into<Vec<u8>>) -> Frame<Extension> {
        let mut body = vec![kind, 0, 0, 0];
        body.extend(data.into());
        self.extension(MOBILITY, body)
    }

    /// Adds any header of the common form: next header, length in units of
    /// eight bytes without the first, `body` filled up with zeroes.
    #[must_use]
    pub fn extension(self, protocol: u8, body: impl Into<Vec<u8>>) -> Frame<Extension> {
        let mut body = body.into();
        body.resize(body.len() + padding(body.len()), 0);
        let length = ((body.len() + 2) / 8 - 1) as u8;
        self.then(Extension { protocol, next_header: None, length, body })
    }
}

/// Bytes missing until a header with such a body, and two bytes in front of it,
/// ends at a multiple of eight.
const fn padding(body: usize) -> usize {
    (body + 2).next_multiple_of(8) - (body + 2)
}

impl Frame<Extension> {
    /// Sets the number of the header that follows.
    #[must_use]
    pub fn next_header(mut self, protocol: u8) -> Self {
        self.top.next_header = Some(protocol);
        self
    }

    /// Sets the second byte, the length in most kinds, without changing it.
    #[must_use]
    pub fn length(mut self, length: u8) -> Self {
        self.top.length = length;
        self
    }
}

impl Write for Extension {
    fn protocol(&self) -> Option<u8> {
        Some(self.protocol)
    }

    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        out.extend([self.next_header.unwrap_or_else(|| inside.protocol()), self.length]);
        out.extend(&self.body);
    }
}
