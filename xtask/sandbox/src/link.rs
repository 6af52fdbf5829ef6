//! Links (network interfaces) inside a namespace: state, addresses, routes,
//! neighbours, VLANs on top.

pub(crate) mod netlink;
mod setting;
mod tun;
mod veth;

pub use tun::Tun;
pub use veth::{Veth, VethOptions};

use std::{
    fmt, io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, VlanProtocol,
    },
    tc::{TcHandle, TcMessage},
};

use self::{netlink::LinkState, setting::Setting};
use crate::{Error, Namespace, Result, sys};

/// A link of a namespace, by name. Nothing happens when it is dropped: a link
/// ends by [`Link::delete`] or with its namespace.
#[derive(Clone)]
pub struct Link {
    namespace: Namespace,
    name: String,
    mac: MacAddress,
    /// What was set by this value and its clones, for [`Link::restore`].
    settings: Arc<Mutex<Vec<Setting>>>,
}

/// Six bytes in the order of the wire.
pub type MacAddress = [u8; 6];

/// The two kinds of VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// IEEE 802.1Q, ethertype 0x8100.
    Customer,
    /// IEEE 802.1ad, ethertype 0x88a8.
    Service,
}

/// Work that a link may leave to the hardware, or to the link's other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// Generic receive offload. A veth end without an XDP program takes
    /// redirected frames only with it.
    Gro,
    /// Checksums of sent packets; off, every frame on the wire has its own.
    SendChecksum,
    /// TCP segmentation; off, no frame on the wire is longer than the MTU.
    SendSegmentation,
}

impl Offload {
    /// The command of linux/ethtool.h.
    const fn command(self) -> u32 {
        match self {
            Self::Gro => 0x2c,
            Self::SendChecksum => 0x17,
            Self::SendSegmentation => 0x1f,
        }
    }
}

impl Namespace {
    /// A link that is already there, such as `lo`.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`]
    pub fn link(&self, name: &str) -> Result<Link> {
        let state = self.link_state(name)?;
        Ok(Link::new(self, name, state.mac))
    }

    /// Makes a dummy link (what is sent to it is gone) and sets it up.
    ///
    /// # Errors
    /// [`Error::NoDriver`], [`Error::Netlink`]
    pub fn add_dummy(&self, name: &str) -> Result<Link> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]),
        ];
        self.create_link(name, "dummy", format!("make the dummy link `{name}`"), message)?;
        let link = self.link(name)?;
        link.up()?;
        Ok(link)
    }

    /// Makes a link whose driver is in the kernel's `module`.
    fn create_link(
        &self,
        name: &str,
        module: &'static str,
        action: String,
        message: LinkMessage,
    ) -> Result<()> {
        let made =
            self.netlink(action, |netlink| netlink.create(RouteNetlinkMessage::NewLink(message)));
        match made {
            Err(Error::Netlink { source, .. }) if source.kind() == io::ErrorKind::Unsupported => {
                Err(self.no_driver(name, module))
            }
            outcome => outcome,
        }
    }

    fn no_driver(&self, name: &str, module: &'static str) -> Error {
        Error::NoDriver { namespace: self.tag().to_owned(), link: name.to_owned(), module }
    }

    /// Removes a link, and with a veth its other end.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`]
    pub fn delete_link(&self, name: &str) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = self.link_state(name)?.index;
        self.netlink(format!("delete the link `{name}`"), |netlink| {
            netlink.change(RouteNetlinkMessage::DelLink(message))
        })
    }
}

impl Link {
    pub(crate) fn new(namespace: &Namespace, name: &str, mac: MacAddress) -> Self {
        Self { namespace: namespace.clone(), name: name.to_owned(), mac, settings: Arc::default() }
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its MAC address.
    #[must_use]
    pub fn mac(&self) -> MacAddress {
        self.mac
    }

    fn state(&self) -> Result<LinkState> {
        self.namespace.link_state(&self.name)
    }

    /// Its interface index, which changes when it is made again.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`]
    pub fn index(&self) -> Result<u32> {
        Ok(self.state()?.index)
    }

    /// How many filters its `clsact` qdisc runs on what it sends.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`]
    pub fn egress_filters(&self) -> Result<usize> {
        let index = self.index()?;
        self.namespace.netlink("list filters", |netlink| netlink.egress_filters(index))
    }

    /// Its largest packet in bytes, without the Ethernet header.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`]
    pub fn mtu(&self) -> Result<u32> {
        Ok(self.state()?.mtu)
    }

    /// Whether it is there at all.
    ///
    /// # Errors
    /// [`Error::Netlink`]
    pub fn exists(&self) -> Result<bool> {
        Ok(self.namespace.find_link(&self.name)?.is_some())
    }

    /// Whether it is set up.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`]
    pub fn is_up(&self) -> Result<bool> {
        Ok(self.state()?.up)
    }

    /// Sets it up.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`]
    pub fn up(&self) -> Result<()> {
        self.set_flags(LinkFlags::Up, "set up")
    }

    /// Sets it down. The kernel forgets its IPv6 addresses and its routes.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`]
    pub fn down(&self) -> Result<()> {
        self.set_flags(LinkFlags::empty(), "set down")
    }

    fn set_flags(&self, flags: LinkFlags, what: &str) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
        self.set(message, what)
    }

