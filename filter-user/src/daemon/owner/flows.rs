//! What `flows` tells.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use filter_common::{Address, Verdict, read::protocol, tables::flow_log::Entry};
use humantime::format_rfc3339_seconds;

use super::Owner;
use crate::{
    control::{FlowEntry, Flows},
    daemon::{DaemonError, events},
};

impl Owner {
    /// The flows that there are: as the flow log counts them, or as the kernel
    /// knows them.
    pub(super) fn flows(&self, top: Option<u32>) -> Result<Flows, DaemonError> {
        let counted = match &self.flow_log {
            Some(log) => log.flows()?,
            None => None,
        };
        let (from, mut flows) = match counted {
            Some(flows) => ("flow_log", self.counted(flows)),
            None => ("kernel", self.known()?),
        };
        let total = flows.len() as u64;
        flows.truncate(top.map_or(usize::MAX, |top| top as usize));
        Ok(Flows { from: from.to_owned(), total, flows })
    }

    /// Those that were counted, the most bytes first.
    fn counted(&self, mut flows: Vec<Entry>) -> Vec<FlowEntry> {
        flows.sort_by_key(|flow| std::cmp::Reverse((flow.bytes, flow.packets, flow.last)));
        let names = self.names();
        let time = |seconds: u32| {
            format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds.into())).to_string()
        };
        let verdict = |refused| if refused == 0 { Verdict::Pass } else { Verdict::Drop };
        flows
            .into_iter()
            .map(|Entry { key, first, last, packets, bytes }| FlowEntry {
                interface: names.interfaces.get(&key.interface.into()).cloned(),
                verdict: Some(verdict(key.refused).name().to_owned()),
                packets: Some(packets),
                bytes: Some(bytes),
                first: Some(time(first)),
                last: Some(time(last)),
                ..flow(
                    (key.source, key.source_port),
                    (key.destination, key.destination_port),
                    key.protocol,
                )
            })
            .collect()
    }

    /// The connections of this host's sockets, and what it has sent that may be
    /// answered; those first that something moved over last.
    fn known(&self) -> Result<Vec<FlowEntry>, DaemonError> {
        let mut found: Vec<(Duration, FlowEntry)> = Vec::new();
        for socket in self.connections_of_sockets()? {
            let end = |at: std::net::SocketAddr| (Address::from(at.ip()), at.port());
            let shown = flow(end(socket.remote), end(socket.local), protocol::TCP);
            found.push((socket.idle, shown));
        }
        for (key, age) in self.plane.recorded_flows() {
            let protocol = u8::try_from(key.protocol).unwrap_or_default();
            let ends = ((key.remote, key.remote_port), (key.local, key.local_port));
            found.push((age, flow(ends.0, ends.1, protocol)));
        }
        found.sort_by_key(|(age, _)| *age);
        let now = SystemTime::now();
        let with_time = |(age, flow): (Duration, FlowEntry)| {
            let last = now.checked_sub(age).map(|time| format_rfc3339_seconds(time).to_string());
            FlowEntry { last, ..flow }
        };
        Ok(found.into_iter().map(with_time).collect())
    }
}

/// Who and whom.
fn flow(source: (Address, u16), destination: (Address, u16), number: u8) -> FlowEntry {
    let has_ports = matches!(number, protocol::TCP | protocol::UDP);
    FlowEntry {
        interface: None,
        source: IpAddr::from(source.0),
        destination: IpAddr::from(destination.0),
        protocol: events::protocol_name(number),
        source_port: has_ports.then_some(source.1),
        destination_port: has_ports.then_some(destination.1),
        verdict: None,
        packets: None,
        bytes: None,
        first: None,
        last: None,
    }
}
