//! The interfaces and default routes of the network namespace, by rtnetlink.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::stream::{Stream, StreamExt as _, TryStreamExt as _};
use rtnetlink::{
    Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection,
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached},
        route::{RouteAttribute, RouteMessage, RouteType},
        tc::TcHandle,
    },
};

use super::stacks::Stacks;
use crate::dataplane::{AttachMode, Hook, Interface, is_own_filter};

/// A connection to rtnetlink.
#[derive(Debug, Clone)]
pub(crate) struct Network(Handle);

/// The interfaces at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// In no order.
    pub links: Vec<Interface>,
    /// Names of those with a default route.
    pub default_routes: BTreeSet<String>,
    stacks: Stacks,
}

impl Snapshot {
    /// The interface of that name.
    pub(crate) fn find(&self, name: &str) -> Option<&Interface> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Whether what `upper` receives has come in through `lower`.
    pub(super) fn is_above(&self, upper: &str, lower: &str) -> bool {
        match (self.find(upper), self.find(lower)) {
            (Some(upper), Some(lower)) => self.stacks.is_above(upper.index, lower.index),
            _ => false,
        }
    }
}

impl Network {
    /// Connects; the stream has an item for each change that may matter. Must
    /// be called within a runtime.
    pub(crate) fn connect() -> io::Result<(Self, impl Stream<Item = ()> + Send + Unpin + 'static)> {
        let mut groups =
            vec![MulticastGroup::Link, MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route];
        if Hook::of_kernel() == Hook::Clsact {
            groups.push(MulticastGroup::Tc);
        }
        let (connection, handle, messages) = new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        let changes =
            messages.filter_map(|(message, _)| std::future::ready(matters(&message).then_some(())));
        Ok((Self(handle), changes))
    }

    /// What there is now.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, rtnetlink::Error> {
        let (mut links, mut stacks) = (Vec::new(), Stacks::default());
        let mut dump = self.0.link().get().execute();
        while let Some(message) = dump.try_next().await? {
            stacks.note(&message);
            links.extend(interface(message));
        }
        let mut indices = BTreeSet::new();
        let families = [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ];
        for family in families {
            let mut dump = self.0.route().get(family).execute();
            while let Some(message) = dump.try_next().await? {
                if is_default(&message) {
                    add_indices(&message, &mut indices);
                }
            }
        }
        let has_default = |link: &&Interface| indices.contains(&link.index);
        let default_routes =
            links.iter().filter(has_default).map(|link| link.name.clone()).collect();
        Ok(Snapshot { links, default_routes, stacks })
    }
}

impl Network {
    /// The index of the interface by which this host sends to an address, and
    /// so most likely hears from it.
    pub(super) async fn interface_to(&self, address: IpAddr) -> Option<u32> {
        let message = match address {
            IpAddr::V4(v4) => {
                RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(v4, 32).build()
            }
            IpAddr::V6(v6) => {
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(v6, 128).build()
            }
        };
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(message));
        request.header.flags = NLM_F_REQUEST;
        let mut answers = self.0.clone().request(request).ok()?;
        let answer = answers.next().await?;
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = answer.payload
        else {
            return None;
        };
        route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
    }
}

impl Network {
    /// Whether the classifier is among the filters of what an interface sends.
    /// Only where it is a filter.
    pub(super) async fn has_classifier(&self, index: u32) -> Result<bool, rtnetlink::Error> {
        let index = index.cast_signed();
        let mut filters = Box::pin(self.0.traffic_filter(index).get().egress().execute());
        while let Some(filter) = filters.try_next().await? {
            let TcHandle { major, minor } = filter.header.handle;
            if is_own_filter(u32::from(major) << 16 | u32::from(minor)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Links, and routes to everywhere: others come by the thousand on a router.
/// An overrun means that something was missed.
fn matters(message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
    match &message.payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        ) => is_default(route),
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewLink(_)
            | RouteNetlinkMessage::DelLink(_)
            | RouteNetlinkMessage::DelQueueDiscipline(_)
            | RouteNetlinkMessage::DelTrafficFilter(_),
        )
        | NetlinkPayload::Overrun(_)
        | NetlinkPayload::Error(_) => true,
        _ => false,
    }
}

fn interface(message: LinkMessage) -> Option<Interface> {
    let mut found = Interface {
        name: String::new(),
        index: message.header.index,
        kind: u16::from(message.header.link_layer_type).into(),
        mtu: 0,
        program: None,
        mode: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name = name,
            LinkAttribute::Mtu(mtu) => found.mtu = mtu,
            LinkAttribute::Xdp(list) => {
                for item in list {
                    match item {
                        LinkXdp::ProgId(id) => found.program = Some(id),
                        LinkXdp::Attached(XdpAttached::Driver) => {
                            found.mode = Some(AttachMode::Native);
                        }
                        LinkXdp::Attached(XdpAttached::SocketBuffer) => {
                            found.mode = Some(AttachMode::Generic);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (!found.name.is_empty()).then_some(found)
}

/// Routes that say "unreachable" are default routes too, on the loopback interface.
fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0 && route.header.kind == RouteType::Unicast
}

fn add_indices(route: &RouteMessage, indices: &mut BTreeSet<u32>) {
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => {
                indices.insert(*index);
            }
            RouteAttribute::MultiPath(hops) => {
                indices.extend(hops.iter().map(|hop| hop.interface_index))
            }
            _ => {}
        }
    }
}
