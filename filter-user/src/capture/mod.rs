//! Reads captures, pcap and pcapng, from beginning to end: one record after
//! the other, in memory that the size of the capture plays no part in.
//!
//! What a capture says of its own lengths is believed only as far as there are
//! bytes to show for it.

mod error;
mod legacy;
mod section;
mod window;

#[cfg(test)]
mod tests;

use std::{io::Read, ops::Range};

pub use self::error::CaptureError;
use self::{legacy::Legacy, section::Section, window::Window};

/// A packet of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the capture, from 1.
    pub n: u64,
    /// Nanoseconds since 1970 by the clock of the capture; `None`: it has none.
    pub time: Option<u64>,
    /// What its bytes begin with.
    pub link: Link,
    /// How long it was on the wire.
    pub original: u32,
    /// What was captured of it.
    pub bytes: &'a [u8],
}

impl Record<'_> {
    /// Whether all of it was captured.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.bytes.len() >= self.original as usize
    }
}

/// The framing of what was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Ethernet.
    Ethernet,
    /// None: it begins with the IP header.
    RawIp,
}

impl Link {
    /// By its number in a file (`LINKTYPE_` of libpcap).
    fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            // LINKTYPE_RAW, _IPV4 and _IPV6; and DLT_RAW of Linux, which old programs wrote.
            101 | 228 | 229 | 12 => Some(Self::RawIp),
            _ => None,
        }
    }
}

/// Reads a capture.
///
/// ```no_run
/// # use filter_user::capture::Reader;
/// let mut reader = Reader::new(std::fs::File::open("dump.pcap")?)?;
/// while let Some(record) = reader.next_record()? {
///     println!("{}: {} bytes", record.n, record.bytes.len());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    window: Window<R>,
    format: Format,
    /// Records that were read.
    records: u64,
    /// Bytes of the window that the last record takes.
    taken: usize,
    /// Nothing more comes, be it for an error.
    has_ended: bool,
}

#[derive(Debug)]
enum Format {
    Legacy(Legacy),
    Section(Section),
}

/// Where in the window a record is, and what is said of it.
#[derive(Debug)]
struct Found {
    time: Option<u64>,
    link: Link,
    original: u32,
    bytes: Range<usize>,
    /// Up to where it goes.
    end: usize,
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    ///
    /// When it is no capture, or one of links that the filter does not judge.
    pub fn new(input: R) -> Result<Self, CaptureError> {
        let mut window = Window::new(input);
        let format = if section::begins(&mut window)? {
            Format::Section(Section::default())
        } else {
            Format::Legacy(Legacy::begin(&mut window)?)
        };
        Ok(Self { window, format, records: 0, taken: 0, has_ended: false })
    }

    /// The next record; `None`: there are no more. After an error there are none.
    ///
    /// # Errors
    ///
    /// When the capture is cut off or damaged, its link is not one that the
    /// filter judges, or the input cannot be read.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, CaptureError> {
        if self.has_ended {
            return Ok(None);
        }
        self.window.pass(self.taken);
        self.taken = 0;
        let found = match &mut self.format {
            Format::Legacy(legacy) => legacy.next(&mut self.window),
            Format::Section(section) => section.next(&mut self.window),
        };
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.has_ended = true;
                return Ok(None);
            }
            Err(fault) => {
                self.has_ended = true;
                return Err(fault.after(self.records));
            }
        };
        self.records += 1;
        self.taken = found.end;
        let Found { time, link, original, bytes, .. } = found;
        let bytes = &self.window.data()[bytes];
        Ok(Some(Record { n: self.records, time, link, original, bytes }))
    }
}
