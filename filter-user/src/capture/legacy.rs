//! pcap: a header, then records with one of their own.

use std::io::Read;

use pcap_parser::{
    LegacyPcapBlock, PcapError,
    nom::{Err, IResult, Needed},
    parse_pcap_frame, parse_pcap_frame_be, parse_pcap_header,
    pcap::parse_pcap_frame_modified,
};

use super::{CaptureError, Found, Link, error::Fault, window::Window};

/// The longest record, in bytes: the largest that libpcap writes of such links
/// (`MAXIMUM_SNAPLEN`), and its header.
const LONGEST: usize = (256 << 10) + 24;

type Parse = fn(&[u8]) -> IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>>;

/// What the header says.
#[derive(Debug)]
pub(super) struct Legacy {
    parse: Parse,
    link: Result<Link, u32>,
    /// Nanoseconds.
    tick: u64,
}

impl Legacy {
    pub(super) fn begin<R: Read>(window: &mut Window<R>) -> Result<Self, CaptureError> {
        const HEADER: usize = 24;
        let whole = window.reach(HEADER)?;
        let data = window.data();
        let Ok((_, header)) = parse_pcap_header(data) else {
            return Err(match data {
                [] => CaptureError::Empty,
                [0x1f, 0x8b, ..] => CaptureError::Compressed { program: "gzip" },
                [0x28, 0xb5, 0x2f, 0xfd, ..] => CaptureError::Compressed { program: "zstd" },
                [0xfd, b'7', b'z', b'X', b'Z', ..] => CaptureError::Compressed { program: "xz" },
                [0x04, 0x22, 0x4d, 0x18, ..] => CaptureError::Compressed { program: "lz4" },
                [0xd4, 0xc3, 0xb2, 0xa1, ..] if !whole => CaptureError::CutOff { record: 1 },
                _ => CaptureError::NotACapture,
            });
        };
        window.pass(HEADER);
        let parse = match (header.is_modified_format(), header.is_bigendian()) {
            (true, _) => parse_pcap_frame_modified,
            (false, true) => parse_pcap_frame_be,
            (false, false) => parse_pcap_frame,
        };
        // The upper half tells of frame check sequences.
        let number = header.network.0 as u32 & 0xffff;
        let tick = if header.is_nanosecond_precision() { 1 } else { 1000 };
        Ok(Self { parse, link: Link::of(number).ok_or(number), tick })
    }

    pub(super) fn next<R: Read>(&mut self, window: &mut Window<R>) -> Result<Option<Found>, Fault> {
        loop {
            let data = window.data();
            let wanted = match (self.parse)(data) {
                Ok((rest, block)) => {
                    let link = self.link.map_err(Fault::Link)?;
                    let end = data.len() - rest.len();
                    let seconds = u64::from(block.ts_sec) * 1_000_000_000;
                    return Ok(Some(Found {
                        time: Some(seconds + u64::from(block.ts_usec) * self.tick),
                        link,
                        original: block.origlen,
                        bytes: end - block.data.len()..end,
                        end,
                    }));
                }
                Err(Err::Incomplete(Needed::Size(more))) => data.len() + more.get(),
                Err(_) => return Err(Fault::Damaged("its header cannot be read")),
            };
            if wanted > LONGEST {
                return Err(Fault::Damaged("it claims to be longer than any packet"));
            }
            if !window.reach(wanted)? {
                return if window.data().is_empty() { Ok(None) } else { Err(Fault::CutOff) };
            }
        }
    }
}
