//! From which TCP ports this host's own sockets speak: a segment to any other
//! needs no look-up among the sockets.
//!
//! The program changes a port's number whenever a socket begins to speak from
//! it. A port is silent while its number is the one that is noted here: what
//! it was before a look that found no socket there. So no beginning is missed,
//! whenever it comes, and without the controller ports only become known.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use filter_common::tables::control;

use super::{LoadError, MapFault, control::Control, load::take};

const PORTS: RangeInclusive<u16> = 0..=u16::MAX;

/// The tables in the kernel.
pub(super) struct OwnPorts {
    marked: Array<MapData, u64>,
    silent: Array<MapData, u64>,
    control: Control,
    /// A copy of what was written there, by port.
    noted: Vec<u64>,
}

/// The number of each port that is not silent, before a look at the sockets.
#[derive(Debug, Default)]
#[must_use = "a port falls silent by what comes of it"]
pub struct Marks(HashMap<u16, u64>);

impl OwnPorts {
    const MARKED: &str = "MARKED";
    const SILENT: &str = "SILENT";

    pub(super) fn take(ebpf: &mut Ebpf, control: Control) -> Result<Self, LoadError> {
        let (marked, silent) = (take(ebpf, Self::MARKED)?, take(ebpf, Self::SILENT)?);
        // These tables are new at each start, and nothing is known yet.
        control.set_flag(control::PORTS, false)?;
        Ok(Self { marked, silent, control, noted: vec![0; PORTS.len()] })
    }

    fn marks(&self) -> Result<Marks, MapFault> {
        let mut marks = HashMap::new();
        for port in PORTS {
            let mark = self.mark(port)?;
            if mark != self.noted[usize::from(port)] {
                marks.insert(port, mark);
            }
        }
        Ok(Marks(marks))
    }

    fn settle(&mut self, before: &Marks, used: &HashSet<u16>) -> Result<usize, MapFault> {
        for (port, mark) in &before.0 {
            if !used.contains(port) {
                self.note(*port, *mark)?;
            }
        }
        let mut missed = 0;
        for port in used {
            let mark = self.mark(*port)?;
            if mark == self.noted[usize::from(*port)] {
                self.note(*port, !mark)?;
                missed += 1;
            }
        }
        self.control.set_flag(control::PORTS, true)?;
        Ok(missed)
    }

    fn mark(&self, port: u16) -> Result<u64, MapFault> {
        self.marked.get(&port.into(), 0).map_err(MapFault::of(Self::MARKED, "read"))
    }

    fn note(&mut self, port: u16, mark: u64) -> Result<(), MapFault> {
        self.silent.set(port.into(), mark, 0).map_err(MapFault::of(Self::SILENT, "write"))?;
        self.noted[usize::from(port)] = mark;
        Ok(())
    }
}

impl super::DataPlane {
    /// From which ports this host speaks, as far as is known: to be called
    /// before its sockets are listed.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read.
    pub fn marks(&self) -> Result<Marks, MapFault> {
        self.own_ports.marks()
    }

    /// Notes which ports are silent: those that were marked before, and of which
    /// the list that was made since has no socket. `used`: the ports of that list.
    /// Those of it that were taken for silent are marked; how many there were.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn settle_ports(&mut self, before: &Marks, used: &HashSet<u16>) -> Result<usize, MapFault> {
        self.own_ports.settle(before, used)
    }
}
