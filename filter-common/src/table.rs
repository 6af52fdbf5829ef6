//! The table of rate state: whose buckets stand where.
//!
//! Anybody's packets grow it, so it is bounded and never refuses for want of
//! room. A source has two buckets of eight places, by its hash. A newcomer
//! takes the place whose debt is paid first: an idle place says nothing that
//! an absent one does not, and where none is idle, the one that is forgotten
//! owes least. A source that has proved, by a connection of its own, that it is
//! no forgery gives way to those only that have proved it too.

use crate::{Seed, hash::mix, rate::ahead, tables::SourceKey};

/// Places of one bucket: their tags fill a cache line.
pub const WAYS: usize = 8;

/// The hash of the key of each place of a bucket; 0: the place is free. They
/// stand apart from the places: a flood from new sources reads tags alone, and
/// those of the whole table fit where the places do not.
pub type SourceTags = [u64; WAYS];

/// The places whose hashes fall together.
pub type SourceBucket = [SourceEntry; WAYS];

/// One place: the state of one source or network under one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SourceEntry {
    /// What it owes.
    pub rates: Rates,
    /// Whose it is. The tag decides; this is for people.
    pub key: SourceKey,
}

/// The rate state of one source or network under one rule, or of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Rates {
    /// Theoretical arrival time in ticks, of `new_connections`.
    pub new_connections: u64,
    /// Of `packets`.
    pub packets: u64,
    /// Of `bytes`.
    pub bytes: u64,
    /// Until when a connection of its own protects its place, in ticks.
    pub protected: u64,
    /// Packets refused here.
    pub refused: u64,
}

impl Rates {
    /// Of who has not been here.
    pub const NONE: Self =
        Self { new_connections: 0, packets: 0, bytes: 0, protected: 0, refused: 0 };

    /// What `protected` should be after a packet of a connection at `now`; not
    /// written anew with every packet.
    #[inline(always)]
    #[must_use]
    pub const fn protect(protected: u64, now: u64) -> Option<u64> {
        let until = now + PROTECTED;
        if until.wrapping_sub(protected) > PROTECTED / 16 { Some(until) } else { None }
    }
}

/// How long a connection protects its source's place, in ticks: ten minutes.
const PROTECTED: u64 = 600 * 1_000_000_000 * crate::rate::TICKS_PER_NS;

/// A table of such buckets.
pub trait Table {
    /// One bucket.
    type Bucket: Bucket;

    /// Where the bucket of a hash is: as many of its low bits count as the
    /// table is large. Never `None`, but the kernel's verifier cannot know.
    fn bucket(&self, hash: u64) -> Option<Self::Bucket>;

    /// The number, of which the kernel's verifier forgets what it knows, see
    /// [`Packet::forget`](crate::Packet::forget).
    fn forget(&self, number: usize) -> usize {
        number
    }
}

/// One bucket of a table. Every `way` is below [`WAYS`].
pub trait Bucket {
    /// A place in it.
    type Place: Place;

    /// The tag of a place.
    fn tag(&self, way: usize) -> u64;
    /// The state of a place.
    fn rates(&self, way: usize) -> Rates;
    /// Puts a tag in the place of another. Whether it was that one.
    fn claim(&self, way: usize, old: u64, new: u64) -> bool;
    /// The place itself.
    fn place(&self, way: usize) -> Self::Place;

    /// As [`Table::forget`].
    fn forget(&self, number: usize) -> usize {
        number
    }
}

/// One place of a table.
pub trait Place {
    /// Makes it that of a key, with nothing owed if `fresh`.
    fn begin(&self, key: &SourceKey, fresh: bool);
}

/// The hash of a key: its tag, and by its halves its two buckets.
#[inline(always)]
#[must_use]
pub const fn hash(seed: &Seed, key: &SourceKey) -> u64 {
    let [high, low] = key.source.halves();
    mix(seed, [high, low, (key.rule as u64) << 32 | key.scope as u64]) | 1 << 63
}

