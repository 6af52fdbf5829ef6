//! The tables of what this host sends: how full they are, and what goes into
//! them by another way than a packet.

use std::time::Duration;

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapData},
};
use filter_common::{FlowKey, FlowTable, Handshake, PeerKey, Sent, flow::spoken, read::protocol};

use super::{LoadError, MapFault, load::take};
use crate::policy::FlowTables;

/// The four tables, and the ports that were spoken from.
pub(super) struct Flows {
    flows: Table,
    answered: Table,
    half_open: Table<PeerKey, Handshake>,
    asked: Table,
    spoken: Array<MapData, u32>,
}

/// One of them.
struct Table<K = FlowKey, V = u64> {
    name: &'static str,
    map: HashMap<MapData, K, V>,
    capacity: u32,
}

impl<K: Pod, V: Pod> Table<K, V> {
    fn take(
        ebpf: &mut Ebpf,
        map: &'static str,
        name: &'static str,
        capacity: u32,
    ) -> Result<Self, LoadError> {
        Ok(Self { name, map: take(ebpf, map)?, capacity })
    }

    fn fill(&self) -> Fill {
        Fill { name: self.name, entries: self.entries(), capacity: self.capacity }
    }

    fn insert(&mut self, key: K, value: V) -> Result<(), MapFault> {
        self.map.insert(key, value, 0).map_err(MapFault::of(self.name, "write"))
    }

    /// Entries that there are. The walk begins anew where the entry that it
    /// stands at goes, so it is told when to stop.
    fn entries(&self) -> u64 {
        self.map.keys().filter(Result::is_ok).take(self.capacity as usize).count() as u64
    }
}

/// How full a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Its name, as `status` shows it and `[tables]` sets it.
    pub name: &'static str,
    /// Entries, those included that have run out and are not overwritten yet.
    pub entries: u64,
    /// Entries that it has room for.
    pub capacity: u32,
}

impl Flows {
    pub(super) fn take(ebpf: &mut Ebpf, sizes: &FlowTables) -> Result<Self, LoadError> {
        Ok(Self {
            flows: Table::take(ebpf, "FLOWS", "flows", sizes.flows)?,
            answered: Table::take(ebpf, "ANSWERED", "answered", sizes.answered)?,
            half_open: Table::take(ebpf, "HALF_OPEN", "half_open", sizes.half_open)?,
            asked: Table::take(ebpf, "ASKED", "asked", sizes.asked)?,
            spoken: take(ebpf, "SPOKEN")?,
        })
    }

    pub(super) fn fill(&self) -> [Fill; 4] {
        [self.flows.fill(), self.answered.fill(), self.half_open.fill(), self.asked.fill()]
    }

    /// The entries of established flows that have not run out, each with its age.
    pub(super) fn live(&self, now: u64) -> impl Iterator<Item = (FlowKey, Duration)> {
        [&self.flows, &self.answered].into_iter().flat_map(move |table| {
            // As in `entries`, the walk may begin anew.
            let entries = table.map.iter().take(table.capacity as usize).filter_map(Result::ok);
            entries.filter_map(move |(key, word)| {
                let sent = Sent(word);
                let protocol = u8::try_from(key.protocol).unwrap_or_default();
                let live = sent.is_live(protocol, now);
                live.then(|| (key, Duration::from_nanos(sent.age(now))))
            })
        })
    }

    /// Puts an entry into a table. `now`: nanoseconds of the monotonic clock.
    pub(super) fn remember(
        &mut self,
        table: FlowTable,
        key: &FlowKey,
        word: u64,
        now: u64,
    ) -> Result<(), MapFault> {
        match table {
            FlowTable::Flows => self.flows.insert(*key, word),
            FlowTable::Answered => self.answered.insert(*key, word),
            FlowTable::HalfOpen => self.half_open.insert(key.peer(), Handshake::new(key, word)),
            FlowTable::Asked => self.asked.insert(*key, word),
        }?;
        let protocol = u8::try_from(key.protocol).unwrap_or_default();
        let place = spoken::place(protocol, key.local_port);
        self.spoken
            .set(place, spoken::unit(now), 0)
            .map_err(MapFault::of("the ports spoken from", "write"))
    }

    /// All entries, those included that have run out: for tests.
    pub(super) fn all(&self) -> Vec<(FlowTable, FlowKey, u64)> {
        let tables = [
            (FlowTable::Flows, &self.flows),
            (FlowTable::Answered, &self.answered),
            (FlowTable::Asked, &self.asked),
        ];
        let entries = tables.into_iter().flat_map(|(table, entries)| {
            entries.map.iter().filter_map(Result::ok).map(move |(key, word)| (table, key, word))
        });
        let half_open = self.half_open.map.iter().filter_map(Result::ok).map(|(peer, entry)| {
            let key = FlowKey {
                remote: peer.address,
                local: entry.local,
                remote_port: u16::try_from(peer.port).unwrap_or_default(),
                local_port: u16::try_from(entry.local_port).unwrap_or_default(),
                protocol: protocol::TCP.into(),
            };
            (FlowTable::HalfOpen, key, entry.word)
        });
        entries.chain(half_open).collect()
    }

    /// The entry of a flow, zero for none: for tests.
    pub(super) fn entry(&self, table: FlowTable, key: &FlowKey) -> u64 {
        let map = match table {
            FlowTable::Flows => &self.flows.map,
            FlowTable::Answered => &self.answered.map,
            FlowTable::HalfOpen => {
                let found = self.half_open.map.get(&key.peer(), 0);
                return found.unwrap_or_default().word_of(key);
            }
            FlowTable::Asked => &self.asked.map,
        };
        map.get(key, 0).unwrap_or_default()
    }
}

/// The maps, each with its size.
pub(super) fn sizes(tables: &FlowTables) -> [(&'static str, u32); 4] {
    [
        ("FLOWS", tables.flows),
        ("ANSWERED", tables.answered),
        ("HALF_OPEN", tables.half_open),
        ("ASKED", tables.asked),
    ]
}
