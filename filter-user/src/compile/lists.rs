//! The address lists: every address is trusted, denied or neither, and
//! trusted wins at any prefix length.

use std::collections::BTreeMap;

use filter_common::tables::{FILTER_BITS, Leaf, lists};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Lists, Prefix, ports::bits};

/// Both lists are sorted and aggregated: no prefix lies inside another.
pub(super) fn compile(trusted: &[IpNet], denied: &[IpNet]) -> Lists {
    let mut made = Lists::default();
    let mut bitmap = Bitmap::default();
    // Trusted comes last and overwrites.
    for (nets, class) in [(denied, lists::DENIED), (trusted, lists::TRUSTED)] {
        for net in nets {
            if let IpNet::V4(net) = net {
                bitmap.insert(net, class);
            }
        }
    }
    bitmap.number_leaves();
    made.words = bitmap.used();
    made.words.extend(bitmap.wide);
    made.leaves = bitmap.leaves.into_values().collect();

    let mut filter = BTreeMap::new();
    let outside = |net: &Ipv6Net| !within(net, trusted);
    for (nets, class) in [(denied, lists::DENIED), (trusted, lists::TRUSTED)] {
        for net in nets {
            let IpNet::V6(v6) = net else { continue };
            if class == lists::DENIED && !outside(v6) {
                continue;
            }
            let (key, length) = bits(net);
            made.prefixes.push(Prefix { key, length, value: class });
            filter_places(v6, lists::filter_place, |index, bit| {
                *filter.entry(index).or_insert(0_u64) |= 1 << bit;
            });
        }
    }
    made.words.extend(filter);
    made
}

/// Whether one of the prefixes of a sorted and aggregated list holds `net`.
fn within(net: &Ipv6Net, list: &[IpNet]) -> bool {
    let end = list.partition_point(|other| match other {
        IpNet::V4(_) => true,
        IpNet::V6(other) => other.network() <= net.network(),
    });
    end.checked_sub(1).is_some_and(|last| list[last].contains(&IpNet::V6(*net)))
}

/// Tells every place of an IPv6 filter in which addresses of `net` can fall.
pub(crate) fn filter_places(
    net: &Ipv6Net,
    place: impl Fn(u32) -> (u32, u32),
    mut each: impl FnMut(u32, u32),
) {
    /// A shorter prefix than this sets every bit: it would anyway, nearly.
    const SHORTEST: u8 = 12;
    let octets = net.network().octets();
    let high = u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]);
    match net.prefix_len() {
        32.. => {
            let (index, bit) = place(high);
            each(index, bit);
        }
        length @ SHORTEST..32 => {
            for low in 0..1_u32 << (32 - length) {
                let (index, bit) = place(high | low);
                each(index, bit);
            }
        }
        _ => {
            // The hash's own words follow one another from that of hash 0.
            let (first, _) = place(0);
            for index in first..first + FILTER_BITS / 64 {
                (0..64).for_each(|bit| each(index, bit));
            }
        }
    }
}

/// The IPv4 bitmap: two bits for each /24, and leaves where its addresses differ.
#[derive(Default)]
struct Bitmap {
    /// All words, once there is an entry.
    words: Vec<u64>,
    leaves: BTreeMap<u32, Leaf>,
    /// The words of the /16s.
    wide: BTreeMap<u32, u64>,
}

/// The /24s of IPv4.
const BLOCKS: u32 = 1 << 24;

impl Bitmap {
    fn insert(&mut self, net: &Ipv4Net, class: u32) {
        if self.words.is_empty() {
            self.words = vec![0; (BLOCKS / lists::PER_WORD) as usize];
        }
        let first = u32::from(net.network());
        let last = u32::from(net.broadcast());
        for high in first >> 16..=last >> 16 {
            let (index, bit) = lists::wide_place(high << 16);
            *self.wide.entry(index).or_default() |= 1 << bit;
        }
        if net.prefix_len() <= 24 {
            for block in first >> 8..=last >> 8 {
                self.set(block, class);
                self.leaves.remove(&block);
            }
            return;
        }
        let block = first >> 8;
        let whole = self.get(block);
        if whole == class {
            return;
        }
        if whole != lists::MIXED {
            self.set(block, lists::MIXED);
        }
        // A new leaf says of every address what the /24 said.
        let spread = if whole == lists::MIXED { 0 } else { whole };
        let word = u64::MAX / 3 * u64::from(spread);
        let leaf = self.leaves.entry(block).or_insert(Leaf { words: [word; 8] });
        for address in first..=last {
            let (word, shift) = lists::leaf_place(address & 0xff);
            leaf.words[word] = leaf.words[word] & !(3 << shift) | u64::from(class) << shift;
        }
    }

    /// Tells each word which leaf is the first among its entries.
    fn number_leaves(&mut self) {
        let mut word_before = None;
        for (number, block) in (0_u64..).zip(self.leaves.keys()) {
            let (index, _) = lists::block_place(*block);
            if word_before != Some(index) {
                self.words[index as usize] |= number << lists::LEAF_SHIFT;
                word_before = Some(index);
            }
        }
    }

    /// The words that are not 0. Most pages have none, and are compared whole.
    fn used(&self) -> Vec<(u32, u64)> {
        const PAGE: usize = 512;
        let pages = (0_u32..).step_by(PAGE).zip(self.words.chunks(PAGE));
        pages
            .filter(|(_, page)| **page != [0; PAGE][..page.len()])
            .flat_map(|(first, page)| (first..).zip(page.iter().copied()))
            .filter(|(_, word)| *word != 0)
            .collect()
    }

    fn get(&self, block: u32) -> u32 {
        let (index, shift) = lists::block_place(block);
        (self.words[index as usize] >> shift) as u32 & 3
    }

    fn set(&mut self, block: u32, class: u32) {
        let (index, shift) = lists::block_place(block);
        let word = &mut self.words[index as usize];
        *word = *word & !(3 << shift) | u64::from(class) << shift;
    }
}
