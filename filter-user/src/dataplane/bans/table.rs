//! The table of banned IPv4 addresses, as its one writer has it.

use std::sync::atomic::{AtomicU64, Ordering};

use filter_common::{
    Seed,
    banned::{FREE, GONE, WAYS, buckets, entry, word},
};

use super::words::Words;

/// The table, over the words of all its buckets: a power of two of them.
///
/// A packet may look at it at any time. Whatever is in it before and after a
/// change is found during the change.
pub(super) struct Table<W = Words> {
    words: W,
    seed: Seed,
}

impl<W: AsRef<[AtomicU64]>> Table<W> {
    pub(super) fn new(words: W, seed: Seed) -> Self {
        Self { words, seed }
    }

    /// How many buckets hold so many addresses: places for 1.6 times as many,
    /// with which there is room for the last one.
    pub(super) fn buckets(addresses: u32) -> u32 {
        let places = u64::from(addresses).max(1) * 8 / 5;
        let buckets = places.div_ceil(WAYS as u64).next_power_of_two();
        u32::try_from(buckets).unwrap_or(1 << 31)
    }

    /// Enters an address whose ban ends at `end`, in the table's unit, or
    /// replaces its end. `false`: there is no room for it.
    pub(super) fn insert(&self, address: u32, end: u32) -> bool {
        let own = self.buckets_of(address);
        let free = || own.iter().find_map(|bucket| self.free_in(*bucket));
        let place = self.place_of(address).or_else(free).or_else(|| self.make_room(own));
        if let Some(place) = place {
            self.store(place, word(address, end));
        }
        place.is_some()
    }

    /// Takes an address out, if it is there: twice, where a move was cut off.
    pub(super) fn remove(&self, address: u32) {
        while let Some(place) = self.place_of(address) {
            self.store(place, if place % WAYS == WAYS - 1 { GONE } else { FREE });
        }
    }

    /// All addresses with the ends of their bans.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u32, u32)> {
        self.words.as_ref().iter().filter_map(|word| entry(word.load(Ordering::Acquire)))
    }

    /// Moves an entry from its first bucket to its second, and tells the place
    /// where it was; it is still there until something is put in its place. (A
    /// packet that looks for it looks in the second bucket last, and finds it.)
    fn make_room(&self, own: [usize; 2]) -> Option<usize> {
        own.into_iter().flat_map(places).find_map(|place| {
            let moved = self.load(place);
            let (address, _) = entry(moved)?;
            let [first, second] = self.buckets_of(address);
            if first != place / WAYS {
                return None;
            }
            self.store(self.free_in(second)?, moved);
            Some(place)
        })
    }

    fn place_of(&self, address: u32) -> Option<usize> {
        let is_its = |place: &usize| entry(self.load(*place)).is_some_and(|(of, _)| of == address);
        self.buckets_of(address).into_iter().flat_map(places).find(is_its)
    }

    fn free_in(&self, bucket: usize) -> Option<usize> {
        places(bucket).find(|place| entry(self.load(*place)).is_none())
    }

    fn buckets_of(&self, address: u32) -> [usize; 2] {
        let mask = self.words.as_ref().len() / WAYS - 1;
        buckets(&self.seed, address, mask as u32).map(|bucket| bucket as usize)
    }

    fn load(&self, place: usize) -> u64 {
        self.words.as_ref()[place].load(Ordering::Acquire)
    }

    fn store(&self, place: usize, word: u64) {
        self.words.as_ref()[place].store(word, Ordering::Release);
    }

    /// When the ban of an address ends, as a packet sees it; 0: it has none.
    #[cfg(test)]
    fn end(&self, address: u32) -> u32 {
        let mask = (self.words.as_ref().len() / WAYS - 1) as u32;
        filter_common::banned::find(&self.seed, mask, address, |bucket| {
            Some(move |way| self.load(bucket as usize * WAYS + way))
        })
    }
}

