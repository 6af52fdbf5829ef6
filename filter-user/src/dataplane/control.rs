//! The block that every packet reads: which generation is in force, what each
//! says, which interfaces are guarded and which kinds of ban exist.
//!
//! It is a global of the programs, so each start has one of its own, which
//! begins as a copy of the one before; that one stays as it is for as long as
//! the programs run which read it. (The loader fills globals with zeros, so that
//! one which is in use must not be given to it.)

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError},
};
use filter_common::tables::{self, switch::Switch};

use super::{LoadError, MapFault, PinError, Pins, link, load::take};

/// The block in the kernel and a copy of it. Clones share both.
///
/// It is written whole; what does not change is overwritten with itself, and of
/// what changes a packet reads one word.
#[derive(Clone)]
pub(super) struct Control(Arc<Mutex<Block>>);

struct Block {
    map: Array<MapData, tables::Control>,
    copy: Box<tables::Control>,
}

impl Control {
    /// Where the loader puts the program's globals.
    pub(super) const MAP: &str = ".bss";

    /// `pins`: where the block of an earlier start is, if there is one to go on
    /// with.
    pub(super) fn take(ebpf: &mut Ebpf, pins: Option<&Pins>) -> Result<Self, LoadError> {
        let mut copy = Box::<tables::Control>::default();
        if let Some(pins) = pins {
            let (used, next) = (pins.control(), pins.next_control());
            let path = match read(&used)? {
                Some(before) => {
                    copy = before;
                    next
                }
                None => used,
            };
            let map =
                ebpf.map(Self::MAP).ok_or(LoadError::Object { what: "map", name: Self::MAP })?;
            link::remove(&path)
                .and_then(|()| map.pin(&path).map_err(io::Error::other))
                .map_err(|reason| PinError::File { path, action: "pinned", reason })?;
        }
        let control = Self(Arc::new(Mutex::new(Block { map: take(ebpf, Self::MAP)?, copy })));
        control.change(|_| Ok(()))?;
        Ok(control)
    }

    /// From now on the attached programs are those that read this block.
    pub(super) fn settle_in(&self, pins: &Pins) -> Result<(), PinError> {
        let (next, path) = (pins.next_control(), pins.control());
        match fs::rename(&next, &path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(PinError::File { path, action: "replaced", reason: error })
            }
            _ => Ok(()),
        }
    }

    /// Which generation is in force.
    pub(super) fn switch(&self) -> Switch {
        Switch(self.0.lock().unwrap_or_else(PoisonError::into_inner).copy.switch)
    }

    /// The kernel's indexes of the interfaces that have an entry.
    pub(super) fn interfaces(&self) -> Vec<u32> {
        let block = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = block.copy.guarded.iter().flat_map(|bucket| bucket.entries);
        entries.map(|entry| entry.index).filter(|index| *index != 0).collect()
    }

    /// Changes the block. When the kernel refuses it, the block before stands;
    /// so it does when `change` fails.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut tables::Control) -> Result<T, MapFault>,
    ) -> Result<T, MapFault> {
        let mut block = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut copy = block.copy.clone();
        let changed = change(&mut copy)?;
        block.map.set(0, *copy, 0).map_err(MapFault::of(Self::MAP, "write"))?;
        block.copy = copy;
        Ok(changed)
    }

    /// Sets or clears a bit of [`tables::control`].
    pub(super) fn set_flag(&self, flag: u32, on: bool) -> Result<(), MapFault> {
        {
            let block = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if (block.copy.flags & flag != 0) == on {
                return Ok(());
            }
        }
        self.change(|control| {
            control.flags = if on { control.flags | flag } else { control.flags & !flag };
            Ok(())
        })
    }
}

/// The block that is pinned at a path; `None`: there is none.
fn read(path: &Path) -> Result<Option<Box<tables::Control>>, LoadError> {
    if !path.exists() {
        return Ok(None);
    }
    let read = || -> Result<_, MapError> {
        let map: Array<_, tables::Control> =
            Map::from_map_data(MapData::from_pin(path)?)?.try_into()?;
        map.get(&0, 0)
    };
    Ok(Some(Box::new(read().map_err(MapFault::of(Control::MAP, "read"))?)))
}

/// The place in force by a block that a start left which was cut off while it
/// attached its programs: some of them may go by it.
pub(super) fn place_of_cut_off_start(pins: &Pins) -> Result<Option<u32>, LoadError> {
    let left = read(&pins.next_control())?;
    Ok(left.map(|block| Switch(block.switch)).filter(|switch| switch.is_set()).map(Switch::place))
}
