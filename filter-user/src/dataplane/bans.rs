//! The bans: the kernel judges by its own tables and clock; the list here is
//! what an operator sees of them.

use std::{
    collections::{BTreeMap, HashMap as Mirror},
    ops::Bound,
    time::SystemTime,
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, MapData, lpm_trie::Key},
};
use filter_common::{Address, tables::bans};
use ipnet::{IpNet, Ipv4Net};

use super::{BootTime, LoadError, MapFault, boot_time, control::Control, load::take};
use crate::compile::{filter_places, prefix_bits};

/// Prefixes wider than one address that can be banned at a time.
const PREFIXES: u32 = 100_000;

/// One ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// When it ends; `None`: when it is taken back.
    pub until: Option<Until>,
    /// What the operator said of it.
    pub reason: Option<String>,
}

/// The end of a ban on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until {
    /// By which the kernel goes.
    pub boot: BootTime,
    /// Which people read.
    pub wall: SystemTime,
}

/// The bans in the kernel, and the list of them.
pub struct Bans {
    addresses: HashMap<MapData, Address, u64>,
    prefixes: LpmTrie<MapData, Address, u64>,
    bitmap: Array<MapData, u64>,
    control: Control,
    /// What it says of the bans.
    present: u32,
    /// The words of the bitmap that are not 0.
    words: Mirror<u32, u64>,
    list: BTreeMap<IpNet, Ban>,
    capacity: u32,
    /// How many of the list are wider than one address.
    wide: u32,
    /// No ban ends before this; so most sweeps have nothing to look for.
    soonest: Option<BootTime>,
}

