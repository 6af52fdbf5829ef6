//! pcapng: blocks, in sections, each of which says what its interfaces are.

use std::io::Read;

use pcap_parser::{
    Block, EPB_MAGIC, IDB_MAGIC, InterfaceDescriptionBlock, OptionCode, SHB_MAGIC, SPB_MAGIC,
    parse_block_be, parse_block_le, traits::PcapNGPacketBlock as _,
};

use super::{CaptureError, Found, Link, error::Fault, window::Window};

/// The block that a section begins with; it reads the same from both ends.
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Its third word, as a little-endian machine writes it.
const LITTLE_ENDIAN: [u8; 4] = [0x4d, 0x3c, 0x2b, 0x1a];
/// The packet block of the format's first draft.
const OLD_PACKET: u32 = 2;
/// The longest block, in bytes, as libpcap has it.
const LONGEST: usize = 16 << 20;
/// The shortest: type, and the length twice.
const SHORTEST: usize = 12;
/// Where the bytes of a packet begin in its block.
const PACKET: usize = 28;
/// Where they do in a simple one.
const SIMPLE_PACKET: usize = 12;
/// Interfaces of one section.
const INTERFACES: usize = 1 << 16;

/// Whether the input is pcapng.
pub(super) fn begins<R: Read>(window: &mut Window<R>) -> Result<bool, CaptureError> {
    Ok(window.reach(SECTION.len())? && window.data()[..4] == SECTION)
}

/// What was said in this section.
#[derive(Debug, Default)]
pub(super) struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    link: u32,
    /// The most that is captured of a packet; 0: all.
    most: u32,
    clock: Clock,
}

/// How the times of an interface are to be read.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// `if_tsresol`: the negative power of 10, or of 2 where the highest bit is set.
    resolution: u8,
    /// `if_tsoffset`: seconds to add.
    offset: i64,
}

impl Clock {
    /// Nanoseconds since 1970; what is before that, or after 2554, is as near as there is.
    fn time(self, ticks: u64) -> Option<u64> {
        const SECOND: i128 = 1_000_000_000;
        let power = u32::from(self.resolution & 0x7f);
        let second = match self.resolution & 0x80 {
            0 => 10_i128.checked_pow(power)?,
            _ => 2_i128.checked_pow(power)?,
        };
        let time = i128::from(ticks) * SECOND / second + i128::from(self.offset) * SECOND;
        Some(u64::try_from(time.max(0)).unwrap_or(u64::MAX))
    }
}

impl Section {
    pub(super) fn next<R: Read>(&mut self, window: &mut Window<R>) -> Result<Option<Found>, Fault> {
        loop {
            if !window.reach(SHORTEST)? {
                return if window.data().is_empty() { Ok(None) } else { Err(Fault::CutOff) };
            }
            let head = window.data();
            if head[..4] == SECTION {
                let big_endian = head[8..12] != LITTLE_ENDIAN;
                *self = Self { big_endian, interfaces: Vec::new() };
            }
            let length = self.word(head, 4) as usize;
            if !(SHORTEST..=LONGEST).contains(&length) || !length.is_multiple_of(4) {
                return Err(Fault::Damaged("a block claims a length that no block has"));
            }
            if !window.reach(length)? {
                return Err(Fault::CutOff);
            }
            if let Some(found) = self.block(&window.data()[..length])? {
                return Ok(Some(found));
            }
            window.pass(length);
        }
    }

    /// Takes in one block; the packet, if it is one.
    fn block(&mut self, data: &[u8]) -> Result<Option<Found>, Fault> {
        match self.word(data, 0) {
            OLD_PACKET => return self.old_packet(data).map(Some),
            SHB_MAGIC | IDB_MAGIC | SPB_MAGIC | EPB_MAGIC => {}
            // Whatever it is, no packet is in it.
            _ => return Ok(None),
        }
        let parsed = if self.big_endian { parse_block_be(data) } else { parse_block_le(data) };
        let end = data.len();
        match parsed {
            Ok((_, Block::SectionHeader(header))) if header.major_version != 1 => {
                Err(Fault::Damaged("a section is of a later version of pcapng"))
            }
            Ok((_, Block::InterfaceDescription(block))) => {
                if self.interfaces.len() == INTERFACES {
                    return Err(Fault::Damaged("a section has more than 65,536 interfaces"));
                }
                self.interfaces.push(self.interface(&block));
                Ok(None)
            }
            Ok((_, Block::EnhancedPacket(block))) => {
                let interface = self.find(block.if_id)?;
                let ticks = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
                Ok(Some(Found {
                    time: interface.clock.time(ticks),
                    link: interface.link()?,
                    original: block.origlen,
                    bytes: PACKET..PACKET + block.packet_data().len(),
                    end,
                }))
            }
            Ok((_, Block::SimplePacket(block))) => {
                let interface = self.find(0)?;
                let most = if interface.most == 0 { u32::MAX } else { interface.most };
                let length = block.packet_data().len().min(most as usize);
                Ok(Some(Found {
                    time: None,
                    link: interface.link()?,
                    original: block.origlen,
                    bytes: SIMPLE_PACKET..SIMPLE_PACKET + length,
                    end,
                }))
            }
            Ok(_) => Ok(None),
            Err(_) => Err(Fault::Damaged("a block cannot be read")),
        }
    }

    fn interface(&self, block: &InterfaceDescriptionBlock<'_>) -> Interface {
        // The parser reads it as little-endian, whatever the section is.
        let offset = block.options.iter().find(|option| option.code == OptionCode::IfTsoffset);
        let bytes = offset.and_then(|option| option.as_bytes().ok()?.try_into().ok());
        let read = if self.big_endian { i64::from_be_bytes } else { i64::from_le_bytes };
        Interface {
            link: block.linktype.0 as u32,
            most: block.snaplen,
            clock: Clock { resolution: block.if_tsresol, offset: bytes.map_or(0, read) },
        }
    }

    /// As the parser has no name for it.
    fn old_packet(&self, data: &[u8]) -> Result<Found, Fault> {
        let damaged = Fault::Damaged("a block cannot be read");
        // 4 for the length at its end.
        let Some(room) = data.len().checked_sub(PACKET + 4) else { return Err(damaged) };
        let length = self.word(data, 20) as usize;
        if length > room {
            return Err(damaged);
        }
        let number = match self.big_endian {
            true => u16::from_be_bytes([data[8], data[9]]),
            false => u16::from_le_bytes([data[8], data[9]]),
        };
        let interface = self.find(number.into())?;
        let ticks = u64::from(self.word(data, 12)) << 32 | u64::from(self.word(data, 16));
        Ok(Found {
            time: interface.clock.time(ticks),
            link: interface.link()?,
            original: self.word(data, 24),
            bytes: PACKET..PACKET + length,
            end: data.len(),
        })
    }

    fn find(&self, number: u32) -> Result<Interface, Fault> {
        let found = self.interfaces.get(number as usize).copied();
        found.ok_or(Fault::Damaged("it is of an interface that the capture does not describe"))
    }

    fn word(&self, data: &[u8], at: usize) -> u32 {
        let bytes = [data[at], data[at + 1], data[at + 2], data[at + 3]];
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

impl Interface {
    fn link(self) -> Result<Link, Fault> {
        Link::of(self.link).ok_or(Fault::Link(self.link))
    }
}
