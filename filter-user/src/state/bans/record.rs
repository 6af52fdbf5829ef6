//! How changes of the bans are written down, one after the other.
//!
//! | bytes | |
//! |---|---|
//! | 4 | `nwB1` |
//! | 4 | the length of what follows the checksum |
//! | 4 | CRC-32 of the length and of what follows |
//! | 1 | kind: 1 bans prefixes, 2 takes bans back |
//! | 1 | of a ban, bits: 1 it has an end, 2 it has a reason |
//! | 8, 8, 8, 16 | its end in milliseconds of the wall clock, its whole length in milliseconds, its end in nanoseconds since boot, and which boot that was |
//! | 2, n | its reason |
//! | 5 or 17 each | the prefixes: length (IPv6: 64 more), then the address |
//!
//! Numbers are little-endian. Every record stands for itself and says the same
//! whenever it is read again: one that is damaged takes no other with it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::dataplane::{Ban, BootTime, Until, boot_time};

const MAGIC: [u8; 4] = *b"nwB1";
/// Before the part that the length counts.
const HEADER: usize = 12;
const BAN: u8 = 1;
const UNBAN: u8 = 2;
const HAS_END: u8 = 1;
const HAS_REASON: u8 = 2;
/// Added to the length of an IPv6 prefix.
const IPV6: u8 = 64;

/// Which boot of the machine it is.
pub type BootId = [u8; 16];

/// A change of the bans.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// These were banned.
    Ban(&'a [IpNet], &'a Ban),
    /// This ban was taken back.
    Unban(&'a IpNet),
}

/// The clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// What people read.
    pub wall: SystemTime,
    /// What the kernel goes by.
    pub boot: BootTime,
    /// Which boot that counts from; all zero: not known.
    pub boot_id: BootId,
}

impl Clocks {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let mut boot_id = [0; 16];
        for (byte, digits) in boot_id.iter_mut().zip(digits.chunks(2)) {
            *byte = str::from_utf8(digits)
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .unwrap_or(0);
        }
        Self { wall: SystemTime::now(), boot: boot_time(), boot_id }
    }

    /// An end that was written down. In the same boot the kernel's clock tells
    /// it exactly, whatever was done to the wall clock since. In another what
    /// is left is reckoned by the wall clock, and is never more than the whole:
    /// one that was set back makes no ban longer.
    fn end(&self, wall: SystemTime, length: Duration, boot: BootTime, boot_id: BootId) -> Until {
        if boot_id == self.boot_id && boot_id != [0; 16] {
            return Until { boot, wall, length };
        }
        let left = wall.duration_since(self.wall).unwrap_or_default().min(length);
        Until { boot: self.boot + left, wall: self.wall + left, length }
    }
}

