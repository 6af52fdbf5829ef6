//! Addresses, routes and neighbours of a link as values, so that a link which
//! was deleted can be made again as it was.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
};

use super::MacAddress;

/// Number of the routing table of local addresses (linux/rtnetlink.h).
const RT_TABLE_LOCAL: u8 = 255;

/// Something that a link was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    /// An address with the length of its subnet.
    Address(IpNet),
    /// A whole prefix of own addresses.
    Local(IpNet),
    /// The way to a prefix.
    Route {
        /// The prefix.
        to: IpNet,
        /// The next hop, if not the destination itself.
        via: Option<IpAddr>,
    },
    /// A neighbour's MAC address, known beforehand.
    Neighbour {
        /// The neighbour.
        address: IpAddr,
        /// Where it is.
        mac: MacAddress,
    },
}

/// Goes on after "refused to".
impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(formatter, "add the address {address}"),
            Self::Local(prefix) => write!(formatter, "add the own prefix {prefix}"),
            Self::Route { to, via: None } => write!(formatter, "add the route to {to}"),
            Self::Route { to, via: Some(via) } => {
                write!(formatter, "add the route to {to} by {via}")
            }
            Self::Neighbour { address, .. } => write!(formatter, "add the neighbour {address}"),
        }
    }
}

impl Setting {
    /// The request that makes it so on the link with this index.
    pub(super) fn message(&self, index: u32) -> RouteNetlinkMessage {
        match self {
            Self::Address(address) => {
                RouteNetlinkMessage::NewAddress(address_message(*address, index))
            }
            Self::Local(prefix) => RouteNetlinkMessage::NewRoute(local_message(*prefix, index)),
            Self::Route { to, via } => {
                RouteNetlinkMessage::NewRoute(route_message(*to, *via, index))
            }
            Self::Neighbour { address, mac } => {
                RouteNetlinkMessage::NewNeighbour(neighbour_message(*address, *mac, index))
            }
        }
    }
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// An address that is valid at once.
pub(super) fn address_message(address: IpNet, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes = vec![
        AddressAttribute::Address(address.addr()),
        AddressAttribute::Local(address.addr()),
        AddressAttribute::Flags(AddressFlags::Nodad),
    ];
    message
}

fn route(to: IpNet, index: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(to.addr());
    message.header.destination_prefix_length = to.prefix_len();
    message.header.protocol = RouteProtocol::Static;
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::from(to.network())),
        RouteAttribute::Oif(index),
    ];
    message
}

fn route_message(to: IpNet, via: Option<IpAddr>, index: u32) -> RouteMessage {
    let mut message = route(to, index);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.kind = RouteType::Unicast;
    message.header.scope = if via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.attributes.extend(via.map(|via| RouteAttribute::Gateway(RouteAddress::from(via))));
    message
}

fn local_message(prefix: IpNet, index: u32) -> RouteMessage {
    let mut message = route(prefix, index);
    message.header.table = RT_TABLE_LOCAL;
    message.header.kind = RouteType::Local;
    message.header.scope = RouteScope::Host;
    message
}

fn neighbour_message(address: IpAddr, mac: MacAddress, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(match address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        }),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    message
}
