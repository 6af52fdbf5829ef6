//! The sources that completed a handshake with this host of late.
//!
//! Only what has seen a handshake to its end writes here, so that no flood in
//! forged names can. A bucket is one cache line of words, each a tag of the
//! source's hash and the time; the oldest of a full bucket gives way.

use crate::{Address, Seed, hash::mix, state::Cell};

/// Words of a bucket.
pub const WAYS: usize = 8;
/// Ticks in the unit of time here: 2^36 ns, about 69 s.
const UNIT: u32 = 40;
/// Bits of a word that tell the time: 833 days.
const TIME_BITS: u32 = 20;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// How long a handshake counts: 24 hours.
pub const KEPT: u64 = 86_400_000_000_000 >> (UNIT - 4);

/// One bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Known {
    /// A tag and a time; 0: free.
    pub words: [u64; WAYS],
}

/// Where a source prefix is found: its hash. The bucket is that of the low bits.
#[inline(always)]
#[must_use]
pub const fn hash(seed: &Seed, source: &Address) -> u64 {
    let [high, low] = source.halves();
    mix(seed, [high, low, 0x6b6e_6f77_6e00])
}

/// Whether the source is in its bucket. `now` in ticks.
#[inline(always)]
#[must_use]
pub fn holds<C: Cell>(bucket: impl Fn(usize) -> C, hash: u64, now: u64) -> bool {
    for way in 0..WAYS {
        let word = bucket(way).load();
        if word & !TIME == tag(hash) {
            let age = (now >> UNIT).wrapping_sub(word) & TIME;
            return age <= KEPT;
        }
    }
    false
}

/// Notes that the source has completed a handshake at `now`, in ticks.
#[inline(always)]
pub fn note<C: Cell>(bucket: impl Fn(usize) -> C, hash: u64, now: u64) {
    let time = now >> UNIT & TIME;
    let (mut oldest, mut way) = (0, 0);
    for candidate in 0..WAYS {
        let word = bucket(candidate).load();
        let age = if word & !TIME == tag(hash) {
            // Its own place, whatever else there is.
            TIME + 2
        } else if word == 0 {
            TIME + 1
        } else {
            time.wrapping_sub(word) & TIME
        };
        if age > oldest {
            (oldest, way) = (age, candidate);
        }
    }
    let word = bucket(way);
    let old = word.load();
    // Where another CPU was faster, one of two sources is not noted this time.
    let _ = word.compare_exchange(old, tag(hash) | time);
}

/// The bits of a hash that stand in a word: not those that choose the bucket,
/// and never all 0, which is a free word's.
#[inline(always)]
const fn tag(hash: u64) -> u64 {
    (hash | 1 << 63) & !TIME
}

#[cfg(test)]
mod tests {
    use core::{array, cell::Cell as Value};

    use super::*;

    const HOUR: u64 = 3600 * 1_000_000_000 * crate::rate::TICKS_PER_NS;

    #[test]
    fn a_handshake_counts_for_a_day() {
        let words: [Value<u64>; WAYS] = array::from_fn(|_| Value::new(0));
        let bucket = |way: usize| &words[way];
        for start in [0, 7 * HOUR, 20_000 * HOUR] {
            let hash = mix(&[1, 2], [start, 0, 0]);
            assert!(!holds(bucket, hash, start));
            note(bucket, hash, start);
            assert!(holds(bucket, hash, start));
            assert!(holds(bucket, hash, start + 24 * HOUR - HOUR / 30));
            assert!(!holds(bucket, hash, start + 24 * HOUR + HOUR / 15));
            assert!(!holds(bucket, hash ^ 1 << 40, start), "another source");
        }
    }

    #[test]
    fn the_oldest_of_a_full_bucket_gives_way_and_a_repeat_takes_no_place() {
        let words: [Value<u64>; WAYS] = array::from_fn(|_| Value::new(0));
        let bucket = |way: usize| &words[way];
        let hash = |n: u64| mix(&[3, 4], [n, 0, 0]);
        for n in 0..WAYS as u64 {
            for _ in 0..3 {
                note(bucket, hash(n), n * HOUR);
            }
        }
        let now = 8 * HOUR;
        assert!((0..WAYS as u64).all(|n| holds(bucket, hash(n), now)));
        note(bucket, hash(0), now);
        note(bucket, hash(99), now);
        assert!(holds(bucket, hash(0), now) && holds(bucket, hash(99), now));
        assert!(!holds(bucket, hash(1), now), "the oldest");
        assert!((2..WAYS as u64).all(|n| holds(bucket, hash(n), now)));
    }
}