fn places(bucket: usize) -> impl Iterator<Item = usize> {
    (0..WAYS).map(move |way| bucket * WAYS + way)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NEVER: u32 = u32::MAX;

    fn table(addresses: u32, seed: Seed) -> Table<Vec<AtomicU64>> {
        let places = Table::<Words>::buckets(addresses) as usize * WAYS;
        Table::new((0..places).map(|_| AtomicU64::new(FREE)).collect(), seed)
    }

    /// The addresses of a list: one after the other, or far apart.
    fn address(number: u32, step: u32) -> u32 {
        number.wrapping_mul(step)
    }

    #[test]
    fn what_is_entered_is_found_until_it_is_taken_out() {
        let table = table(100, [1, 2]);
        for address in [0, 1, 0x0101_0101, u32::MAX - 1, u32::MAX] {
            assert_eq!(table.end(address), 0);
            for end in [1, 70_000, NEVER, 5] {
                assert!(table.insert(address, end));
                assert_eq!(table.end(address), end, "a repeat replaces the end");
                assert_eq!(table.entries().collect::<Vec<_>>(), [(address, end)]);
            }
            table.remove(address);
            table.remove(address);
            assert_eq!((table.end(address), table.entries().count()), (0, 0));
        }
    }

    #[test]
    fn there_is_room_for_as_many_as_it_is_made_for() {
        for (room, step) in [(1, 1), (2, 1), (8, 3), (9, 1), (10, 7), (20, 1), (41, 1), (1000, 1)]
            .into_iter()
            .chain([(5242, 1 << 8), (83_886, 1), (83_886, 0x9e37_79b1)])
        {
            for seed in 0..if room < 10_000 { 50 } else { 2 } {
                let table = table(room, [seed, !seed << 9]);
                for number in 0..room {
                    let address = address(number, step);
                    assert!(table.insert(address, number + 1), "{number} of {room}, seed {seed}");
                }
                for number in 0..room {
                    assert_eq!(table.end(address(number, step)), number + 1);
                }
                assert_eq!(table.end(address(room, step)), 0);
                assert_eq!(table.entries().count(), room as usize);
            }
        }
    }

    #[test]
    fn a_full_table_takes_no_more_and_keeps_what_it_has() {
        let table = table(1, [7, 8]);
        for address in 0..WAYS as u32 {
            assert!(table.insert(address, 9));
        }
        assert!(!table.insert(99, 9));
        assert!(table.insert(3, 10), "it has its place");
        let ends: Vec<u32> = (0..WAYS as u32).map(|address| table.end(address)).collect();
        assert_eq!(ends, [9, 9, 9, 10, 9, 9, 9, 9]);
        table.remove(7);
        assert!(table.insert(99, 9));
        assert_eq!((table.end(7), table.end(99)), (0, 9));
    }

    /// Entries that stand in their second bucket stay found when the first gets
    /// room again, and when others are moved.
    #[test]
    fn it_is_as_a_map_would_be() {
        // Few addresses and a table that is as full as can be.
        let (table, mut map) = (table(40, [9, 1]), BTreeMap::new());
        let (mut random, mut second) = (1_u32, 0);
        for _ in 0..50_000 {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let (address, end) = (random % 100, random >> 8 | 1);
            if random & 0x80 != 0 || map.len() >= 60 {
                table.remove(address);
                map.remove(&address);
            } else if table.insert(address, end) {
                map.insert(address, end);
            }
            for address in 0..100 {
                assert_eq!(table.end(address), map.get(&address).copied().unwrap_or(0));
            }
            second += usize::from(
                table
                    .place_of(address)
                    .is_some_and(|place| table.buckets_of(address)[0] != place / WAYS),
            );
        }
        assert_eq!(table.entries().collect::<BTreeMap<_, _>>(), map);
        assert!(second > 100, "{second} stood in their second bucket");
    }
}