impl Bans {
    pub(super) fn take(
        ebpf: &mut Ebpf,
        control: Control,
        capacity: u32,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            addresses: take(ebpf, "BANS")?,
            prefixes: take(ebpf, "BAN_PREFIXES")?,
            bitmap: take(ebpf, "BAN_BITMAP")?,
            control,
            present: 0,
            words: Mirror::new(),
            list: BTreeMap::new(),
            capacity,
            wide: 0,
            soonest: None,
        })
    }

    /// All bans, in the order of their prefixes. Some may have run out since
    /// the last [`expire`](Self::expire).
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &Ban)> {
        self.list.iter()
    }

    /// The bans after `prefix`, or all, likewise.
    pub fn after(&self, prefix: Option<IpNet>) -> impl Iterator<Item = (&IpNet, &Ban)> {
        let from = prefix.map_or(Bound::Unbounded, Bound::Excluded);
        self.list.range((from, Bound::Unbounded))
    }

    /// Whether exactly this prefix is banned.
    #[must_use]
    pub fn holds(&self, prefix: &IpNet) -> bool {
        self.list.contains_key(prefix)
    }

    /// Bans of single addresses and how many there is room for; of wider
    /// prefixes, likewise.
    #[must_use]
    pub fn fill(&self) -> [(u32, u32); 2] {
        let all = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        [(all - self.wide, self.capacity), (self.wide, PREFIXES)]
    }

    /// Bans a prefix. A ban of the same prefix is replaced, its end included.
    ///
    /// # Errors
    ///
    /// When the table is full, or the kernel refuses the entry.
    pub fn add(&mut self, net: IpNet, ban: Ban) -> Result<(), MapFault> {
        let net = net.trunc();
        if is_single(&net) {
            let (address, _) = prefix_bits(&net);
            self.addresses.insert(address, end(&ban), 0).map_err(
                |error| match MapFault::is_full(&error) {
                    true => MapFault::Full { table: "bans", capacity: self.capacity },
                    false => MapFault::of("BANS", "write")(error),
                },
            )?;
        } else {
            self.write_prefix(&net, end(&ban))?;
        }
        // From the inside out: a packet looks at the entry last.
        self.mark(&net)?;
        let until = ban.until.map(|until| until.boot);
        self.soonest = [self.soonest, until].into_iter().flatten().min();
        if self.list.insert(net, ban).is_none() && !is_single(&net) {
            self.wide += 1;
        }
        self.write_inside(&net)?;
        self.write_present()
    }

    /// Takes a ban back. `false`: there is none of exactly that prefix.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to remove it; then it holds still.
    pub fn remove(&mut self, net: &IpNet) -> Result<bool, MapFault> {
        let net = net.trunc();
        if !self.list.contains_key(&net) {
            return Ok(false);
        }
        let (address, length) = prefix_bits(&net);
        if is_single(&net) {
            self.addresses.remove(&address).map_err(MapFault::of("BANS", "write"))?;
        } else {
            let key = Key::new(length, address);
            self.prefixes.remove(&key).map_err(MapFault::of("BAN_PREFIXES", "write"))?;
            self.wide -= 1;
        }
        self.list.remove(&net);
        self.write_inside(&net)?;
        self.write_present()?;
        self.unmark(&net)?;
        Ok(true)
    }

    /// Takes out the bans that have run out; the kernel does not heed them
    /// any more. How many there were.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to remove one.
    pub fn expire(&mut self) -> Result<usize, MapFault> {
        let now = boot_time();
        if self.soonest.is_none_or(|soonest| now < soonest) {
            return Ok(0);
        }
        let over = |ban: &Ban| ban.until.is_some_and(|until| until.boot <= now);
        let ended: Vec<IpNet> =
            self.list.iter().filter(|(_, ban)| over(ban)).map(|(net, _)| *net).collect();
        for net in &ended {
            self.remove(net)?;
        }
        self.soonest = self.list.values().filter_map(|ban| Some(ban.until?.boot)).min();
        Ok(ended.len())
    }

    /// Writes a prefix's entry. The kernel finds the longest prefix alone: so
    /// that a ban which has run out hides no wider one, its entry ends with
    /// the last of all bans that hold the prefix. `own`: the end of its own.
    fn write_prefix(&mut self, net: &IpNet, own: u64) -> Result<(), MapFault> {
        let wider = (0..net.prefix_len()).filter_map(|length| {
            let wider = IpNet::new(net.network(), length).ok()?.trunc();
            self.list.get(&wider).map(end)
        });
        let until = wider.fold(own, u64::max);
        let (address, length) = prefix_bits(net);
        self.prefixes.insert(&Key::new(length, address), until, 0).map_err(|error| {
            match MapFault::is_full(&error) {
                true => MapFault::Full { table: "ban_prefixes", capacity: PREFIXES },
                false => MapFault::of("BAN_PREFIXES", "write")(error),
            }
        })
    }

    /// Writes the entries anew whose prefixes lie inside `net`.
    fn write_inside(&mut self, net: &IpNet) -> Result<(), MapFault> {
        if is_single(net) {
            return Ok(());
        }
        let inside = self.list.range((Bound::Excluded(*net), Bound::Unbounded));
        let inside: Vec<(IpNet, u64)> = inside
            .take_while(|(other, _)| net.contains(*other))
            .filter(|(other, _)| !is_single(other))
            .map(|(other, ban)| (*other, end(ban)))
            .collect();
        inside.iter().try_for_each(|(other, own)| self.write_prefix(other, *own))
    }

    fn write_present(&mut self) -> Result<(), MapFault> {
        let any = if self.list.is_empty() { 0 } else { bans::ANY };
        let prefixes = if self.wide == 0 { 0 } else { bans::PREFIXES };
        let present = any | prefixes;
        if present != self.present {
            self.control.change(|control| {
                control.bans = present;
                Ok(())
            })?;
            self.present = present;
        }
        Ok(())
    }

    /// Sets the bits of the bitmap in which addresses of a prefix fall.
    fn mark(&mut self, net: &IpNet) -> Result<(), MapFault> {
        let mut changed: Mirror<u32, u64> = Mirror::new();
        let mut set = |index: u32, bit: u32| *changed.entry(index).or_default() |= 1 << bit;
        match net {
            IpNet::V4(net) => {
                let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
                for block in first >> 8..=last >> 8 {
                    let (index, bit) = bans::block_place(block);
                    set(index, bit);
                }
                for high in first >> 16..=last >> 16 {
                    let (index, bit) = bans::wide_place(high << 16);
                    set(index, bit);
                }
            }
            IpNet::V6(net) => filter_places(net, bans::filter_place, set),
        }
        for (index, bits) in changed {
            let word = self.words.get(&index).copied().unwrap_or(0);
            self.write_word(index, word | bits)?;
        }
        Ok(())
    }

    /// Clears the bit of an IPv4 /24 that holds no ban any more, and all bits
    /// with the last ban; that of the /16 when none of its /24s has one. Others stay: a bit too many costs a look-up.
    fn unmark(&mut self, net: &IpNet) -> Result<(), MapFault> {
        if self.list.is_empty() {
            let words: Vec<u32> = self.words.keys().copied().collect();
            return words.into_iter().try_for_each(|index| self.write_word(index, 0));
        }
        let IpNet::V4(v4) = net else { return Ok(()) };
        if v4.prefix_len() < 24 || self.holds_ban(v4) {
            return Ok(());
        }
        let address = u32::from(v4.network());
        self.clear(bans::block_place(address >> 8))?;
        let (first, _) = bans::block_place(address >> 16 << 8);
        if (first..first + 256 / u64::BITS).any(|index| self.words.contains_key(&index)) {
            return Ok(());
        }
        self.clear(bans::wide_place(address))
    }

    fn clear(&mut self, (index, bit): (u32, u32)) -> Result<(), MapFault> {
        let word = self.words.get(&index).copied().unwrap_or(0);
        self.write_word(index, word & !(1 << bit))
    }

    /// Whether a ban touches the /24 of a prefix.
    fn holds_ban(&self, net: &Ipv4Net) -> bool {
        let block = Ipv4Net::new_assert(net.network(), 24).trunc();
        let inside = self
            .list
            .range(IpNet::V4(Ipv4Net::new_assert(block.network(), 0))..)
            .next()
            .is_some_and(|(next, _)| IpNet::V4(block).contains(next));
        inside
            || (0..=24).any(|length| {
                let wider = Ipv4Net::new_assert(net.network(), length).trunc();
                self.list.contains_key(&IpNet::V4(wider))
            })
    }

    fn write_word(&mut self, index: u32, word: u64) -> Result<(), MapFault> {
        self.bitmap.set(index, word, 0).map_err(MapFault::of("BAN_BITMAP", "write"))?;
        match word {
            0 => self.words.remove(&index),
            word => self.words.insert(index, word),
        };
        Ok(())
    }
}

/// When a ban ends, on the kernel's clock.
fn end(ban: &Ban) -> u64 {
    let until = ban.until.map(|until| u64::try_from(until.boot.as_nanos()).ok());
    until.flatten().unwrap_or(bans::FOREVER)
}

fn is_single(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}
