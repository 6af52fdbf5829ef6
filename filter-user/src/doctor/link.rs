//! Gathers what is known of the interfaces that are to be guarded.

use std::{collections::BTreeSet, io};

use ethtool::{EthtoolAttr, EthtoolChannelAttr, EthtoolFeatureAttr, EthtoolHandle, EthtoolMessage};
use futures_util::TryStreamExt as _;
use netlink_packet_generic::GenlMessage;
use tokio::runtime;

use super::{
    Finding,
    host::Host,
    interfaces::{self, Channels, Link},
    netdev,
};
use crate::{
    daemon::network::{Network, Snapshot},
    dataplane::{Interface, program_name},
    policy::Policy,
};

const CHECK: &str = "interfaces";

/// Without a policy, those with a default route are looked at.
pub(super) fn examine(host: &Host, policy: Option<&Policy>) -> Vec<Finding> {
    let gathered = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(gather(host, policy)));
    match gathered {
        Ok((links, missing)) => {
            let mut findings = about_missing(&links, &missing, policy);
            let cpus = std::thread::available_parallelism().map_or(1, usize::from);
            for link in &links {
                findings.extend(interfaces::examine(link, policy, cpus));
            }
            findings
        }
        Err(error) => vec![
            Finding::failure(CHECK, format!("the kernel does not list the interfaces ({error})"))
                .mend("ip link"),
        ],
    }
}

fn about_missing(links: &[Link], missing: &[String], policy: Option<&Policy>) -> Vec<Finding> {
    let named = policy.is_some_and(|policy| policy.interfaces.is_some());
    if links.is_empty() && !named {
        let what = "no interface has a default route, and the policy names none: nothing would be guarded until one has";
        return vec![Finding::warning(CHECK, what).mend("name them in `interfaces` of the policy")];
    }
    let gone = |name: &String| {
        Finding::failure(
            CHECK,
            format!("the policy names the interface {name}, and there is none of that name"),
        )
        .mend("ip link (lists those there are; mend `interfaces` in the policy)")
    };
    missing.iter().map(gone).collect()
}

/// The interfaces to be guarded, and the names of those that are not there.
async fn gather(host: &Host, policy: Option<&Policy>) -> io::Result<(Vec<Link>, Vec<String>)> {
    let (network, _changes) = Network::connect()?;
    let snapshot = network.snapshot().await.map_err(io::Error::other)?;
    let wanted: BTreeSet<String> = match policy.and_then(|policy| policy.interfaces.as_ref()) {
        Some(names) => names.iter().cloned().collect(),
        None => snapshot.default_routes.clone(),
    };
    let (mut links, mut missing) = (Vec::new(), Vec::new());
    for name in wanted {
        match snapshot.find(&name) {
            Some(interface) => links.push(link(host, interface, &snapshot).await),
            None => missing.push(name),
        }
    }
    Ok((links, missing))
}

async fn link(host: &Host, interface: &Interface, snapshot: &Snapshot) -> Link {
    let Interface { name, index, .. } = interface;
    let (mut features, mut channels) = (None, None);
    // Each connection serves until its handle goes.
    if let Ok((connection, mut handle, _)) = ethtool::new_connection() {
        tokio::spawn(connection);
        features = active_features(&mut handle, name).await;
        channels = queues(&mut handle, name).await;
    }
    let mut xdp = None;
    if let Ok((connection, mut handle, _)) = genetlink::new_connection() {
        tokio::spawn(connection);
        xdp = netdev::xdp_features(&mut handle, *index).await;
    }
    let exists = |vlan: &String| snapshot.find(vlan).is_some();
    Link {
        driver: host.link(&format!("sys/class/net/{name}/device/driver")),
        program: interface.program.map(|id| program_name(Some(id))),
        vlans: vlans_on(host, name).into_iter().filter(exists).collect(),
        interface: interface.clone(),
        xdp,
        features: features.unwrap_or_default(),
        channels,
    }
}

async fn active_features(handle: &mut EthtoolHandle, name: &str) -> Option<Vec<String>> {
    let answer = handle.feature().get(Some(name)).execute().await;
    let found: Vec<GenlMessage<EthtoolMessage>> = answer.ok()?.try_collect().await.ok()?;
    let attributes = found.into_iter().flat_map(|message| message.payload.nlas);
    let active = attributes
        .filter_map(|attribute| match attribute {
            EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) => Some(bits),
            _ => None,
        })
        .flatten()
        .filter(|bit| bit.value)
        .map(|bit| bit.name)
        .collect();
    Some(active)
}

async fn queues(handle: &mut EthtoolHandle, name: &str) -> Option<Channels> {
    let answer = handle.channel().get(Some(name)).execute().await;
    let found: Vec<GenlMessage<EthtoolMessage>> = answer.ok()?.try_collect().await.ok()?;
    let mut channels = None;
    for attribute in found.into_iter().flat_map(|message| message.payload.nlas) {
        let EthtoolAttr::Channel(attribute) = attribute else { continue };
        let channels = channels.get_or_insert_with(Channels::default);
        match attribute {
            EthtoolChannelAttr::RxCount(count) => channels.receive += count,
            EthtoolChannelAttr::CombinedCount(count) => {
                channels.receive += count;
                channels.combined = count;
            }
            EthtoolChannelAttr::CombinedMax(most) => channels.combined_most = most,
            _ => {}
        }
    }
    channels
}

/// The VLAN links on top of an interface.
fn vlans_on(host: &Host, name: &str) -> Vec<String> {
    let table = host.read("proc/self/net/vlan/config").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('|').map(str::trim);
            let (vlan, _, on) = (columns.next()?, columns.next()?, columns.next()?);
            (on == name).then(|| vlan.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::host::fake::Fake, *};

    #[test]
    fn vlans_are_found_by_what_they_stand_on() {
        let table = "VLAN Dev name\t | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\n\
                     eth0.5         | 5  | eth0\neth1.7         | 7  | eth1\n";
        let fake = Fake::new(&[("proc/self/net/vlan/config", table)]);
        assert_eq!(vlans_on(&fake.host, "eth0"), ["eth0.5"]);
        assert!(vlans_on(&fake.host, "eth2").is_empty());
    }
}