/// Writes a change at the end of `out`.
pub fn encode(change: Change<'_>, boot_id: BootId, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(MAGIC);
    out.extend([0; HEADER - MAGIC.len()]);
    match change {
        Change::Ban(nets, ban) => {
            let (until, reason) = (ban.until, ban.reason.as_deref());
            let has = |flag, has| if has { flag } else { 0 };
            out.push(BAN);
            out.push(has(HAS_END, until.is_some()) | has(HAS_REASON, reason.is_some()));
            if let Some(Until { boot, wall, length }) = until {
                let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
                out.extend(milliseconds(wall).to_le_bytes());
                out.extend(milliseconds(length).to_le_bytes());
                out.extend(u64::try_from(boot.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
                out.extend(boot_id);
            }
            if let Some(reason) = reason {
                // A request with a longer one is not accepted.
                let length = u16::try_from(reason.len()).unwrap_or(u16::MAX);
                out.extend(length.to_le_bytes());
                out.extend(&reason.as_bytes()[..length.into()]);
            }
            nets.iter().for_each(|net| push(net, out));
        }
        Change::Unban(net) => {
            out.push(UNBAN);
            push(net, out);
        }
    }
    // A request is at most 64 MiB long.
    let length = u32::try_from(out.len() - start - HEADER).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = checksum(length, &out[start + HEADER..]);
    out[start + 4..start + 8].copy_from_slice(&length);
    out[start + 8..start + HEADER].copy_from_slice(&checksum.to_le_bytes());
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

fn push(net: &IpNet, out: &mut Vec<u8>) {
    match net {
        IpNet::V4(net) => {
            out.push(net.prefix_len());
            out.extend(net.network().octets());
        }
        IpNet::V6(net) => {
            out.push(net.prefix_len() + IPV6);
            out.extend(net.network().octets());
        }
    }
}

/// What was read of a file.
#[derive(Debug, Default)]
pub struct Read {
    /// The bans that hold, or held when they were written down.
    pub bans: BTreeMap<IpNet, Arc<Ban>>,
    /// Prefixes in all records, those that came to nothing included.
    pub entries: usize,
    /// An end was reckoned anew: it was written down in another boot.
    pub reckoned: bool,
    /// What could not be read.
    pub damage: Option<Damage>,
}

/// Parts of a file that are no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Where the first of them begins.
    pub at: usize,
    /// How long they are together.
    pub bytes: usize,
    /// It is one record at the file's end of which the end is missing: a write
    /// that was cut off.
    pub is_cut: bool,
}

/// Reads a file. What is damaged is passed over.
pub fn decode(bytes: &[u8], clocks: &Clocks) -> Read {
    let (mut read, mut changes) = (Read::default(), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if let Some(payload) = framed(rest)
            && apply(payload, clocks, &mut read, &mut changes).is_some()
        {
            at += HEADER + payload.len();
            continue;
        }
        // On to where the next may begin.
        let next = rest.windows(MAGIC.len()).skip(1).position(|window| window == MAGIC);
        let length = next.map_or(rest.len(), |next| next + 1);
        let damage = read.damage.get_or_insert(Damage { at, bytes: 0, is_cut: true });
        damage.is_cut &= damage.bytes == 0 && next.is_none() && is_cut(rest);
        damage.bytes += length;
        at += length;
    }
    read.entries = changes.len();
    // Of each prefix the last word. Sorted first, for a map that is made at once
    // from what is in order is made ten times faster, and smaller.
    changes.sort_by_key(|(net, _)| *net);
    let last = changes.chunk_by_mut(|(one, _), (other, _)| one == other).filter_map(|of_one| {
        let (net, ban) = of_one.last_mut()?;
        Some((*net, ban.take()?))
    });
    read.bans = last.collect();
    read
}

/// A prefix, and what it was banned with; `None`: the ban was taken back.
type Entry = (IpNet, Option<Arc<Ban>>);

/// The payload of the record at the beginning of `rest`.
fn framed(rest: &[u8]) -> Option<&[u8]> {
    let (header, after) = rest.split_first_chunk::<HEADER>()?;
    let (magic, header) = header.split_first_chunk::<4>()?;
    let (length, header) = header.split_first_chunk::<4>()?;
    let payload = after.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let is_whole = *magic == MAGIC && checksum(*length, payload).to_le_bytes() == *header;
    is_whole.then_some(payload)
}

/// Whether a file ends within the record that begins here.
fn is_cut(rest: &[u8]) -> bool {
    let magic = rest.len().min(MAGIC.len());
    let length = rest.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    rest[..magic] == MAGIC[..magic]
        && length.is_none_or(|length| rest.len() < HEADER + length as usize)
}

/// `None`: the payload means nothing, and nothing was done.
fn apply(payload: &[u8], clocks: &Clocks, read: &mut Read, changes: &mut Vec<Entry>) -> Option<()> {
    let mut reader = Reader(payload);
    let [kind] = reader.array()?;
    match kind {
        BAN => {
            let [has] = reader.array()?;
            let mut ban = Ban { until: None, reason: None };
            let mut reckoned = false;
            if has & HAS_END != 0 {
                let [wall, length, boot] = [reader.number()?, reader.number()?, reader.number()?];
                let boot_id = reader.array()?;
                let wall = UNIX_EPOCH.checked_add(Duration::from_millis(wall))?;
                let [length, boot] = [Duration::from_millis(length), Duration::from_nanos(boot)];
                ban.until = Some(clocks.end(wall, length, boot, boot_id));
                reckoned = boot_id != clocks.boot_id;
            }
            if has & HAS_REASON != 0 {
                let length = u16::from_le_bytes(reader.array()?);
                ban.reason = Some(str::from_utf8(reader.take(length.into())?).ok()?.to_owned());
            }
            let nets = reader.nets()?;
            let ban = Arc::new(ban);
            read.reckoned |= reckoned;
            changes.extend(nets.into_iter().map(|net| (net, Some(Arc::clone(&ban)))));
        }
        UNBAN => {
            let nets = reader.nets()?;
            changes.extend(nets.into_iter().map(|net| (net, None)));
        }
        _ => return None,
    }
    Some(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }

    /// The prefixes that all of the rest is.
    fn nets(&mut self) -> Option<Vec<IpNet>> {
        let mut nets = Vec::with_capacity(self.0.len() / 5);
        while let Some((&length, rest)) = self.0.split_first() {
            self.0 = rest;
            nets.push(match length.checked_sub(IPV6) {
                None => Ipv4Net::new(self.array::<4>()?.into(), length).ok()?.trunc().into(),
                Some(length) => {
                    Ipv6Net::new(self.array::<16>()?.into(), length).ok()?.trunc().into()
                }
            });
        }
        Some(nets)
    }
}
