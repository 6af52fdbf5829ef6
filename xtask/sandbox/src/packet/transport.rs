//! TCP (RFC 9293) and UDP (RFC 768).

use super::{
    Frame, Header,
    header::{Inside, Write, low_u16},
};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

/// A TCP header with its options.
#[derive(Debug, Clone)]
pub struct Tcp {
    source_port: u16,
    destination_port: u16,
    sequence: u32,
    acknowledgement: u32,
    data_offset: Option<u8>,
    flags: u8,
    window: u16,
    checksum: Option<u16>,
    urgent: u16,
    options: Vec<u8>,
}

/// A UDP header.
#[derive(Debug, Clone)]
pub struct Udp {
    source_port: u16,
    destination_port: u16,
    length: Option<u16>,
    checksum: Option<u16>,
}

impl<H: Header> Frame<H> {
    /// Adds a TCP header: no flags, sequence 1, acknowledgement 0, a window of
    /// 65,535.
    #[must_use]
    pub fn tcp(self, source_port: u16, destination_port: u16) -> Frame<Tcp> {
        self.then(Tcp {
            source_port,
            destination_port,
            sequence: 1,
            acknowledgement: 0,
            data_offset: None,
            flags: 0,
            window: u16::MAX,
            checksum: None,
            urgent: 0,
            options: Vec::new(),
        })
    }

    /// Adds a UDP header.
    #[must_use]
    pub fn udp(self, source_port: u16, destination_port: u16) -> Frame<Udp> {
        self.then(Udp { source_port, destination_port, length: None, checksum: None })
    }
}

impl Frame<Tcp> {
    /// Sets the flag SYN.
    #[must_use]
    pub fn syn(self) -> Self {
        self.flag(SYN)
    }

    /// Sets the flag ACK.
    #[must_use]
    pub fn ack(self) -> Self {
        self.flag(ACK)
    }

    /// Sets the flag FIN.
    #[must_use]
    pub fn fin(self) -> Self {
        self.flag(FIN)
    }

    /// Sets the flag RST.
    #[must_use]
    pub fn rst(self) -> Self {
        self.flag(RST)
    }

    /// Sets the flag PSH.
    #[must_use]
    pub fn psh(self) -> Self {
        self.flag(PSH)
    }

    /// Sets the flag URG.
    #[must_use]
    pub fn urg(self) -> Self {
        self.flag(URG)
    }

    fn flag(mut self, flag: u8) -> Self {
        self.top.flags |= flag;
        self
    }

    /// Sets all eight flags.
    #[must_use]
    pub fn flags(mut self, flags: u8) -> Self {
        self.top.flags = flags;
        self
    }

    /// Sets the sequence number.
    #[must_use]
    pub fn sequence(mut self, number: u32) -> Self {
        self.top.sequence = number;
        self
    }

    /// Sets the acknowledgement number; the flag is [`Frame::ack`].
    #[must_use]
    pub fn acknowledgement(mut self, number: u32) -> Self {
        self.top.acknowledgement = number;
        self
    }

    /// Sets the window.
    #[must_use]
    pub fn window(mut self, window: u16) -> Self {
        self.top.window = window;
        self
    }

    /// Sets the urgent pointer; the flag is [`Frame::urg`].
    #[must_use]
    pub fn urgent(mut self, pointer: u16) -> Self {
        self.top.urgent = pointer;
        self
    }

    /// Sets the header length in words of four bytes, without changing it.
    #[must_use]
    pub fn data_offset(mut self, words: u8) -> Self {
        self.top.data_offset = Some(words);
        self
    }

    /// Sets the checksum.
    #[must_use]
    pub fn checksum(mut self, checksum: u16) -> Self {
        self.top.checksum = Some(checksum);
        self
    }

    /// Sets the options, filled up to a word with zeroes. The length field
    /// holds 40 bytes of them; of longer ones it writes the low bits.
    #[must_use]
    pub fn options(mut self, options: impl Into<Vec<u8>>) -> Self {
        self.top.options = options.into();
        let whole = self.top.options.len().next_multiple_of(4);
        self.top.options.resize(whole, 0);
        self
    }
}

impl Frame<Udp> {
    /// Sets the length in bytes, without changing it.
    #[must_use]
    pub fn length(mut self, length: u16) -> Self {
        self.top.length = Some(length);
        self
    }

    /// Sets the checksum; 0 means none.
    #[must_use]
    pub fn checksum(mut self, checksum: u16) -> Self {
        self.top.checksum = Some(checksum);
        self
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;

impl Write for Tcp {
    fn protocol(&self) -> Option<u8> {
        Some(TCP)
    }

    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        let length = 20 + self.options.len();
        let words = self.data_offset.unwrap_or(((length / 4) & 0x0f) as u8);
        let mut header = Vec::with_capacity(length);
        header.extend(self.source_port.to_be_bytes());
        header.extend(self.destination_port.to_be_bytes());
        header.extend(self.sequence.to_be_bytes());
        header.extend(self.acknowledgement.to_be_bytes());
        header.extend([words << 4, self.flags]);
        header.extend(self.window.to_be_bytes());
        header.extend([0, 0]);
        header.extend(self.urgent.to_be_bytes());
        header.extend(&self.options);
        let sum = self.checksum.unwrap_or_else(|| inside.checksum(&header, TCP));
        header[16..18].copy_from_slice(&sum.to_be_bytes());
        out.extend(header);
    }
}

impl Write for Udp {
    fn protocol(&self) -> Option<u8> {
        Some(UDP)
    }

    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        let mut header = Vec::with_capacity(8);
        header.extend(self.source_port.to_be_bytes());
        header.extend(self.destination_port.to_be_bytes());
        header.extend(self.length.unwrap_or_else(|| low_u16(8 + inside.bytes.len())).to_be_bytes());
        header.extend([0, 0]);
        let sum = self.checksum.unwrap_or_else(|| match inside.checksum(&header, UDP) {
            // Zero on the wire means that there is none.
            0 => u16::MAX,
            sum => sum,
        });
        header[6..8].copy_from_slice(&sum.to_be_bytes());
        out.extend(header);
    }
}
