//! Copies single entries of the running filter's tables of what was sent: in
//! an LRU table the program leaves a trace where it only looks.

use aya::{
    Ebpf, Pod,
    maps::{HashMap, Map, MapData, MapError},
};
use filter_common::{FlowKey, Handshake, PeerKey};

use super::Origin;
use crate::dataplane::{LoadError, MapFault, load::take};

/// The tables that a packet's verdict may ask.
pub(super) struct Entries {
    flows: Table<FlowKey, u64>,
    answered: Table<FlowKey, u64>,
    half_open: Table<PeerKey, Handshake>,
}

struct Table<K, V> {
    name: &'static str,
    running: HashMap<MapData, K, V>,
    own: HashMap<MapData, K, V>,
}

impl Entries {
    pub(super) fn new(ebpf: &mut Ebpf, origin: &Origin) -> Result<Self, LoadError> {
        Ok(Self {
            flows: Table::new(ebpf, origin, "FLOWS")?,
            answered: Table::new(ebpf, origin, "ANSWERED")?,
            half_open: Table::new(ebpf, origin, "HALF_OPEN")?,
        })
    }

    /// Makes the entries of a flow what they are in the running filter.
    pub(super) fn copy(&mut self, key: &FlowKey) -> Result<(), MapFault> {
        self.flows.copy(key)?;
        self.answered.copy(key)?;
        self.half_open.copy(&key.peer())
    }
}

impl<K: Pod, V: Pod> Table<K, V> {
    fn new(ebpf: &mut Ebpf, origin: &Origin, name: &'static str) -> Result<Self, LoadError> {
        let running = Map::LruHashMap(origin.map(name)?).try_into();
        let running = running.map_err(|error: MapError| LoadError::Other(error.into()))?;
        Ok(Self { name, running, own: take(ebpf, name)? })
    }

    fn copy(&mut self, key: &K) -> Result<(), MapFault> {
        // The system call, unlike the program, leaves no trace
        // (`map_lookup_elem_sys_only`, kernel/bpf/hashtab.c).
        match self.running.get(key, 0) {
            Ok(value) => self.own.insert(key, value, 0).map_err(MapFault::of(self.name, "write")),
            Err(MapError::KeyNotFound) => {
                // There may have been none of an earlier question.
                let _absent = self.own.remove(key);
                Ok(())
            }
            Err(error) => Err(MapFault::of(self.name, "read")(error)),
        }
    }
}
