//! Everything that packets have left in the kernel's tables, for tests that
//! hold it against a model's; and what a socket would leave there.

use aya::{
    Ebpf, Pod,
    maps::{Array, MapData, MapError},
};
use filter_common::{Address, known, table::Rates, tables::INTERFACES};

use super::{DataPlane, MapFault};
use crate::model::Contents;

impl DataPlane {
    /// The words of all tables that packets write. `rules`: how many numbers of
    /// rules are in use.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    #[doc(hidden)]
    pub fn contents(&self, rules: u32) -> Result<Contents, MapFault> {
        let words = |rates: Rates| [rates.new_connections, rates.packets, rates.bytes];
        let sources = self.source_entries().map(|entry| {
            let entry = entry?;
            Ok((entry.key, words(entry.rates)))
        });
        let totals = (0..rules).flat_map(|rule| [(rule, false), (rule, true)]);
        let totals = totals.map(|(rule, strangers)| {
            Ok(((rule, strangers), words(self.sources.part(rule, strangers)?)))
        });
        let interfaces: Array<&MapData, u64> =
            self.ebpf.map("INTERFACE_RATES").map_or_else(none, Array::try_from).map_err(fault)?;
        let interface = |place: u32| {
            let word = interfaces.get(&place, 0).map_err(fault)?;
            Ok(((place / 4, place % 4), word))
        };
        Ok(Contents {
            sources: sources.collect::<Result<_, MapFault>>()?,
            totals: totals.collect::<Result<_, MapFault>>()?,
            interfaces: (0..INTERFACES * 4).map(interface).collect::<Result<_, MapFault>>()?,
            fragments: self.fragments.entries()?,
            flows: self.flows.all(),
        })
    }

    /// Remembers that a source prefix completes a handshake, as its socket
    /// would. `now` in ticks.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write.
    #[doc(hidden)]
    pub fn note_known(&mut self, source: &Address, now: u64) -> Result<(), MapFault> {
        let hash = known::hash(&self.fragment_table().seed, source);
        let mut map = known_map(&mut self.ebpf)?;
        let place = hash as u32 & (map.len() - 1);
        let words = map.get(&place, 0).map_err(fault)?.map(core::cell::Cell::new);
        known::note(|way| &words[way], hash, now);
        map.set(place, words.map(core::cell::Cell::into_inner), 0).map_err(fault)
    }
}

type Known = [u64; known::WAYS];

fn known_map(ebpf: &mut Ebpf) -> Result<Array<&mut MapData, Known>, MapFault> {
    ebpf.map_mut("KNOWN").map_or_else(none, Array::try_from).map_err(fault)
}

fn none<T: Pod, M>() -> Result<Array<M, T>, MapError> {
    Err(MapError::KeyNotFound)
}

fn fault(source: MapError) -> MapFault {
    MapFault::of("a table that packets write", "read or write")(source)
}
