//! The bans: the kernel judges by its own tables and clock; the list here is
//! what an operator sees of them.

mod list;
mod restore;
mod table;
mod words;

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, Map, MapData, lpm_trie::Key},
};
use filter_common::{Address, Seed, banned, tables::bans};
use ipnet::{IpNet, Ipv4Net};

use self::list::{List, end, is_single};
pub use self::restore::Restored;
use self::{table::Table, words::Words};
use super::{BootTime, LoadError, MapFault, boot_time, control::Control, load::take};
use crate::compile::{filter_places, prefix_bits};

/// Prefixes wider than one address that can be banned at a time.
const PREFIXES: u32 = 100_000;

/// The end of an entry that bans nobody.
const OVER: u64 = 0;

/// What is said of a ban, or of all bans of one request.
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
    /// For how long it was made.
    pub length: Duration,
}

impl Until {
    /// The end of what begins now; `None` where the clock has no such time.
    #[must_use]
    pub fn after(length: Duration) -> Option<Self> {
        let (boot, wall) =
            (boot_time().checked_add(length)?, SystemTime::now().checked_add(length)?);
        Some(Self { boot, wall, length })
    }
}

/// The bans in the kernel, and the list of them.
pub struct Bans {
    ipv4: Table,
    ipv6: HashMap<MapData, Address, u64>,
    prefixes: LpmTrie<MapData, Address, u64>,
    bitmap: Array<MapData, u64>,
    control: Control,
    /// What it says of the bans.
    present: u32,
    /// The bitmap as it is in the kernel.
    words: Vec<u64>,
    list: List,
    capacity: u32,
}

impl Bans {
    /// The tables of single addresses.
    pub(super) const IPV4: &str = "BANS_IPV4";
    pub(super) const IPV6: &str = "BANS_IPV6";

    /// How many buckets the table of IPv4 addresses has.
    pub(super) fn buckets(capacity: u32) -> u32 {
        Table::<Words>::buckets(capacity)
    }

