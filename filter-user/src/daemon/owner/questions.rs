//! Answers about packets: what the program is asked elsewhere, named here.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use humantime::format_rfc3339_seconds;
use ipnet::IpNet;

use super::Owner;
use crate::{
    capture::Link,
    control::Explained,
    daemon::DaemonError,
    dataplane::{Arrival, Origin, Probe, Times},
    explain::{Ban, World, explain},
    packet::Packet,
};

/// An interface where packets are said to come in.
#[derive(Debug)]
pub(in crate::daemon) struct Place {
    /// `None`: none is guarded.
    pub interface: Option<String>,
    pub number: u32,
    pub link: Link,
}

impl Owner {
    /// What programs to ask are made of.
    pub(super) fn origin(&self) -> Arc<Origin> {
        self.plane.origin()
    }

    /// The names of rules, by their numbers.
    pub(super) fn rule_names(&self) -> HashMap<u32, String> {
        self.rule_numbers.iter().map(|(name, number)| (number, name.to_owned())).collect()
    }

    /// A guarded interface; `None`: the first one.
    pub(super) fn place(&self, name: Option<&str>) -> Result<Place, DaemonError> {
        let guarded = self.guarded.attached();
        let found = match name {
            Some(name) => {
                guarded.iter().find(|(guarded, _)| *guarded == name).ok_or_else(|| {
                    let guarded = guarded.iter().map(|(name, _)| (*name).to_owned()).collect();
                    DaemonError::NotGuarded { name: name.to_owned(), guarded }
                })?
            }
            None => match guarded.first() {
                Some(first) => first,
                None => return Ok(Place { interface: None, number: 0, link: Link::Ethernet }),
            },
        };
        let (name, attachment) = *found;
        Ok(Place {
            interface: Some(name.to_owned()),
            number: self.interface_numbers.get(name).unwrap_or(0),
            link: if attachment.raw_ip { Link::RawIp } else { Link::Ethernet },
        })
    }

    /// What would become of a packet now, by the program's own word.
    pub(super) fn explain(
        &self,
        mut packet: Packet,
        probe: &mut Probe,
    ) -> Result<Explained, DaemonError> {
        let Place { interface, number, link } = self.place(packet.interface.as_deref())?;
        packet.interface = interface;
        let frame = packet.frame(link)?;
        let raw_ip = link == Link::RawIp;
        let arrival = Arrival { interface: number, raw_ip, times: Times::now() };
        let outcome = probe.judge(&frame, arrival)?;
        let rule = outcome.rule.map(|rule| self.rule_numbers.name_of(rule.get()));
        let world = World {
            policy: &self.in_force.loaded.policy,
            bans: self.bans_that_hold(packet.source),
            is_private: false,
        };
        Ok(explain(&world, &packet, frame.len(), &outcome, rule))
    }

    fn bans_that_hold(&self, address: IpAddr) -> Vec<Ban> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefixes = (0..=longest).filter_map(|length| IpNet::new(address, length).ok());
        let bans = self.plane.bans_ref();
        let found = prefixes.filter_map(|net| Some((net.trunc(), bans.get(&net.trunc())?)));
        found
            .map(|(prefix, ban)| Ban {
                prefix,
                until: ban.until.map(|until| format_rfc3339_seconds(until.wall).to_string()),
                reason: ban.reason.clone(),
            })
            .collect()
    }
}
