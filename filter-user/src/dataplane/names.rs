//! Which numbers the names of rules and interfaces have: kept beside the
//! counters that go by them, so that they fit whenever the controller starts.

use std::collections::HashSet;

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use filter_common::tables::{NAME_LENGTH, Name, interface_name_place};

use super::{LoadError, MapFault, load::take};
use crate::compile::Numbers;

/// The table in the kernel.
pub(super) struct Names {
    map: HashMap<MapData, u32, Name>,
    /// The places that are written.
    noted: HashSet<u32>,
    rules: Vec<(String, u32)>,
    interfaces: Vec<(String, u32)>,
}

impl Names {
    const MAP: &str = "NAMES";

    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        let map: HashMap<MapData, u32, Name> = take(ebpf, Self::MAP)?;
        let (mut noted, mut rules, mut interfaces) = (HashSet::new(), Vec::new(), Vec::new());
        for entry in map.iter() {
            let (place, name) = entry.map_err(MapFault::of(Self::MAP, "read"))?;
            noted.insert(place);
            match place.checked_sub(interface_name_place(0)) {
                None => rules.push((read(&name), place)),
                Some(number) => interfaces.push((read(&name), number)),
            }
        }
        Ok(Self { map, noted, rules, interfaces })
    }

    /// As they were when this was taken.
    pub(super) fn numbers(&self) -> [Numbers; 2] {
        let of = |empty: Numbers, known: &[(String, u32)]| empty.with(known.iter().cloned());
        [of(Numbers::of_rules(), &self.rules), of(Numbers::of_interfaces(), &self.interfaces)]
    }

    /// Notes names, each with its place.
    pub(super) fn note<'a>(
        &mut self,
        names: impl Iterator<Item = (&'a str, u32)>,
    ) -> Result<(), MapFault> {
        for (name, place) in names {
            if !self.noted.contains(&place) {
                let fault = MapFault::of(Self::MAP, "write");
                self.map.insert(place, written(name), 0).map_err(fault)?;
                self.noted.insert(place);
            }
        }
        Ok(())
    }
}

fn written(name: &str) -> Name {
    let mut written = [0; NAME_LENGTH];
    // Rules and interfaces have shorter ones; see `Name`.
    written.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    written
}

fn read(name: &Name) -> String {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_LENGTH);
    String::from_utf8_lossy(&name[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back() {
        for name in ["ssh", "wg0.5", &"x".repeat(63)] {
            assert_eq!(read(&written(name)), name);
        }
    }
}
