//! Numbers that are the same in each run.

use std::{net::Ipv4Addr, ops::RangeInclusive};

use ipnet::Ipv4Net;

/// xorshift (Marsaglia 2003).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    /// An address that could be somebody's: not this network, loopback or multicast.
    fn address(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from(self.next());
            let first = address.octets()[0];
            if (1..224).contains(&first) && first != 10 && first != 127 {
                return address;
            }
        }
    }

    /// So many of them, each once.
    pub fn addresses(&mut self, count: usize) -> Vec<Ipv4Addr> {
        let mut all: Vec<Ipv4Addr> = Vec::new();
        while all.len() < count {
            all.extend((all.len()..count).map(|_| self.address()));
            all.sort_unstable();
            all.dedup();
        }
        all
    }

    /// Networks whose lengths are in a range, each once.
    pub fn prefixes(&mut self, count: usize, lengths: RangeInclusive<u8>) -> Vec<Ipv4Net> {
        let (low, high) = (u32::from(*lengths.start()), u32::from(*lengths.end()));
        let all = (0..count).map(|_| {
            let length = low + self.next() % (high - low + 1);
            Ipv4Net::new_assert(self.address(), length as u8).trunc()
        });
        all.collect()
    }

    /// 64k addresses, each out of a network drawn at random.
    pub fn members(&mut self, networks: &[Ipv4Net]) -> Vec<Ipv4Addr> {
        (0..1 << 16)
            .map(|_| {
                let network = networks[self.next() as usize % networks.len()];
                let host = self.next() & u32::from(network.hostmask());
                Ipv4Addr::from(u32::from(network.network()) | host)
            })
            .collect()
    }
}