    /// `seed`: by which the program finds its entries.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        control: Control,
        seed: Seed,
        capacity: u32,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            ipv4: Table::new(Self::map(ebpf)?, seed),
            ipv6: take(ebpf, Self::IPV6)?,
            prefixes: take(ebpf, "BAN_PREFIXES")?,
            bitmap: take(ebpf, "BAN_BITMAP")?,
            control,
            present: 0,
            words: vec![0; bans::WORDS as usize],
            list: List::default(),
            capacity,
        })
    }

    fn map(ebpf: &Ebpf) -> Result<Words, LoadError> {
        let Some(Map::Array(data)) = ebpf.map(Self::IPV4) else {
            return Err(LoadError::Object { what: "map", name: Self::IPV4 });
        };
        Words::of(data).map_err(|error| LoadError::Other(error.into()))
    }

    /// The bans after `prefix`, or all, in the order of their prefixes. Some may
    /// have run out since the last [`expire`](Self::expire).
    pub fn after(&self, prefix: Option<IpNet>) -> impl Iterator<Item = (&IpNet, &Arc<Ban>)> {
        self.list.after(prefix)
    }

    /// What is said of the ban of exactly this prefix.
    #[must_use]
    pub fn get(&self, prefix: &IpNet) -> Option<&Arc<Ban>> {
        self.list.get(prefix)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.len() == 0
    }

    /// Bans of single addresses and how many there is room for; of wider
    /// prefixes, likewise.
    #[must_use]
    pub fn fill(&self) -> [(u32, u32); 2] {
        let [single, wide] = self.list.counts().map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        [(single, self.capacity), (wide, PREFIXES)]
    }

    /// Bans a prefix. A ban of the same prefix is replaced, its end included,
    /// and returned.
    ///
    /// # Errors
    ///
    /// When the table is full, or the kernel refuses the entry.
    pub fn add(
        &mut self,
        net: IpNet,
        ban: impl Into<Arc<Ban>>,
    ) -> Result<Option<Arc<Ban>>, MapFault> {
        let (net, ban) = (net.trunc(), ban.into());
        if is_single(&net) {
            let [single, _] = self.list.counts();
            if self.list.get(&net).is_none() && single >= self.capacity as usize {
                return Err(self.full());
            }
            self.write_address(&net, end(&ban))?;
        } else {
            self.write_prefix(&net, end(&ban))?;
        }
        // From the inside out: a packet looks at the entry last.
        self.mark(&net)?;
        let before = self.list.insert(net, ban);
        self.write_inside(&net)?;
        self.write_present()?;
        Ok(before)
    }

    /// Takes a ban back and returns it. `None`: there is none of exactly that
    /// prefix.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to remove it; then it holds still.
    pub fn remove(&mut self, net: &IpNet) -> Result<Option<Arc<Ban>>, MapFault> {
        let net = net.trunc();
        if self.list.get(&net).is_none() {
            return Ok(None);
        }
        self.erase(&net)?;
        let ban = self.list.remove(&net);
        self.write_inside(&net)?;
        self.write_present()?;
        self.unmark(&net)?;
        Ok(ban)
    }

    /// Takes out at most `limit` of the bans that have run out, those that
    /// ended first; the kernel does not heed them any more. How many there were.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to remove one.
    pub fn expire(&mut self, limit: usize) -> Result<usize, MapFault> {
        let ended = self.list.ended(now(), limit);
        for net in &ended {
            self.remove(net)?;
        }
        Ok(ended.len())
    }

    fn write_address(&mut self, net: &IpNet, end: u64) -> Result<(), MapFault> {
        if let IpNet::V4(net) = net {
            let entered = self.ipv4.insert(net.addr().into(), banned::end(end));
            return if entered { Ok(()) } else { Err(self.full()) };
        }
        let (address, _) = prefix_bits(net);
        self.ipv6.insert(address, end, 0).map_err(|error| match MapFault::is_full(&error) {
            true => self.full(),
            false => MapFault::of(Self::IPV6, "write")(error),
        })
    }

    fn full(&self) -> MapFault {
        MapFault::Full { table: "bans", capacity: self.capacity }
    }

    /// Writes a prefix's entry. The kernel finds the longest prefix alone: so
    /// that a ban which has run out hides no wider one, its entry ends with
    /// the last of all bans that hold the prefix. `own`: the end of its own.
    fn write_prefix(&mut self, net: &IpNet, own: u64) -> Result<(), MapFault> {
        let until = self.list.around(net).map(|ban| end(ban)).fold(own, u64::max);
        self.write_entry(net, until)
    }

    fn write_entry(&mut self, net: &IpNet, until: u64) -> Result<(), MapFault> {
        // An IPv6 prefix that holds the mapped IPv4 addresses is none of theirs: a
        // longer entry that says nothing stands between.
        let all_ipv4 = IpNet::V4(Ipv4Net::default());
        if Self::is_around_ipv4(net) && self.list.get(&all_ipv4).is_none() {
            self.put_entry(&all_ipv4, OVER)?;
        }
        self.put_entry(net, until)
    }

    /// Whether IPv4 addresses, as the tables write them, lie in an IPv6 prefix.
    fn is_around_ipv4(net: &IpNet) -> bool {
        let IpNet::V6(net) = net else { return false };
        net.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped())
    }

    fn put_entry(&mut self, net: &IpNet, until: u64) -> Result<(), MapFault> {
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
        let inside: Vec<(IpNet, u64)> =
            self.list.inside(net).map(|(other, ban)| (*other, end(ban))).collect();
        inside.iter().try_for_each(|(other, own)| self.write_prefix(other, *own))
    }

    /// Removes the entry of a prefix from the kernel.
    fn erase(&mut self, net: &IpNet) -> Result<(), MapFault> {
        let (address, length) = prefix_bits(net);
        if *net == IpNet::V4(Ipv4Net::default())
            && self.list.wide().any(|(other, _)| Self::is_around_ipv4(other))
        {
            return self.put_entry(net, OVER);
        }
        match net {
            IpNet::V4(net) if is_single(&(*net).into()) => {
                self.ipv4.remove(net.addr().into());
                Ok(())
            }
            IpNet::V6(_) if is_single(net) => {
                self.ipv6.remove(&address).map_err(MapFault::of(Self::IPV6, "write"))
            }
            _ => {
                let key = Key::new(length, address);
                self.prefixes.remove(&key).map_err(MapFault::of("BAN_PREFIXES", "write"))
            }
        }
    }

    /// Which kinds of ban there are.
    fn kinds(&self) -> u32 {
        let [single, wide] = self.list.counts();
        let any = if single + wide == 0 { 0 } else { bans::ANY };
        let prefixes = if wide == 0 { 0 } else { bans::PREFIXES };
        any | prefixes
    }

    fn write_present(&mut self) -> Result<(), MapFault> {
        if self.kinds() == self.present { Ok(()) } else { self.tell_present() }
    }

    fn tell_present(&mut self) -> Result<(), MapFault> {
        let present = self.kinds();
        self.control.change(|control| {
            control.bans = present;
            Ok(())
        })?;
        self.present = present;
        Ok(())
    }

    /// Sets the bits of the bitmap in which addresses of a prefix fall.
    fn mark(&mut self, net: &IpNet) -> Result<(), MapFault> {
        // Words that lack some of them; a /0 has all the words there are.
        let mut changed = Vec::new();
        each_word(net, |index, bits| {
            if self.words[index as usize] & bits != bits {
                changed.push((index, bits));
            }
        });
        for (index, bits) in changed {
            self.write_word(index, self.words[index as usize] | bits)?;
        }
        Ok(())
    }

    /// Clears the bit of an IPv4 /24 that holds no ban any more, and all bits
    /// with the last ban; that of the /16 when none of its /24s has one. Others stay: a bit too many costs a look-up.
    fn unmark(&mut self, net: &IpNet) -> Result<(), MapFault> {
        if self.is_empty() {
            let used = (0_u32..).zip(&self.words).filter(|(_, word)| **word != 0);
            let used: Vec<u32> = used.map(|(index, _)| index).collect();
            return used.into_iter().try_for_each(|index| self.write_word(index, 0));
        }
        let IpNet::V4(v4) = net else { return Ok(()) };
        if v4.prefix_len() < 24 || self.list.touches_block(v4) {
            return Ok(());
        }
        let address = u32::from(v4.network());
        self.clear(bans::block_place(address >> 8))?;
        let (first, _) = bans::block_place(address >> 16 << 8);
        let of_wide = first as usize..(first + 256 / u64::BITS) as usize;
        if self.words[of_wide].iter().any(|word| *word != 0) {
            return Ok(());
        }
        self.clear(bans::wide_place(address))
    }

    fn clear(&mut self, (index, bit): (u32, u32)) -> Result<(), MapFault> {
        self.write_word(index, self.words[index as usize] & !(1 << bit))
    }

    fn write_word(&mut self, index: u32, word: u64) -> Result<(), MapFault> {
        self.bitmap.set(index, word, 0).map_err(MapFault::of("BAN_BITMAP", "write"))?;
        self.words[index as usize] = word;
        Ok(())
    }
}

/// Tells the words of the bitmap in which addresses of a prefix fall, and their
/// bits; a word may come more than once.
fn each_word(net: &IpNet, mut each: impl FnMut(u32, u64)) {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            for place in [|address| bans::block_place(address >> 8), bans::wide_place] {
                let ((first, low), (last, high)) = (place(first), place(last));
                for index in first..=last {
                    let low = if index == first { low } else { 0 };
                    let high = if index == last { high } else { u64::BITS - 1 };
                    each(index, u64::MAX << low & u64::MAX >> (u64::BITS - 1 - high));
                }
            }
        }
        IpNet::V6(net) => {
            filter_places(net, bans::filter_place, |index, bit| each(index, 1 << bit));
        }
    }
}

/// The kernel's clock.
fn now() -> u64 {
    u64::try_from(boot_time().as_nanos()).unwrap_or(u64::MAX)
}
