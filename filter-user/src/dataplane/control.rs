//! The block that every packet reads: which generation is in force, what each
//! says, which interfaces are guarded and which kinds of ban exist.

use std::sync::{Arc, Mutex, PoisonError};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use filter_common::tables;

use super::{LoadError, MapFault, load::take};

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
    const MAP: &str = ".bss";

    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        let block = Block { map: take(ebpf, Self::MAP)?, copy: Box::default() };
        Ok(Self(Arc::new(Mutex::new(block))))
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
