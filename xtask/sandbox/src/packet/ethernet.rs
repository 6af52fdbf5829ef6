//! Ethernet (IEEE 802.3), VLAN tags (802.1Q, 802.1ad), PPPoE (RFC 2516), ARP (RFC 826).

use std::net::Ipv4Addr;

use super::{
    Address, Frame, Header,
    header::{Inside, Write, low_u16},
};
use crate::{MacAddress, Tag};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;

/// An Ethernet header.
#[derive(Debug, Clone)]
pub struct Ethernet {
    destination: MacAddress,
    source: MacAddress,
    ethertype: Option<u16>,
}

/// A VLAN tag.
#[derive(Debug, Clone)]
pub struct Vlan {
    tag: Tag,
    control: u16,
    ethertype: Option<u16>,
}

/// A PPPoE header with the PPP protocol number behind it.
#[derive(Debug, Clone)]
pub struct Pppoe {
    version_and_type: u8,
    code: u8,
    session: u16,
    length: Option<u16>,
    protocol: Option<u16>,
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone)]
pub struct Arp {
    operation: u16,
    sender: (MacAddress, Ipv4Addr),
    target: (MacAddress, Ipv4Addr),
}

impl<H: Header> Frame<H> {
    /// Adds an Ethernet header, from 02:00:00:00:00:02 to 02:00:00:00:00:01.
    #[must_use]
    pub fn eth(self) -> Frame<Ethernet> {
        self.then(Ethernet {
            destination: [2, 0, 0, 0, 0, 1],
            source: [2, 0, 0, 0, 0, 2],
            ethertype: None,
        })
    }

    /// Adds an 802.1Q tag. `id` is 0 to 4095.
    #[must_use]
    pub fn vlan(self, id: u16) -> Frame<Vlan> {
        self.vlan_tag(Tag::Customer, id)
    }

    /// Adds a tag of either kind with its whole control word (priority, drop
    /// eligible, 12 bits of id).
    #[must_use]
    pub fn vlan_tag(self, tag: Tag, control: u16) -> Frame<Vlan> {
        self.then(Vlan { tag, control, ethertype: None })
    }

    /// Adds the header of a PPPoE session frame and the PPP protocol.
    #[must_use]
    pub fn pppoe(self, session: u16) -> Frame<Pppoe> {
        self.then(Pppoe { version_and_type: 0x11, code: 0, session, length: None, protocol: None })
    }

    /// Adds the question who has `target`.
    #[must_use]
    pub fn arp_request(
        self,
        sender_mac: MacAddress,
        sender: impl Address<Ipv4Addr>,
        target: impl Address<Ipv4Addr>,
    ) -> Frame<Arp> {
        let sender = (sender_mac, sender.address());
        self.then(Arp { operation: 1, sender, target: ([0; 6], target.address()) })
    }
}

impl Frame<Ethernet> {
    /// Sets the source address.
    #[must_use]
    pub fn from_mac(mut self, source: MacAddress) -> Self {
        self.top.source = source;
        self
    }

    /// Sets the destination address.
    #[must_use]
    pub fn to_mac(mut self, destination: MacAddress) -> Self {
        self.top.destination = destination;
        self
    }

    /// Sets the ethertype, or the length of an 802.3 frame.
    #[must_use]
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.top.ethertype = Some(ethertype);
        self
    }
}

impl Frame<Vlan> {
    /// Sets the ethertype behind the tag.
    #[must_use]
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.top.ethertype = Some(ethertype);
        self
    }
}

impl Frame<Pppoe> {
    /// Sets version and type, four bits each; 0x11 is the only one in use.
    #[must_use]
    pub fn version_and_type(mut self, value: u8) -> Self {
        self.top.version_and_type = value;
        self
    }

    /// Sets the code; session frames have 0.
    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.top.code = code;
        self
    }

    /// Sets the length in bytes, which counts the PPP protocol.
    #[must_use]
    pub fn length(mut self, length: u16) -> Self {
        self.top.length = Some(length);
        self
    }

    /// Sets the PPP protocol: 0x0021 is IPv4, 0x0057 IPv6.
    #[must_use]
    pub fn ppp_protocol(mut self, protocol: u16) -> Self {
        self.top.protocol = Some(protocol);
        self
    }
}

impl Write for Ethernet {
    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        out.extend(self.destination);
        out.extend(self.source);
        out.extend(self.ethertype.unwrap_or_else(|| inside.ethertype()).to_be_bytes());
    }
}

impl Write for Vlan {
    fn ethertype(&self) -> Option<u16> {
        Some(match self.tag {
            Tag::Customer => 0x8100,
            Tag::Service => 0x88a8,
        })
    }

    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        out.extend(self.control.to_be_bytes());
        out.extend(self.ethertype.unwrap_or_else(|| inside.ethertype()).to_be_bytes());
    }
}

impl Write for Pppoe {
    fn ethertype(&self) -> Option<u16> {
        Some(ETHERTYPE_PPPOE_SESSION)
    }

    fn write(&self, inside: &Inside<'_>, out: &mut Vec<u8>) {
        // The link control protocol, where nothing says what is inside.
        const LCP: u16 = 0xc021;
        let protocol = self.protocol.unwrap_or_else(|| match inside.ethertype() {
            ETHERTYPE_IPV4 => 0x0021,
            ETHERTYPE_IPV6 => 0x0057,
            _ => LCP,
        });
        out.extend([self.version_and_type, self.code]);
        out.extend(self.session.to_be_bytes());
        out.extend(self.length.unwrap_or_else(|| low_u16(inside.bytes.len() + 2)).to_be_bytes());
        out.extend(protocol.to_be_bytes());
    }
}

impl Write for Arp {
    fn ethertype(&self) -> Option<u16> {
        Some(ETHERTYPE_ARP)
    }

    fn write(&self, _: &Inside<'_>, out: &mut Vec<u8>) {
        // Ethernet, IPv4, and the lengths of their addresses.
        out.extend([0, 1, 8, 0, 6, 4]);
        out.extend(self.operation.to_be_bytes());
        for (mac, address) in [&self.sender, &self.target] {
            out.extend(mac);
            out.extend(address.octets());
        }
    }
}
