//! The tables of what this host sends: how full they are, and what goes into
//! them by another way than a packet.

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use filter_common::{FlowKey, FlowTable, flow::spoken};

use super::{LoadError, MapFault, load::take};
use crate::policy::FlowTables;

/// The four tables, and the ports that were spoken from.
pub(super) struct Flows {
    flows: Table,
    answered: Table,
    half_open: Table,
    asked: Table,
    spoken: Array<MapData, u32>,
}

/// One of them.
struct Table {
    name: &'static str,
    map: HashMap<MapData, FlowKey, u64>,
    capacity: u32,
}

impl Table {
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
        let mut table = |name, map, capacity| {
            Ok::<_, LoadError>(Table { name, map: take(ebpf, map)?, capacity })
        };
        Ok(Self {
            flows: table("flows", "FLOWS", sizes.flows)?,
            answered: table("answered", "ANSWERED", sizes.answered)?,
            half_open: table("half_open", "HALF_OPEN", sizes.half_open)?,
            asked: table("asked", "ASKED", sizes.asked)?,
            spoken: take(ebpf, "SPOKEN")?,
        })
    }

    pub(super) fn fill(&self) -> [Fill; 4] {
        [&self.flows, &self.answered, &self.half_open, &self.asked].map(|table| Fill {
            name: table.name,
            entries: table.entries(),
            capacity: table.capacity,
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
        let to = match table {
            FlowTable::Flows => &mut self.flows,
            FlowTable::Answered => &mut self.answered,
            FlowTable::HalfOpen => &mut self.half_open,
            FlowTable::Asked => &mut self.asked,
        };
        to.map.insert(key, word, 0).map_err(MapFault::of(to.name, "write"))?;
        let protocol = u8::try_from(key.protocol).unwrap_or_default();
        let place = spoken::place(protocol, key.local_port);
        self.spoken
            .set(place, spoken::unit(now), 0)
            .map_err(MapFault::of("the ports spoken from", "write"))
    }

    /// The entry of a flow, zero for none: for tests.
    pub(super) fn entry(&self, table: FlowTable, key: &FlowKey) -> u64 {
        let from = match table {
            FlowTable::Flows => &self.flows,
            FlowTable::Answered => &self.answered,
            FlowTable::HalfOpen => &self.half_open,
            FlowTable::Asked => &self.asked,
        };
        from.map.get(key, 0).unwrap_or_default()
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
