//! Why a capture, or the rest of it, cannot be read.

use std::io;

use thiserror::Error;

/// Why a capture, or the rest of it, cannot be read.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// There is nothing in it.
    #[error("the capture is empty: see that the program that captures has written something")]
    Empty,
    /// It is compressed.
    #[error(
        "the file is compressed with {program}: unpack it on the way, such as `{program} -dc FILE | nodewall replay -`"
    )]
    Compressed {
        /// What unpacks it.
        program: &'static str,
    },
    /// It is something else.
    #[error(
        "the file is no capture: nodewall reads pcap and pcapng, such as `tcpdump -w FILE` and Wireshark write"
    )]
    NotACapture,
    /// Frames that are not judged.
    #[error(
        "record {record} is of link type {number} ({name}), and nodewall judges Ethernet (1) and raw IP (101, 228, 229): capture on an interface that has one of these, such as `tcpdump -i eth0 -w FILE`",
        name = link_name(*number)
    )]
    Link {
        /// Its number in the file.
        number: u32,
        /// The first record that has it.
        record: u64,
    },
    /// It ends within a record.
    #[error(
        "the capture ends within record {record}: the {} before it are whole, and were read; the program that captures was stopped while it wrote, or the file was not copied whole", record - 1
    )]
    CutOff {
        /// The record.
        record: u64,
    },
    /// Something in it cannot be.
    #[error(
        "the capture is damaged at record {record}: {what}; the {} before it were read. Capture or copy it again", record - 1
    )]
    Damaged {
        /// The record.
        record: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The operating system does not give it.
    #[error("the capture cannot be read ({0}): see that the file and its disk are in order")]
    Read(#[from] io::Error),
}

/// What stops a reader, before it is said where.
#[derive(Debug)]
pub(super) enum Fault {
    Link(u32),
    CutOff,
    Damaged(&'static str),
    Read(io::Error),
}

impl From<io::Error> for Fault {
    fn from(reason: io::Error) -> Self {
        Self::Read(reason)
    }
}

impl Fault {
    /// What it is after so many records.
    pub(super) fn after(self, records: u64) -> CaptureError {
        let record = records + 1;
        match self {
            Self::Link(number) => CaptureError::Link { number, record },
            Self::CutOff => CaptureError::CutOff { record },
            Self::Damaged(what) => CaptureError::Damaged { record, what },
            Self::Read(reason) => CaptureError::Read(reason),
        }
    }
}

/// Those that an operator may come upon.
fn link_name(number: u32) -> &'static str {
    match number {
        0 => "BSD loopback",
        9 => "PPP",
        50 | 51 => "PPP in HDLC or PPPoE",
        105 => "IEEE 802.11",
        108 => "OpenBSD loopback",
        113 => "Linux cooked, as of `tcpdump -i any`",
        127 => "IEEE 802.11 with radiotap",
        147..=162 => "for private use",
        189 | 220 => "USB of Linux",
        195 | 230 => "IEEE 802.15.4",
        201 => "Bluetooth",
        239 => "NFLOG",
        252 => "Wireshark's upper layers",
        253 => "netlink",
        276 => "Linux cooked, version 2, as of `tcpdump -i any`",
        _ => "see libpcap's list of link types",
    }
}
