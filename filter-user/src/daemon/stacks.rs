//! Interfaces that get their frames through others: what comes in by the lower
//! one would be judged, and charged, once more on the upper one.

use std::collections::{BTreeMap, BTreeSet};

use rtnetlink::packet_route::link::{InfoKind, InfoPortKind, LinkAttribute, LinkInfo, LinkMessage};

/// Which interface gets its frames through which, by index.
#[derive(Debug, Default)]
pub(super) struct Stacks(BTreeMap<u32, BTreeSet<u32>>);

impl Stacks {
    /// Notes what a message says of an interface's place.
    pub(super) fn note(&mut self, message: &LinkMessage) {
        let (mut lower, mut upper) = (None, None);
        let (mut shares_frames, mut is_elsewhere) = (false, false);
        // Ports of a VRF hand it packets, not frames.
        let mut is_port = true;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Link(index) => lower = Some(*index),
                LinkAttribute::Controller(index) => {
                    upper = Some(*index).filter(|index| *index != 0)
                }
                // Then the index is one of another network namespace.
                LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
                LinkAttribute::LinkInfo(list) => {
                    for item in list {
                        match item {
                            LinkInfo::Kind(kind) => shares_frames = takes_frames_of_lower(kind),
                            LinkInfo::PortKind(InfoPortKind::Vrf) => is_port = false,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        let own = message.header.index;
        if let Some(lower) = lower.filter(|_| shares_frames && !is_elsewhere) {
            self.0.entry(own).or_default().insert(lower);
        }
        if let Some(upper) = upper.filter(|_| is_port) {
            self.0.entry(upper).or_default().insert(own);
        }
    }

    /// Whether what `upper` receives has come in through `lower`.
    pub(super) fn is_above(&self, upper: u32, lower: u32) -> bool {
        let mut seen = BTreeSet::from([upper]);
        let mut open = vec![upper];
        while let Some(index) = open.pop() {
            for below in self.0.get(&index).into_iter().flatten() {
                if *below == lower {
                    return true;
                }
                if seen.insert(*below) {
                    open.push(*below);
                }
            }
        }
        false
    }
}

/// Others have a lower interface too and receive something else: a tunnel what
/// was packed in its packets, a veth what its peer sends.
fn takes_frames_of_lower(kind: &InfoKind) -> bool {
    matches!(
        kind,
        InfoKind::Vlan
            | InfoKind::MacVlan
            | InfoKind::MacVtap
            | InfoKind::IpVlan
            | InfoKind::IpVtap
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = attributes;
        message
    }

    fn kind(kind: InfoKind) -> LinkAttribute {
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])
    }

    fn port(index: u32, of: u32, kind: InfoPortKind) -> LinkMessage {
        let info = LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(kind)]);
        link(index, vec![LinkAttribute::Controller(of), info])
    }

    fn stacks(messages: &[LinkMessage]) -> Stacks {
        let mut stacks = Stacks::default();
        messages.iter().for_each(|message| stacks.note(message));
        stacks
    }

    #[test]
    fn a_vlan_on_a_bond_is_above_its_ports() {
        let stacks = stacks(&[
            port(2, 4, InfoPortKind::Bond),
            port(3, 4, InfoPortKind::Bond),
            link(4, vec![kind(InfoKind::Bond)]),
            link(5, vec![LinkAttribute::Link(4), kind(InfoKind::Vlan)]),
            link(6, vec![]),
        ]);
        for (upper, lower) in [(4, 2), (4, 3), (5, 4), (5, 2), (5, 3)] {
            assert!(stacks.is_above(upper, lower), "{upper} {lower}");
            assert!(!stacks.is_above(lower, upper), "{lower} {upper}");
        }
        assert!(!stacks.is_above(3, 2) && !stacks.is_above(5, 6) && !stacks.is_above(5, 5));
    }

    #[test]
    fn what_only_looks_stacked_is_not() {
        let stacks = stacks(&[
            // The other end of a veth, also of one in another namespace.
            link(2, vec![LinkAttribute::Link(3), kind(InfoKind::Veth)]),
            link(3, vec![LinkAttribute::Link(2), kind(InfoKind::Veth)]),
            link(
                4,
                vec![LinkAttribute::Link(2), kind(InfoKind::Vlan), LinkAttribute::LinkNetNsId(0)],
            ),
            // A tunnel's packets are others than those that carry them.
            link(5, vec![LinkAttribute::Link(2), kind(InfoKind::GreTun)]),
            port(6, 7, InfoPortKind::Vrf),
            // Without a master.
            link(8, vec![LinkAttribute::Controller(0)]),
        ]);
        for upper in 0..9 {
            assert!((0..9).all(|lower| !stacks.is_above(upper, lower)), "{upper}");
        }
    }

    #[test]
    fn a_ring_ends() {
        let stacks = stacks(&[port(2, 3, InfoPortKind::Bridge), port(3, 2, InfoPortKind::Bridge)]);
        assert!(stacks.is_above(2, 3) && stacks.is_above(3, 2) && !stacks.is_above(2, 4));
    }
}
