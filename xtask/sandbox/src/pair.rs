//! The world of most tests: a host with a link to a peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    Namespace, Result, Veth, VethOptions,
    packet::{self, Ethernet, Frame},
};

/// Two namespaces with a link between them. `nw0` is the interface that a
/// filter guards in `host`; `peer0` is the rest of the world.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The host: 198.51.100.1/24 and 2001:db8:51::1/64 on `nw0`.
    pub host: Namespace,
    /// The peer: 198.51.100.2/24 and 2001:db8:51::2/64 on `peer0`.
    pub peer: Namespace,
    /// The link; `a` is `nw0`, `b` is `peer0`.
    pub veth: Veth,
}

/// The host's link.
pub const HOST_LINK: &str = "nw0";
/// The peer's link.
pub const PEER_LINK: &str = "peer0";
/// The host's IPv4 address.
pub const HOST_IPV4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The peer's IPv4 address.
pub const PEER_IPV4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The host's IPv6 address.
pub const HOST_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1);
/// The peer's IPv6 address.
pub const PEER_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 2);

const IPV4_LENGTH: u8 = 24;
const IPV6_LENGTH: u8 = 64;

impl Sandbox {
    /// Makes the pair: one queue, MTU 1500, IPv4 and IPv6.
    ///
    /// # Errors
    /// See [`Namespace::new`] and [`Veth::new`].
    pub fn pair() -> Result<Self> {
        Self::with(VethOptions::default())
    }

    /// A pair over which the kernel sends nothing of its own accord: no IPv6,
    /// and each end knows the other's MAC address. For tests that count frames.
    ///
    /// # Errors
    /// See [`Namespace::new`] and [`Veth::new`].
    pub fn silent_pair() -> Result<Self> {
        let pair = Self::with(VethOptions::default().ipv6(false))?;
        pair.fix_neighbours()?;
        Ok(pair)
    }

    /// Makes the pair with a link of another kind.
    ///
    /// # Errors
    /// See [`Namespace::new`] and [`Veth::new`].
    pub fn with(options: VethOptions) -> Result<Self> {
        let (host, peer) = (Namespace::new("host")?, Namespace::new("peer")?);
        let veth = Veth::new((&host, HOST_LINK), (&peer, PEER_LINK), options)?;
        for (link, ipv4, ipv6) in [(&veth.a, HOST_IPV4, HOST_IPV6), (&veth.b, PEER_IPV4, PEER_IPV6)]
        {
            link.add_address(subnet(ipv4.into()))?;
            if options.ipv6 {
                link.add_address(subnet(ipv6.into()))?;
            }
        }
        Ok(Self { host, peer, veth })
    }

    /// Tells each end the other's MAC address, so that none of them asks.
    ///
    /// # Errors
    /// See [`crate::Link::add_neighbour`].
    pub fn fix_neighbours(&self) -> Result<()> {
        let (a, b) = (&self.veth.a, &self.veth.b);
        let mut addresses = vec![(IpAddr::from(HOST_IPV4), IpAddr::from(PEER_IPV4))];
        if self.veth.options().ipv6 {
            addresses.push((HOST_IPV6.into(), PEER_IPV6.into()));
        }
        for (host, peer) in addresses {
            a.add_neighbour(peer, b.mac())?;
            b.add_neighbour(host, a.mac())?;
        }
        Ok(())
    }

    /// Gives the peer a whole prefix of source addresses, and the host the way
    /// back. Clients take any of them as their `from`.
    ///
    /// # Errors
    /// See [`crate::Link::add_sources`] and [`crate::Link::add_route`].
    pub fn add_sources(&self, prefix: IpNet) -> Result<()> {
        let via = match prefix {
            IpNet::V4(_) => IpAddr::from(PEER_IPV4),
            IpNet::V6(_) => IpAddr::from(PEER_IPV6),
        };
        self.veth.b.add_sources(prefix)?;
        self.veth.a.add_route(prefix, Some(via))
    }

    /// A port of the host, IPv4.
    #[must_use]
    pub fn host_ipv4(&self, port: u16) -> SocketAddr {
        (HOST_IPV4, port).into()
    }

    /// A port of the host, IPv6.
    #[must_use]
    pub fn host_ipv6(&self, port: u16) -> SocketAddr {
        (HOST_IPV6, port).into()
    }

    /// The Ethernet header of a frame from the peer to the host.
    #[must_use]
    pub fn frame_to_host(&self) -> Frame<Ethernet> {
        packet::frame().eth().from_mac(self.veth.b.mac()).to_mac(self.veth.a.mac())
    }

    /// The Ethernet header of a frame from the host to the peer.
    #[must_use]
    pub fn frame_to_peer(&self) -> Frame<Ethernet> {
        packet::frame().eth().from_mac(self.veth.a.mac()).to_mac(self.veth.b.mac())
    }
}

/// The address with the length of the pair's subnet of its family.
fn subnet(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(address) => Ipv4Net::new_assert(address, IPV4_LENGTH).into(),
        IpAddr::V6(address) => Ipv6Net::new_assert(address, IPV6_LENGTH).into(),
    }
}
