//! The words of a table that the kernel and this process have in common.
#![expect(unsafe_code, reason = "aya maps no table into memory")]

use std::{io, num::NonZeroUsize, os::fd::AsFd as _, ptr::NonNull, slice, sync::atomic::AtomicU64};

use aya::maps::MapData;
use nix::{
    libc::c_void,
    sys::mman::{MapFlags, ProtFlags, mmap, munmap},
};

/// The values of an array, one after the other.
pub(super) struct Words {
    first: NonNull<c_void>,
    length: NonZeroUsize,
}

// SAFETY: of the memory nothing is handed out but atomics.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// `map`: an array that was made to be mapped (`BPF_F_MMAPABLE`), of values
    /// of whole words.
    pub(super) fn of(map: &MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        let bytes = u64::from(info.value_size()) * u64::from(info.max_entries());
        let length = usize::try_from(bytes).ok().and_then(NonZeroUsize::new);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: at an address of the kernel's choice, where nothing else is. The
        // kernel refuses more than the array has.
        let first =
            unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, map.fd().as_fd(), 0) };
        Ok(Self { first: first?, length })
    }
}

impl AsRef<[AtomicU64]> for Words {
    fn as_ref(&self) -> &[AtomicU64] {
        let words = self.length.get() / size_of::<AtomicU64>();
        // SAFETY: mapped as long as this is, and from the start of a page; the
        // kernel's programs read a word at a time, too.
        unsafe { slice::from_raw_parts(self.first.cast().as_ptr(), words) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: all that was mapped, and no reference outlives this. What could
        // fail is a wrong length.
        let _unmapped = unsafe { munmap(self.first, self.length.get()) };
    }
}