    /// Sets its MTU, in bytes without the Ethernet header.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`] where the driver or an
    /// attached XDP program does not take it.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.set(message, "change the MTU of")
    }

    fn set(&self, mut message: LinkMessage, what: &str) -> Result<()> {
        message.header.index = self.index()?;
        self.namespace.netlink(format!("{what} the link `{}`", self.name), |netlink| {
            netlink.change(RouteNetlinkMessage::SetLink(message))
        })
    }

    /// Takes the qdisc `clsact` off, with every filter on it, as
    /// `tc qdisc del dev LINK clsact` does.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`] where there is none.
    pub fn delete_clsact(&self) -> Result<()> {
        let mut message = TcMessage::default();
        message.header.index = self.index()?.cast_signed();
        message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
        message.header.parent = TcHandle::CLSACT;
        self.namespace.netlink(format!("delete the qdisc clsact of `{}`", self.name), |netlink| {
            netlink.change(RouteNetlinkMessage::DelQueueDiscipline(message))
        })
    }

    /// Removes it, and with a veth its other end.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`]
    pub fn delete(&self) -> Result<()> {
        self.namespace.delete_link(&self.name)
    }

    /// Switches an offload on or off.
    ///
    /// # Errors
    /// [`Error::Socket`]
    pub fn set_offload(&self, offload: Offload, on: bool) -> Result<()> {
        use std::{net::UdpSocket, os::fd::AsFd};
        self.namespace
            .enter(|| {
                let any = UdpSocket::bind(("127.0.0.1", 0))?;
                sys::ethtool_set(any.as_fd(), &self.name, offload.command(), on)
            })?
            .map_err(|source| {
                self.namespace
                    .socket_error(format!("switch {offload:?} of the link `{}`", self.name), source)
            })
    }

    /// Gives it an address, usable at once (no duplicate address detection).
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`]
    pub fn add_address(&self, address: IpNet) -> Result<()> {
        self.apply(vec![Setting::Address(address)])
    }

    /// Gives it many addresses. The kernel walks a list for each one: for tens
    /// of thousands take [`Link::add_sources`].
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`]
    pub fn add_addresses(&self, addresses: impl IntoIterator<Item = IpNet>) -> Result<()> {
        self.apply(addresses.into_iter().map(Setting::Address).collect())
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`]
    pub fn remove_address(&self, address: IpNet) -> Result<()> {
        let message = setting::address_message(address, self.index()?);
        self.recorded().retain(|setting| *setting != Setting::Address(address));
        self.namespace.netlink(format!("take {address} from the link `{}`", self.name), |netlink| {
            netlink.change(RouteNetlinkMessage::DelAddress(message))
        })
    }

    /// Makes every address of `prefix` this namespace's own, by one route:
    /// packets to any of them are received, and sockets bound to one of them
    /// (`IP_FREEBIND`, as the clients of this crate do) send from it.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`]
    pub fn add_sources(&self, prefix: IpNet) -> Result<()> {
        self.apply(vec![Setting::Local(prefix)])
    }

    /// Routes `to` over this link, through the neighbour `via` if there is one.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`]
    pub fn add_route(&self, to: IpNet, via: Option<IpAddr>) -> Result<()> {
        self.apply(vec![Setting::Route { to, via }])
    }

    /// Fixes the MAC address of a neighbour: nobody asks for it then.
    ///
    /// # Errors
    /// [`Error::NoSuchLink`], [`Error::Netlink`]
    pub fn add_neighbour(&self, address: IpAddr, mac: MacAddress) -> Result<()> {
        self.apply(vec![Setting::Neighbour { address, mac }])
    }

    /// Makes a VLAN link on top of this one, with its MAC address, and sets it
    /// up. `id` is 0 to 4094.
    ///
    /// # Errors
    /// [`Error::NoDriver`], [`Error::NoSuchLink`], [`Error::Netlink`]
    pub fn add_vlan(&self, name: &str, tag: Tag, id: u16) -> Result<Self> {
        let protocol = match tag {
            Tag::Customer => VlanProtocol::Ieee8021Q,
            Tag::Service => VlanProtocol::Ieee8021Ad,
        };
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(self.index()?),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(vec![
                    InfoVlan::Id(id),
                    InfoVlan::Protocol(protocol),
                ])),
            ]),
        ];
        let action = format!("make the VLAN link `{name}` on `{}`", self.name);
        self.namespace.create_link(name, "8021q", action, message)?;
        let link = Self::new(&self.namespace, name, self.mac);
        link.up()?;
        Ok(link)
    }

    fn recorded(&self) -> MutexGuard<'_, Vec<Setting>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, settings: Vec<Setting>) -> Result<()> {
        self.send(&settings)?;
        self.recorded().extend(settings);
        Ok(())
    }

    /// Repeats every setting on a link that was made again under this name.
    pub(crate) fn restore(&self) -> Result<()> {
        let settings = self.recorded().clone();
        self.send(&settings)
    }

    fn send(&self, settings: &[Setting]) -> Result<()> {
        let index = self.index()?;
        let action = match settings {
            [one] => format!("{one} on the link `{}`", self.name),
            many => format!("make {} settings of the link `{}`", many.len(), self.name),
        };
        self.namespace.netlink(action, |netlink| {
            netlink.create_all(settings.iter().map(|setting| setting.message(index)))
        })
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Link")
            .field("namespace", &self.namespace.tag())
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