/// The hash by which the second bucket is found.
#[inline(always)]
const fn second(hash: u64) -> u64 {
    hash >> 32
}

/// The place of a key, if it has one.
#[inline(always)]
pub fn find<T: Table>(table: &T, hash: u64) -> Option<<T::Bucket as Bucket>::Place> {
    let bucket = table.bucket(hash)?;
    let way = position(&bucket, hash);
    if way < WAYS {
        return Some(bucket.place(way));
    }
    let bucket = table.bucket(second(hash))?;
    let way = position(&bucket, hash);
    if way < WAYS { Some(bucket.place(way)) } else { None }
}

/// The first place with that tag; [`WAYS`] where there is none.
#[inline(always)]
fn position<B: Bucket>(bucket: &B, tag: u64) -> usize {
    for way in 0..WAYS {
        if bucket.tag(way) == tag {
            return way;
        }
    }
    WAYS
}

/// What came of making a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// There was a place that nobody ever had.
    Fresh,
    /// There was an idle place, or the key had one already.
    Idle,
    /// Another's debt was forgotten for it.
    Evicted,
    /// Other CPUs were faster, twice.
    Lost,
}

/// Makes a place for a key that has none: [`find`] finds it then, unless
/// other CPUs took it. `proven`: a connection of the source's own asks.
#[inline(always)]
pub fn make<T: Table>(table: &T, hash: u64, key: &SourceKey, now: u64, proven: bool) -> Made {
    let Some(bucket) = table.bucket(hash) else { return Made::Lost };
    let one = Best::of(&bucket, hash, now, proven);
    let Some(bucket) = table.bucket(second(hash)) else { return Made::Lost };
    let other = Best::of(&bucket, hash, now, proven);
    // Of two buckets with idle places the emptier one: so most of the table
    // fills before a debt is forgotten (Azar and others, Balanced Allocations).
    let is_other = other.owes < one.owes || (other.owes == one.owes && other.idle > one.idle);
    let (best, hash_of_bucket) = if is_other { (other, second(hash)) } else { (one, hash) };
    let (way, tag, owes) = (table.forget(best.way), best.tag, best.owes);
    let Some(bucket) = table.bucket(hash_of_bucket) else { return Made::Lost };
    let way = way % WAYS;
    if !bucket.claim(way, tag, hash) {
        return Made::Lost;
    }
    bucket.place(way).begin(key, owes > IDLE);
    match tag {
        0 => Made::Fresh,
        _ if owes > IDLE => Made::Evicted,
        _ => Made::Idle,
    }
}

/// Owed by a place that is free, or idle.
const IDLE: u64 = 1;

/// The place of a bucket that can best be given away.
struct Best {
    /// [`IDLE`], and ticks until its debt is paid; a proven one's count more.
    owes: u64,
    /// Its number.
    way: usize,
    /// Its tag.
    tag: u64,
    /// Idle places of the bucket.
    idle: usize,
}

impl Best {
    /// The first of equals, so that two CPUs that make the same key's place
    /// fall on the same one.
    #[inline(always)]
    fn of<B: Bucket>(bucket: &B, hash: u64, now: u64, proven: bool) -> Self {
        let mut best = Self { owes: u64::MAX, way: 0, tag: 0, idle: 0 };
        for way in 0..WAYS {
            let tag = bucket.tag(way);
            // Another CPU may have made it meanwhile: nothing is better.
            let owes = owes(bucket.rates(way), now, proven) & if_any(tag ^ hash);
            let owes = bucket.forget(owes as usize) as u64;
            best.idle += (owes == IDLE) as usize;
            if owes < best.owes {
                best = Self { owes, way, tag, ..best };
            }
        }
        best.idle = bucket.forget(best.idle);
        best
    }
}

