//! The list of the bans: what an operator sees of them, and which end when.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    iter::Peekable,
    ops::Bound,
    sync::Arc,
};

use filter_common::tables::bans::FOREVER;
use ipnet::{IpNet, Ipv4Net};

use super::Ban;

type Map = BTreeMap<IpNet, Arc<Ban>>;

/// All bans. Those of one request share what is said of them: there may be
/// a million.
#[derive(Debug)]
pub(super) struct List {
    singles: Map,
    /// Prefixes wider than one address: apart, because they are looked for by
    /// the addresses that they hold.
    wide: Map,
    /// How many of `wide` have each length, IPv4 and IPv6.
    lengths: [[u32; 128]; 2],
    /// Those that end, the soonest first.
    ends: BTreeSet<(u64, IpNet)>,
}

impl Default for List {
    fn default() -> Self {
        Self {
            singles: Map::new(),
            wide: Map::new(),
            lengths: [[0; 128]; 2],
            ends: BTreeSet::new(),
        }
    }
}

impl List {
    /// Made at once it takes less room than entered one by one.
    pub(super) fn of(bans: Map) -> Self {
        let with_end = bans.iter().map(|(net, ban)| (end(ban), *net));
        let ends = with_end.filter(|(end, _)| *end != FOREVER).collect();
        let (mut lengths, mut wide) = ([[0; 128]; 2], Vec::new());
        let of_wide = |(net, ban): (IpNet, Arc<Ban>)| {
            if is_single(&net) {
                return Some((net, ban));
            }
            lengths[family(&net)][usize::from(net.prefix_len())] += 1;
            wide.push((net, ban));
            None
        };
        let singles = bans.into_iter().filter_map(of_wide).collect();
        Self { singles, wide: wide.into_iter().collect(), lengths, ends }
    }

    pub(super) fn len(&self) -> usize {
        self.singles.len() + self.wide.len()
    }

    /// How many are single addresses, and how many are not.
    pub(super) fn counts(&self) -> [usize; 2] {
        [self.singles.len(), self.wide.len()]
    }

    pub(super) fn get(&self, net: &IpNet) -> Option<&Arc<Ban>> {
        if is_single(net) { self.singles.get(net) } else { self.wide.get(net) }
    }

    /// Enters a ban. What was said of the prefix before.
    pub(super) fn insert(&mut self, net: IpNet, ban: Arc<Ban>) -> Option<Arc<Ban>> {
        let end = end(&ban);
        let before = if is_single(&net) {
            self.singles.insert(net, ban)
        } else {
            self.wide.insert(net, ban)
        };
        match &before {
            Some(before) => self.forget_end(&net, before),
            None => self.count_length(&net, 1),
        }
        if end != FOREVER {
            self.ends.insert((end, net));
        }
        before
    }

    pub(super) fn remove(&mut self, net: &IpNet) -> Option<Arc<Ban>> {
        let ban = if is_single(net) { self.singles.remove(net) } else { self.wide.remove(net) }?;
        self.forget_end(net, &ban);
        self.count_length(net, -1);
        Some(ban)
    }

    fn forget_end(&mut self, net: &IpNet, ban: &Ban) {
        let end = end(ban);
        if end != FOREVER {
            self.ends.remove(&(end, *net));
        }
    }

    fn count_length(&mut self, net: &IpNet, by: i32) {
        if !is_single(net) {
            let count = &mut self.lengths[family(net)][usize::from(net.prefix_len())];
            *count = count.saturating_add_signed(by);
        }
    }

    /// Those after `prefix`, or all, in the order of their prefixes.
    pub(super) fn after(&self, prefix: Option<IpNet>) -> Merged<'_> {
        let from = prefix.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (from, Bound::Unbounded);
        Merged {
            singles: self.singles.range(range).peekable(),
            wide: self.wide.range(range).peekable(),
        }
    }

    /// At most so many of those that have ended by then.
    pub(super) fn ended(&self, now: u64, limit: usize) -> Vec<IpNet> {
        let ended = self.ends.iter().take_while(|(end, _)| *end <= now);
        ended.take(limit).map(|(_, net)| *net).collect()
    }

    /// The prefixes wider than one address, in their order: one comes right
    /// before those inside of it.
    pub(super) fn wide(&self) -> impl Iterator<Item = (&IpNet, &Arc<Ban>)> {
        self.wide.iter()
    }

    /// The single addresses, in their order.
    pub(super) fn singles(&self) -> impl Iterator<Item = (&IpNet, &Arc<Ban>)> {
        self.singles.iter()
    }

    /// The wider bans that hold a prefix, itself left out.
    pub(super) fn around(&self, net: &IpNet) -> impl Iterator<Item = &Arc<Ban>> {
        let net = *net;
        let lengths = &self.lengths[family(&net)][..usize::from(net.prefix_len())];
        let used = (0_u8..).zip(lengths).filter(|(_, count)| **count > 0);
        used.filter_map(move |(length, _)| {
            self.wide.get(&IpNet::new(net.network(), length).ok()?.trunc())
        })
    }

    /// The bans inside of a prefix that are wider than one address, itself left out.
    pub(super) fn inside(&self, net: &IpNet) -> impl Iterator<Item = (&IpNet, &Arc<Ban>)> {
        let net = *net;
        let after = self.wide.range((Bound::Excluded(net), Bound::Unbounded));
        after.take_while(move |(other, _)| net.contains(*other))
    }

    /// Whether a ban touches the /24 of a prefix.
    pub(super) fn touches_block(&self, net: &Ipv4Net) -> bool {
        let block = Ipv4Net::new_assert(net.network(), 24).trunc();
        let first = IpNet::V4(block.network().into());
        let block = IpNet::V4(block);
        let single = self.singles.range(first..).next();
        single.is_some_and(|(single, _)| block.contains(single))
            || self.wide.contains_key(&block)
            || self.inside(&block).next().is_some()
            || self.around(&block).next().is_some()
    }
}

