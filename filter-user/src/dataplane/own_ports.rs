//! From where this host's own TCP sockets speak, by the places of
//! `tables::speakers`: a segment to anywhere else needs no look-up among them.
//!
//! The program changes a place's number whenever a socket begins to speak from
//! it. A place is silent while its number is the one that is noted here: what
//! it was before a look that found no socket there. So no beginning is missed,
//! whenever it comes, and without the controller places only become known.

use std::collections::{HashMap, HashSet};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use filter_common::{
    Seed,
    tables::{
        control,
        speakers::{PLACES, Speaker},
    },
};

use super::{LoadError, MapFault, control::Control, load::take};

/// The tables in the kernel.
pub(super) struct OwnPorts {
    marked: Array<MapData, u64>,
    silent: Array<MapData, u64>,
    control: Control,
    /// A copy of what was written there.
    noted: Vec<u64>,
    /// By which places are found.
    seed: Seed,
}

/// The number of each place that is not silent, before a look at the sockets.
#[derive(Debug, Default)]
#[must_use = "a place falls silent by what comes of it"]
pub struct Marks(HashMap<u32, u64>);

impl OwnPorts {
    const MARKED: &str = "MARKED";
    const SILENT: &str = "SILENT";

    pub(super) fn take(ebpf: &mut Ebpf, control: Control, seed: Seed) -> Result<Self, LoadError> {
        let (marked, silent) = (take(ebpf, Self::MARKED)?, take(ebpf, Self::SILENT)?);
        // These tables are new at each start, and nothing is known yet.
        control.set_flag(control::PORTS, false)?;
        Ok(Self { marked, silent, control, noted: vec![0; PLACES as usize], seed })
    }

    fn marks(&self) -> Result<Marks, MapFault> {
        let mut marks = HashMap::new();
        for place in 0..PLACES {
            let mark = self.mark(place)?;
            if mark != self.noted[place as usize] {
                marks.insert(place, mark);
            }
        }
        Ok(Marks(marks))
    }

    fn settle(&mut self, before: &Marks, speakers: &HashSet<Speaker>) -> Result<usize, MapFault> {
        let places = |speaker: &Speaker| [speaker.port_place(), speaker.place(&self.seed)];
        let used: HashSet<u32> = speakers.iter().flat_map(places).collect();
        for (place, mark) in &before.0 {
            if !used.contains(place) {
                self.note(*place, *mark)?;
            }
        }
        let mut missed = 0;
        for place in used {
            let mark = self.mark(place)?;
            if mark == self.noted[place as usize] {
                self.note(place, !mark)?;
                missed += 1;
            }
        }
        self.control.set_flag(control::PORTS, true)?;
        Ok(missed)
    }

    fn mark(&self, place: u32) -> Result<u64, MapFault> {
        self.marked.get(&place, 0).map_err(MapFault::of(Self::MARKED, "read"))
    }

    fn note(&mut self, place: u32, mark: u64) -> Result<(), MapFault> {
        self.silent.set(place, mark, 0).map_err(MapFault::of(Self::SILENT, "write"))?;
        self.noted[place as usize] = mark;
        Ok(())
    }
}

impl super::DataPlane {
    /// From where this host speaks, as far as is known: to be called before its
    /// sockets are listed.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn marks(&self) -> Result<Marks, MapFault> {
        self.own_ports.marks()
    }

    /// Notes which places are silent: those that were marked before, and of which
    /// the list that was made since has no socket. `speakers`: that list. Places
    /// of it that were taken for silent are marked; how many there were.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn settle_ports(
        &mut self,
        before: &Marks,
        speakers: &HashSet<Speaker>,
    ) -> Result<usize, MapFault> {
        self.own_ports.settle(before, speakers)
    }
}
