//! The filters before the trie of rules' prefixes, one for each view and family.

use filter_common::{Address, tables::filter::Filter};
use ipnet::IpNet;

/// The filters of one generation, as `filter_common::tables::filter` says.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// Their words that are not 0.
    pub words: Vec<(u32, u64)>,
    /// How many words they have in all.
    pub length: u32,
}

/// Bits of a filter for each that is set, at the least: as few sources come to the
/// trie for nothing.
const ROOM: u64 = 32;
/// Bits of an [`Address::head`].
const HEAD: u8 = 64;

impl Filters {
    /// Adds a filter that knows these prefixes, which are all of one family, and of
    /// which none holds the whole family.
    pub(super) fn add(&mut self, prefixes: &[IpNet]) -> Filter {
        let mut lengths = [0_u64; HEAD as usize + 1];
        for net in prefixes {
            lengths[usize::from(length(net))] += 1;
        }
        let kept = finest(&lengths);
        let bits = (places(&lengths, kept) * ROOM).next_power_of_two().max(64);
        let filter = Filter {
            first: self.length,
            cut: HEAD - kept,
            shift: HEAD - bits.trailing_zeros() as u8,
            reserved: 0,
        };
        let mut words = vec![0_u64; (bits / 64) as usize];
        for net in prefixes {
            let head = Address::from(net.network()).head() >> filter.cut;
            for low in 0..1 << kept.saturating_sub(length(net)) {
                let (index, bit) = filter.place_of(head | low);
                words[(index - filter.first) as usize] |= 1 << bit;
            }
        }
        self.length += (bits / 64) as u32;
        self.words.extend((filter.first..).zip(words).filter(|(_, word)| *word != 0));
        filter
    }
}

/// How many bits of a head count for a prefix.
fn length(net: &IpNet) -> u8 {
    net.prefix_len().min(HEAD)
}

/// How many bits of a head a filter goes by: the more, the fewer are let through to
/// the trie; but a prefix that is shorter takes a place for each way to go on.
fn finest(lengths: &[u64; HEAD as usize + 1]) -> u8 {
    let most = 4 * lengths.iter().sum::<u64>() + 60;
    let is_any = |kept: &u8| lengths[usize::from(*kept)] != 0;
    // The shortest of the prefixes takes no more than one place for each.
    let longest = (1..=HEAD).rev().find(is_any).unwrap_or(1);
    (1..=longest).rev().find(|kept| places(lengths, *kept) <= most).unwrap_or(1)
}

/// Places that prefixes take, so many of each length, where `kept` bits count.
fn places(lengths: &[u64; HEAD as usize + 1], kept: u8) -> u64 {
    (0..=HEAD).zip(lengths).fold(0, |sum: u64, (length, count)| {
        let each = 1_u64.checked_shl(kept.saturating_sub(length).into()).unwrap_or(u64::MAX);
        sum.saturating_add(each.saturating_mul(*count))
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use ipnet::{Ipv4Net, Ipv6Net};

    use super::*;

    /// Numbers from a seed (Knuth, TAOCP 2, section 3.3.4: the multiplier of MMIX).
    struct Drawn(u64);

    impl Drawn {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.0 >> 32
        }

        fn below(&mut self, end: u64) -> u64 {
            self.next() % end
        }

        fn wide(&mut self) -> u128 {
            (0..4).fold(0, |wide, _| wide << 32 | u128::from(self.next()))
        }

        fn net(&mut self, ipv4: bool, lengths: &[u8]) -> IpNet {
            let length = lengths[self.below(lengths.len() as u64) as usize];
            if ipv4 {
                Ipv4Net::new_assert((self.wide() as u32).into(), length).trunc().into()
            } else {
                Ipv6Net::new_assert(self.wide().into(), length).trunc().into()
            }
        }

        /// An address in a prefix: its first, its last, or one between.
        fn inside(&mut self, net: &IpNet) -> IpAddr {
            match (self.below(3), net) {
                (0, _) => net.network(),
                (1, _) => net.broadcast(),
                (_, IpNet::V4(net)) => {
                    let low = self.wide() as u32 & u32::from(net.hostmask());
                    IpAddr::V4((u32::from(net.network()) | low).into())
                }
                (_, IpNet::V6(net)) => {
                    let low = self.wide() & u128::from(net.hostmask());
                    IpAddr::V6((u128::from(net.network()) | low).into())
                }
            }
        }
    }

    fn asks(filters: &Filters, filter: &Filter, address: IpAddr) -> bool {
        let (index, bit) = filter.place(&Address::from(address));
        assert!(index < filters.length, "{filter:?} leads beyond {}", filters.length);
        // In the order of their places.
        let found = filters.words.binary_search_by_key(&index, |(index, _)| *index);
        found.is_ok_and(|at| filters.words[at].1 >> bit & 1 == 1)
    }

    /// Lengths of prefixes that rules have, each set for one family.
    const IPV4: [&[u8]; 6] = [&[24], &[32], &[1], &[15, 16, 17], &[8, 16, 24, 32], &[1, 32]];
    const IPV6: [&[u8]; 6] = [&[48], &[128], &[31, 32, 33], &[63, 64, 65], &[1, 128], &[3, 48, 64]];

    #[test]
    fn no_prefix_is_passed_over() {
        let mut drawn = Drawn(20_261_122);
        let mut filters = Filters::default();
        let mut made = Vec::new();
        for (ipv4, lengths) in IPV4.map(|l| (true, l)).into_iter().chain(IPV6.map(|l| (false, l))) {
            for count in [1, 2, 10, 100, 3_000] {
                let nets: Vec<IpNet> = (0..count).map(|_| drawn.net(ipv4, lengths)).collect();
                made.push((filters.add(&nets), nets));
            }
        }
        for (filter, nets) in &made {
            for net in nets {
                for address in [drawn.inside(net), net.network(), net.broadcast()] {
                    assert!(asks(&filters, filter, address), "{address} of {net} by {filter:?}");
                }
            }
        }
    }

    #[test]
    fn few_others_come_to_the_trie() {
        let mut drawn = Drawn(1);
        for (ipv4, lengths) in [(true, [24]), (true, [32]), (false, [48]), (false, [64])] {
            for count in [1, 10, 1_000, 10_000] {
                let mut filters = Filters::default();
                let nets: Vec<IpNet> = (0..count).map(|_| drawn.net(ipv4, &lengths)).collect();
                let filter = filters.add(&nets);
                let others = (0..10_000).map(|_| drawn.net(ipv4, &[if ipv4 { 32 } else { 128 }]));
                let asked = others.filter(|net| asks(&filters, &filter, net.addr())).count();
                // A bit of 32 to 64 is set, and some are in a prefix.
                assert!(asked < 600, "{asked} of 10,000 where there are {count} of {lengths:?}");
            }
        }
    }

    #[test]
    fn one_short_prefix_does_not_blunt_the_others() {
        let mut drawn = Drawn(2);
        let mut nets: Vec<IpNet> = (0..1_000).map(|_| drawn.net(true, &[32])).collect();
        nets.push(drawn.net(true, &[8]));
        let mut filters = Filters::default();
        let filter = filters.add(&nets);
        let others = (0..10_000).map(|_| drawn.net(true, &[32]));
        let asked = others.filter(|net| asks(&filters, &filter, net.addr())).count();
        assert!(asked < 3_000, "{asked} of 10,000");
        // 4 of each prefix, with room, and no more.
        assert!(u64::from(filters.length) * 64 < 1_001 * 4 * ROOM * 2, "{}", filters.length);
    }
}
