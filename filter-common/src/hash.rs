//! Keyed hashing for tables that anybody's packets reach.

/// What the hashes of one load of the program begin with: random, so that
/// nobody outside can aim at a place.
pub type Seed = [u64; 2];

/// Mixes three words (multiply and fold, as in the finalizers of MurmurHash3
/// and SplitMix64): for keys of which a sender chooses one word, each value of
/// which gives another hash.
#[inline(always)]
#[must_use]
pub const fn mix(seed: &Seed, words: [u64; 3]) -> u64 {
    // Two of the three side by side: only what follows waits for both.
    let a = (words[0] ^ seed[0]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let b = (words[1] ^ seed[1]).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (a ^ a >> 32) ^ (b ^ b >> 29) ^ words[2];
    let hash = hash.wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 32
}

/// SipHash-1-3 (Aumasson and Bernstein, 2012) of `words`, read as bytes in
/// little-endian order: for keys of which a sender chooses every word.
#[inline(always)]
pub(crate) fn siphash<const N: usize>(seed: Seed, words: [u64; N]) -> u64 {
    let [a, b] = seed;
    let mut state = [
        a ^ 0x736f_6d65_7073_6575,
        b ^ 0x646f_7261_6e64_6f6d,
        a ^ 0x6c79_6765_6e65_7261,
        b ^ 0x7465_6462_7974_6573,
    ];
    for word in words {
        state = absorb(state, word);
    }
    // The input's length in bytes.
    state = absorb(state, (N as u64 * 8) << 56);
    state[2] ^= 0xff;
    state = round(round(round(state)));
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

#[inline(always)]
const fn absorb(mut state: [u64; 4], word: u64) -> [u64; 4] {
    state[3] ^= word;
    state = round(state);
    state[0] ^= word;
    state
}

#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    c = c.wrapping_add(d);
    b = b.rotate_left(13) ^ a;
    d = d.rotate_left(16) ^ c;
    a = a.rotate_left(32).wrapping_add(d);
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    d = d.rotate_left(21) ^ a;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::hash::Hasher as _;

    use super::*;

    #[test]
    fn it_is_the_one_of_the_standard_library() {
        // Which documents no algorithm, but has had this one, with a seed of 0.
        let input = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908, u64::MAX, 0, 42];
        let mut hasher = std::hash::DefaultHasher::new();
        input.iter().for_each(|word: &u64| hasher.write(&word.to_le_bytes()));
        assert_eq!(siphash([0, 0], input), hasher.finish());
    }

    #[test]
    fn every_bit_of_input_and_seed_changes_about_half_of_it() {
        let before = siphash([1, 2], [3, 4]);
        for bit in 0..64 {
            let flip = 1 << bit;
            for after in [
                siphash([1 ^ flip, 2], [3, 4]),
                siphash([1, 2 ^ flip], [3, 4]),
                siphash([1, 2], [3 ^ flip, 4]),
                siphash([1, 2], [3, 4 ^ flip]),
            ] {
                let changed = (before ^ after).count_ones();
                assert!((12..=52).contains(&changed), "bit {bit} changes {changed} bits");
            }
        }
    }
}
