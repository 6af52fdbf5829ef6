//! Pairs of links: what is sent into one end comes out of the other.

use std::{io, os::fd::AsRawFd};

use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};

use super::{Link, MacAddress};
use crate::{Error, Namespace, Result};

/// How a pair is made. Both ends are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VethOptions {
    /// Receive and transmit queues of each end.
    pub queues: u32,
    /// Largest packet in bytes, without the Ethernet header. Native XDP without
    /// fragments takes up to about 3,500.
    pub mtu: u32,
    /// Whether the ends speak IPv6. If not, the kernel sends nothing of its own
    /// over the pair (listener reports, mostly): for tests that count frames.
    pub ipv6: bool,
}

impl Default for VethOptions {
    fn default() -> Self {
        Self { queues: 1, mtu: 1500, ipv6: true }
    }
}

impl VethOptions {
    /// With as many queues at each end.
    #[must_use]
    pub const fn queues(self, queues: u32) -> Self {
        Self { queues, ..self }
    }

    /// With that MTU.
    #[must_use]
    pub const fn mtu(self, mtu: u32) -> Self {
        Self { mtu, ..self }
    }

    /// With or without IPv6.
    #[must_use]
    pub const fn ipv6(self, ipv6: bool) -> Self {
        Self { ipv6, ..self }
    }
}

/// A pair of links. It ends with [`Veth::delete`] or with either namespace.
#[derive(Debug, Clone)]
pub struct Veth {
    /// One end.
    pub a: Link,
    /// The other end.
    pub b: Link,
    options: VethOptions,
}

impl Veth {
    /// Makes a pair with one end in each namespace (or both in one) and sets
    /// it up. MAC addresses follow from the names, so they are the same in
    /// every run.
    ///
    /// # Errors
    /// [`Error::NoDriver`]; [`Error::Netlink`]: a name is taken, or longer than 15 bytes.
    pub fn new(a: (&Namespace, &str), b: (&Namespace, &str), options: VethOptions) -> Result<Self> {
        let pair = Self {
            a: Link::new(a.0, a.1, mac_address(a.1, 0)),
            b: Link::new(b.0, b.1, mac_address(b.1, 1)),
            options,
        };
        pair.create()?;
        Ok(pair)
    }

    /// How it was made.
    #[must_use]
    pub const fn options(&self) -> VethOptions {
        self.options
    }

    /// Makes a pair that was deleted (by either end) anew: the same names, MAC
    /// addresses and everything that was set through [`Veth::a`] and
    /// [`Veth::b`]; fresh interface indexes.
    ///
    /// # Errors
    /// [`Error::Netlink`]; among others where it is still there.
    pub fn recreate(&self) -> Result<()> {
        self.create()?;
        self.a.restore()?;
        self.b.restore()
    }

    /// Removes both ends.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`]
    pub fn delete(&self) -> Result<()> {
        self.a.delete()
    }

    fn create(&self) -> Result<()> {
        let (a, b) = (&self.a, &self.b);
        let mut peer = self.end(b);
        peer.attributes.push(LinkAttribute::NetNsFd(b.namespace().descriptor().as_raw_fd()));
        let mut message = self.end(a);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        let action = format!("make the pair of links `{}` and `{}`", a.name(), b.name());
        a.namespace().create_link(a.name(), "veth", action, message)?;
        for link in [a, b] {
            if !self.options.ipv6 {
                let parameter = format!("net/ipv6/conf/{}/disable_ipv6", link.name());
                match link.namespace().set_parameter(&parameter, "1") {
                    // A kernel without IPv6 has no such parameter.
                    Err(Error::Sysctl { source, .. })
                        if source.kind() == io::ErrorKind::NotFound => {}
                    outcome => outcome?,
                }
            }
            link.up()?;
        }
        Ok(())
    }

    fn end(&self, link: &Link) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(link.name().to_owned()),
            LinkAttribute::Address(link.mac().to_vec()),
            LinkAttribute::Mtu(self.options.mtu),
            LinkAttribute::NumTxQueues(self.options.queues),
            LinkAttribute::NumRxQueues(self.options.queues),
        ];
        message
    }
}

/// A locally administered unicast address: 02, FNV-1a of the name, the end.
fn mac_address(name: &str, end: u8) -> MacAddress {
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    [0x02, a, b, c, d, end]
}

#[cfg(test)]
mod tests {
    use super::mac_address;

    #[test]
    fn mac_addresses_differ_by_name_and_end() {
        let address = mac_address("nw0", 0);
        assert_eq!(address[0] & 0b11, 0b10, "unicast, locally administered");
        assert_ne!(address, mac_address("nw1", 0));
        assert_ne!(address, mac_address("nw0", 1));
        assert_eq!(address, mac_address("nw0", 0));
    }
}
