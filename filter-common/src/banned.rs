//! The table of banned IPv4 addresses.
//!
//! A bucket is one cache line of words, each an address and the end of its
//! ban. An address has two buckets; it stands in the first unless that was full
//! when it came, so that nearly every look-up ends in one line. The controller
//! alone writes, a word at a time.

use crate::{Seed, hash::mix, tables::bans::FOREVER};

/// Words of a bucket.
pub const WAYS: usize = 8;
/// Nanoseconds in the unit in which ends are written, in bits: 2^27 ns, about
/// 0.13 s. 32 bits of them are 18 years since boot.
const UNIT: u32 = 27;
/// An end that never comes, and any that is beyond the others.
const NEVER: u32 = u32::MAX;

/// One bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket {
    /// Addresses and ends.
    pub words: [u64; WAYS],
}

/// A free place. The last of a bucket is the last to be taken: while it is
/// free, whatever has its first bucket here is here.
pub const FREE: u64 = 0;
/// The last place of a bucket, free again: what had no room here may stand in
/// its second bucket still.
pub const GONE: u64 = (u32::MAX as u64) << 32;

/// The word of an address whose ban ends at `end`, in units and not 0.
#[inline(always)]
#[must_use]
pub const fn word(address: u32, end: u32) -> u64 {
    (address as u64) << 32 | end as u64
}

/// The address and the end of a word; `None` where there is no ban.
#[inline(always)]
#[must_use]
pub const fn entry(word: u64) -> Option<(u32, u32)> {
    if word as u32 == 0 { None } else { Some(((word >> 32) as u32, word as u32)) }
}

/// When a ban that is to end at `until` (nanoseconds since boot, or
/// [`FOREVER`]) does so here, in units: never early, and less than one late.
#[inline(always)]
#[must_use]
pub const fn end(until: u64) -> u32 {
    let units = until.div_ceil(1 << UNIT);
    if units < NEVER as u64 { units as u32 } else { NEVER }
}

/// The same in nanoseconds.
#[inline(always)]
#[must_use]
pub const fn until(end: u32) -> u64 {
    if end == NEVER { FOREVER } else { (end as u64) << UNIT }
}

/// When a ban that is to end at that time does so here.
#[must_use]
pub const fn kept(at: u64) -> u64 {
    until(end(at))
}

/// The numbers of an address's buckets, of so many less one: a power of two,
/// less one. With more than one bucket the two are never the same.
#[inline(always)]
#[must_use]
pub const fn buckets(seed: &Seed, address: u32, mask: u32) -> [u32; 2] {
    let hash = mix(seed, [address as u64, 0, 0x6261_6e6e_6564]);
    let first = hash as u32;
    [first & mask, (first ^ ((hash >> 32) as u32 | 1)) & mask]
}

/// When the ban of an address ends, in units; 0: it is not in the table.
/// `bucket` hands out buckets by number.
#[inline(always)]
pub fn find<B: Fn(usize) -> u64>(
    seed: &Seed,
    mask: u32,
    address: u32,
    bucket: impl Fn(u32) -> Option<B>,
) -> u32 {
    let [first, second] = buckets(seed, address, mask);
    let Some(words) = bucket(first) else { return 0 };
    let end = end_in(&words, address);
    if end != 0 || words(WAYS - 1) == FREE {
        return end;
    }
    bucket(second).map_or(0, |words| end_in(&words, address))
}

/// Without a branch: which word it is nobody can predict, and the verifier
/// walks one path.
#[inline(always)]
fn end_in(words: &impl Fn(usize) -> u64, address: u32) -> u32 {
    let mut found = 0;
    for way in 0..WAYS {
        let word = words(way);
        let other = word >> 32 ^ address as u64;
        // All ones where it is the same address: nothing else is below 0.
        found |= word & ((other.wrapping_sub(1) as i64) >> 63) as u64;
    }
    found as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = [3, 4];

    #[test]
    fn an_end_is_never_early_and_less_than_a_unit_late() {
        for at in [1, 2, 1 << UNIT, (1 << UNIT) + 1, 86_400_000_000_000, 1 << 58] {
            let ends = kept(at);
            assert!((at..at + (1 << UNIT)).contains(&ends), "{at}: {ends}");
            assert_eq!(end(ends), end(at), "written down again it is the same");
        }
        assert_eq!(end(0), 0);
        for at in [FOREVER, FOREVER - 1, (u32::MAX as u64) << UNIT] {
            assert_eq!(kept(at), FOREVER, "{at}");
        }
        let last = (u32::MAX as u64 - 1) << UNIT;
        assert_eq!(kept(last), last);
    }

    #[test]
    fn a_place_without_a_ban_is_nobodys() {
        for address in [0, 1, u32::MAX - 1, u32::MAX] {
            for empty in [FREE, GONE] {
                let bucket = |_| Some(|_| empty);
                assert_eq!(find(&SEED, 7, address, bucket), 0, "{address} in {empty:#x}");
            }
        }
        assert_eq!([entry(FREE), entry(GONE)], [None, None]);
    }

    #[test]
    fn an_address_is_found_at_every_place_of_both_buckets() {
        for (address, end) in [(0, 1), (1, 9), (0xcb00_7109, NEVER), (u32::MAX, 5)] {
            let [first, second] = buckets(&SEED, address, 63);
            assert_ne!(first, second);
            for way in 0..WAYS {
                let other = word(address ^ 1, 77);
                let with = |own: usize, way: usize| {
                    if own == way { word(address, end) } else { other }
                };
                let at = |place: u32| {
                    move |number: u32| {
                        Some(move |own| if number == place { with(own, way) } else { other })
                    }
                };
                assert_eq!(find(&SEED, 63, address, at(first)), end);
                assert_eq!(find(&SEED, 63, address, at(second)), end);
                let third = (0..64).find(|n| ![first, second].contains(n)).unwrap_or(0);
                assert_eq!(find(&SEED, 63, address, at(third)), 0);
                assert_eq!(find(&SEED, 63, address ^ 2, at(first)), 0);
                assert_eq!(entry(word(address, end)), Some((address, end)));
            }
        }
    }

    #[test]
    fn one_bucket_is_both() {
        let words = |_| Some(|way: usize| word(way as u32, 3));
        assert_eq!(buckets(&SEED, 5, 0), [0, 0]);
        assert_eq!(find(&SEED, 0, 5, words), 3);
        assert_eq!(find(&SEED, 0, 8, words), 0);
    }
}
