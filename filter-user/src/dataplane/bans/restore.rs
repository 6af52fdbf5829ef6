//! Brings the kernel's tables and the list to what was saved, whatever the
//! tables hold: nothing after a reboot, and all of it after a restart.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use filter_common::{Address, banned, tables::bans::FOREVER};
use ipnet::IpNet;

use super::{Ban, Bans, List, OVER, PREFIXES, Until, each_word, end, is_single, now};
use crate::{
    compile::prefix_bits,
    dataplane::{MapFault, boot_time},
};

/// What [`Bans::restore`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Bans in the kernel that were not among the saved ones, and stay.
    pub adopted: usize,
    /// Saved bans for which the tables have no room any more.
    pub no_room: usize,
}

impl Bans {
    /// Puts the saved bans in force, as long as they have not ended. Entries
    /// that the kernel holds as they should be are not written; those that are
    /// in the kernel alone stay until they end.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read or write.
    pub fn restore(&mut self, saved: BTreeMap<IpNet, Arc<Ban>>) -> Result<Restored, MapFault> {
        let mut restored = Restored::default();
        let kernel = self.read_kernel()?;
        let is_fresh = kernel.is_empty();
        let now = now();
        let mut bans = saved;
        bans.retain(|_, ban| end(ban) > now);
        for (net, until) in &kernel {
            if bans.contains_key(net) {
                continue;
            }
            if *until <= now {
                self.erase(net)?;
            } else {
                restored.adopted += 1;
                bans.insert(*net, Arc::new(found(*until)));
            }
        }
        let mut room = [self.capacity, PREFIXES];
        bans.retain(|net, _| {
            // What the kernel holds already has its place.
            let room = &mut room[usize::from(!is_single(net))];
            let fits = *room > 0 || kernel.contains_key(net);
            *room = room.saturating_sub(1);
            restored.no_room += usize::from(!fits);
            fits
        });
        self.list = List::of(bans);
        self.write_entries(&kernel)?;
        drop(kernel);
        self.write_bitmap(is_fresh)?;
        self.tell_present()?;
        Ok(restored)
    }

    /// The entries of both tables.
    fn read_kernel(&self) -> Result<HashMap<IpNet, u64>, MapFault> {
        let mut entries = HashMap::new();
        for (address, end) in self.ipv4.entries() {
            let address = std::net::Ipv4Addr::from(address);
            entries.insert(IpNet::from(std::net::IpAddr::from(address)), banned::until(end));
        }
        for entry in self.ipv6.iter() {
            let (address, until) = entry.map_err(MapFault::of(Self::IPV6, "read"))?;
            entries.insert(IpNet::from(std::net::IpAddr::from(address)), until);
        }
        for entry in self.prefixes.iter() {
            let (key, until) = entry.map_err(MapFault::of("BAN_PREFIXES", "read"))?;
            let net = net_of(key.data(), key.prefix_len()).filter(|_| until != OVER);
            entries.extend(net.map(|net| (net, until)));
        }
        Ok(entries)
    }

    /// Writes what differs from the kernel's entries.
    fn write_entries(&mut self, kernel: &HashMap<IpNet, u64>) -> Result<(), MapFault> {
        let differs = |net: &IpNet, until: u64| kernel.get(net) != Some(&until);
        // As the table of IPv4 addresses has it.
        let until = |net: &IpNet, ban: &Ban| match net {
            IpNet::V4(_) => banned::kept(end(ban)),
            IpNet::V6(_) => end(ban),
        };
        let wanted = self.list.singles().map(|(net, ban)| (*net, until(net, ban)));
        let singles: Vec<_> = wanted.filter(|(net, until)| differs(net, *until)).collect();
        for (net, until) in singles {
            self.write_address(&net, until)?;
        }
        // As `write_prefix` does it, in one go: those around a prefix are the
        // last ones before it that have not closed.
        let (mut wide, mut around) = (Vec::new(), Vec::<(IpNet, u64)>::new());
        for (net, ban) in self.list.wide() {
            while around.last().is_some_and(|(outer, _)| !outer.contains(net)) {
                around.pop();
            }
            let until = around.last().map_or(0, |(_, until)| *until).max(end(ban));
            around.push((*net, until));
            if differs(net, until) {
                wide.push((*net, until));
            }
        }
        wide.into_iter().try_for_each(|(net, until)| self.write_entry(&net, until))
    }

    /// Makes the bitmap anew. In a fresh table every bit is clear.
    fn write_bitmap(&mut self, is_fresh: bool) -> Result<(), MapFault> {
        let mut wanted = vec![0_u64; self.words.len()];
        for (net, _) in self.list.after(None) {
            each_word(net, |index, bits| wanted[index as usize] |= bits);
        }
        if !is_fresh {
            for (index, word) in (0..).zip(&mut self.words) {
                *word = self.bitmap.get(&index, 0).map_err(MapFault::of("BAN_BITMAP", "read"))?;
            }
        }
        for (index, word) in (0..).zip(wanted) {
            if self.words[index as usize] != word {
                self.write_word(index, word)?;
            }
        }
        Ok(())
    }
}

/// A ban of which nothing but its end is known.
fn found(until: u64) -> Ban {
    let boot = Duration::from_nanos(until);
    let until = (until != FOREVER).then(|| {
        let length = boot.saturating_sub(boot_time());
        Until { boot, wall: SystemTime::now() + length, length }
    });
    Ban { until, reason: None }
}

/// The prefix that [`prefix_bits`] made such a key of.
fn net_of(address: Address, bits: u32) -> Option<IpNet> {
    let mapped = if address.is_ipv4() { 96 } else { 0 };
    let net = IpNet::new(address.into(), u8::try_from(bits.checked_sub(mapped)?).ok()?).ok()?;
    (prefix_bits(&net) == (address, bits)).then_some(net)
}