/// Both halves of the list as one, in the order of the prefixes.
pub(super) struct Merged<'a> {
    singles: Peekable<btree_map::Range<'a, IpNet, Arc<Ban>>>,
    wide: Peekable<btree_map::Range<'a, IpNet, Arc<Ban>>>,
}

impl<'a> Iterator for Merged<'a> {
    type Item = (&'a IpNet, &'a Arc<Ban>);

    fn next(&mut self) -> Option<Self::Item> {
        match (self.singles.peek(), self.wide.peek()) {
            (Some((single, _)), Some((wide, _))) if wide < single => self.wide.next(),
            (Some(_), _) => self.singles.next(),
            (None, _) => self.wide.next(),
        }
    }
}

/// When a ban ends, on the kernel's clock.
pub(super) fn end(ban: &Ban) -> u64 {
    let until = ban.until.map(|until| u64::try_from(until.boot.as_nanos()).ok());
    until.flatten().unwrap_or(FOREVER)
}

pub(super) fn is_single(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

fn family(net: &IpNet) -> usize {
    usize::from(matches!(net, IpNet::V6(_)))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::dataplane::Until;

    fn ban(seconds: u64) -> Arc<Ban> {
        let boot = Duration::from_secs(seconds);
        let until = Until { boot, wall: SystemTime::UNIX_EPOCH + boot, length: boot };
        Arc::new(Ban { until: (seconds > 0).then_some(until), reason: None })
    }

    fn list(bans: &[(&str, u64)]) -> List {
        let mut list = List::default();
        for (net, end) in bans {
            if let Ok(net) = net.parse::<IpNet>() {
                list.insert(net, ban(*end));
            }
        }
        list
    }

    fn shown<'a>(nets: impl IntoIterator<Item = &'a IpNet>) -> Vec<String> {
        nets.into_iter().map(ToString::to_string).collect()
    }

    const BANS: [(&str, u64); 7] = [
        ("10.0.0.0/8", 0),
        ("10.1.0.0/16", 30),
        ("10.1.2.3/32", 20),
        ("10.1.2.128/25", 10),
        ("192.0.2.1/32", 0),
        ("2001:db8::/32", 40),
        ("2001:db8::1/128", 5),
    ];

    #[test]
    fn both_halves_are_listed_in_one_order_from_anywhere() {
        let list = list(&BANS);
        let order = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3/32",
            "10.1.2.128/25",
            "192.0.2.1/32",
            "2001:db8::/32",
            "2001:db8::1/128",
        ];
        assert_eq!(shown(list.after(None).map(|(net, _)| net)), order);
        for (index, net) in (1..).zip(order) {
            let after = list.after(net.parse().ok());
            assert_eq!(shown(after.map(|(net, _)| net)), order[index..]);
        }
    }

    #[test]
    fn the_soonest_end_first_and_an_end_that_was_replaced_never() {
        let mut list = list(&BANS);
        let second = 1_000_000_000;
        assert_eq!(
            shown(&list.ended(20 * second, 9)),
            ["2001:db8::1/128", "10.1.2.128/25", "10.1.2.3/32"]
        );
        assert_eq!(list.ended(20 * second, 2).len(), 2);
        assert_eq!(list.ended(5 * second - 1, 9), []);
        if let Ok(net) = "10.1.2.128/25".parse::<IpNet>() {
            assert!(list.insert(net, ban(50)).is_some());
            assert_eq!(list.ended(20 * second, 9).len(), 2);
            assert!(list.insert(net, ban(0)).is_some());
            assert_eq!(list.ended(u64::MAX - 1, 9).len(), 4);
        }
    }

    #[test]
    fn what_holds_a_prefix_and_what_it_holds() {
        let mut list = list(&BANS);
        let net = |text: &str| text.parse::<IpNet>().unwrap_or_default();
        assert_eq!(list.around(&net("10.1.2.128/25")).count(), 2);
        assert_eq!(list.around(&net("10.0.0.0/8")).count(), 0);
        assert_eq!(list.around(&net("2001:db8::1/128")).count(), 1);
        assert_eq!(list.inside(&net("10.0.0.0/8")).count(), 2);
        assert_eq!(list.inside(&net("0.0.0.0/0")).count(), 3);
        assert!(list.remove(&net("10.1.0.0/16")).is_some());
        assert!(list.remove(&net("10.1.0.0/16")).is_none());
        assert_eq!(list.around(&net("10.1.2.128/25")).count(), 1);
        assert_eq!((list.len(), list.counts()), (6, [3, 3]));
    }

    #[test]
    fn a_block_is_touched_from_inside_and_from_around() {
        let touched = |bans: &[(&str, u64)], net: &str| {
            net.parse().is_ok_and(|net| list(bans).touches_block(&net))
        };
        for ban in [
            "10.1.2.0/24",
            "10.1.2.255/32",
            "10.1.2.0/32",
            "10.1.2.64/26",
            "10.1.0.0/16",
            "0.0.0.0/0",
        ] {
            assert!(touched(&[(ban, 0)], "10.1.2.7/32"), "{ban}");
        }
        for ban in ["10.1.3.0/32", "10.1.1.255/32", "10.1.3.0/24", "10.2.0.0/16", "::/0"] {
            assert!(!touched(&[(ban, 0)], "10.1.2.7/32"), "{ban}");
        }
    }
}