/// [`IDLE`] of one that is free: it is all zeroes.
#[inline(always)]
fn owes(rates: Rates, now: u64, proven: bool) -> u64 {
    let Rates { new_connections, packets, bytes, protected, .. } = rates;
    let [a, b, c] = [ahead(new_connections, now), ahead(packets, now), ahead(bytes, now)];
    let most = a + ahead(b, a);
    let owes = IDLE + most + ahead(c, most);
    owes | if_any(ahead(protected, now)) & if_any(!proven as u64) & 1 << 63
}

/// All ones if the number is not 0. Without a branch, which the verifier would
/// follow both ways at each of sixteen places.
#[inline(always)]
const fn if_any(number: u64) -> u64 {
    ((number | number.wrapping_neg()) as i64 >> 63) as u64
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::cell::Cell;
    use std::{rc::Rc, vec, vec::Vec};

    use super::*;
    use crate::{Address, rate::TICKS_PER_NS};

    const SECOND: u64 = 1_000_000_000 * TICKS_PER_NS;

    /// A table in user space.
    struct Small(Vec<Rc<Cell<Whole>>>);

    struct Shared(Rc<Cell<Whole>>);

    struct Spot(Rc<Cell<Whole>>, usize);

    #[derive(Clone, Copy, Default)]
    struct Whole {
        tags: SourceTags,
        entries: SourceBucket,
    }

    impl Small {
        fn new(buckets: usize) -> Self {
            assert!(buckets.is_power_of_two());
            Self((0..buckets).map(|_| Rc::default()).collect())
        }

        fn taken(&self) -> usize {
            self.0.iter().flat_map(|bucket| bucket.get().tags).filter(|tag| *tag != 0).count()
        }
    }

    impl Table for Small {
        type Bucket = Shared;

        fn bucket(&self, hash: u64) -> Option<Shared> {
            self.0.get(hash as usize & (self.0.len() - 1)).cloned().map(Shared)
        }
    }

    impl Bucket for Shared {
        type Place = Spot;

        fn tag(&self, way: usize) -> u64 {
            self.0.get().tags[way]
        }

        fn rates(&self, way: usize) -> Rates {
            self.0.get().entries[way].rates
        }

        fn claim(&self, way: usize, old: u64, new: u64) -> bool {
            let mut bucket = self.0.get();
            let same = bucket.tags[way] == old;
            if same {
                bucket.tags[way] = new;
                self.0.set(bucket);
            }
            same
        }

        fn place(&self, way: usize) -> Spot {
            Spot(self.0.clone(), way)
        }
    }

    impl Spot {
        fn change(&self, change: impl Fn(&mut SourceEntry)) {
            let mut bucket = self.0.get();
            change(&mut bucket.entries[self.1]);
            self.0.set(bucket);
        }

        fn rates(&self) -> Rates {
            self.0.get().entries[self.1].rates
        }
    }

    impl Place for Spot {
        fn begin(&self, key: &SourceKey, fresh: bool) {
            self.change(|entry| {
                if fresh {
                    entry.rates = Rates::NONE;
                }
                (entry.rates.protected, entry.rates.refused) = (0, 0);
                entry.key = *key;
            });
        }
    }

    fn key(number: u32) -> SourceKey {
        SourceKey { rule: 1, scope: 0, source: Address::from_ipv4(number) }
    }

    fn hash_of(number: u32) -> u64 {
        hash(&[0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321], &key(number))
    }

    /// Finds or makes the place of a source, which then owes until `owes`.
    fn visit(table: &Small, number: u32, now: u64, owes: u64, proven: bool) -> Option<Made> {
        let mut made = None;
        if find(table, hash_of(number)).is_none() {
            made = Some(make(table, hash_of(number), &key(number), now, proven));
        }
        let spot = find(table, hash_of(number));
        assert!(spot.is_some(), "{number} has a place now");
        if let Some(spot) = spot {
            spot.change(|entry| {
                entry.rates.packets = entry.rates.packets.max(owes);
                if proven {
                    entry.rates.protected = now + PROTECTED;
                }
            });
        }
        made
    }

    #[test]
    fn every_source_has_a_place_of_its_own_while_there_is_room() {
        let table = Small::new(64);
        let now = 1000 * SECOND;
        for number in 0..300 {
            assert_eq!(visit(&table, number, now, now + SECOND, false), Some(Made::Fresh));
        }
        assert_eq!(table.taken(), 300);
        for number in 0..300 {
            assert_eq!(visit(&table, number, now, 0, false), None, "{number} is there still");
        }
    }

    /// Two choices: where one bucket of eight would overflow early, most of
    /// the table is in use before anybody is forgotten.
    #[test]
    fn most_of_the_table_fills_before_a_debt_is_forgotten() {
        let (table, now) = (Small::new(1024), 1000 * SECOND);
        let first = (0..8192).position(|number| {
            visit(&table, number, now, now + SECOND, false) == Some(Made::Evicted)
        });
        // 79 % here; 48 % where the second bucket is for what the first has no room for.
        assert!(first.is_some_and(|first| first > 8192 * 3 / 4), "{first:?}");
    }

    #[test]
    fn an_idle_place_is_given_away_without_a_loss() {
        let (table, now) = (Small::new(2), 1000 * SECOND);
        for number in 0..16 {
            visit(&table, number, now, now + SECOND, false);
        }
        let later = now + 2 * SECOND;
        for number in 100..108 {
            assert_eq!(visit(&table, number, later, later + SECOND, false), Some(Made::Idle));
        }
    }

    /// A flood of sources that are seen once owes little; who owes most is
    /// forgotten last, so that no flood washes a debt away.
    #[test]
    fn a_flood_does_not_wash_away_a_large_debt() {
        let (table, now) = (Small::new(64), 1000 * SECOND);
        visit(&table, 7, now, now + 60 * SECOND, false);
        for number in 1000..200_000 {
            visit(&table, number, now, now + SECOND, false);
        }
        assert_eq!(visit(&table, 7, now, 0, false), None);
        let owes = find(&table, hash_of(7)).map(|spot| spot.rates().packets);
        assert_eq!(owes, Some(now + 60 * SECOND));
    }

    #[test]
    fn a_flood_of_strangers_does_not_push_out_who_has_a_connection() {
        let (table, now) = (Small::new(64), 1000 * SECOND);
        let peers = 0..64;
        for number in peers.clone() {
            visit(&table, number, now, now + 1, true);
        }
        for number in 1000..200_000 {
            visit(&table, number, now, now + 60 * SECOND, false);
        }
        for number in peers.clone() {
            assert_eq!(visit(&table, number, now, 0, true), None, "peer {number}");
        }
        // Not for good: ten minutes after its last packet it is as any other.
        let later = now + PROTECTED + SECOND;
        for number in 300_000..500_000 {
            visit(&table, number, later, later + 60 * SECOND, false);
        }
        let left = peers.filter(|number| find(&table, hash_of(*number)).is_some()).count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_loser_of_the_race_for_a_place_is_told() {
        struct Raced(Small);
        struct Late(Shared);
        impl Table for Raced {
            type Bucket = Late;
            fn bucket(&self, hash: u64) -> Option<Late> {
                self.0.bucket(hash).map(Late)
            }
        }
        impl Bucket for Late {
            type Place = Spot;
            fn tag(&self, way: usize) -> u64 {
                self.0.tag(way)
            }
            fn rates(&self, way: usize) -> Rates {
                self.0.rates(way)
            }
            fn claim(&self, _: usize, _: u64, _: u64) -> bool {
                false
            }
            fn place(&self, way: usize) -> Spot {
                self.0.place(way)
            }
        }
        let table = Raced(Small::new(2));
        assert_eq!(make(&table, hash_of(1), &key(1), 0, false), Made::Lost);
        assert_eq!(vec![table.0.taken()], [0]);
    }
}
