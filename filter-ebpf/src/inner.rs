//! The form of the maps within maps of maps.
//!
//! aya's own definitions name the types of keys and values, and so the
//! templates carry BTF. The maps that the controller makes carry none, and
//! Linux before 6.2 takes one in the place of the other only if neither or both
//! do (`bpf_map_meta_equal` in kernel/bpf/map_in_map.c compares `timer_off`,
//! which BTF alone settles). Here keys and values have sizes and no types.

use core::{ffi::c_void, ptr, ptr::NonNull};

use aya_ebpf::{bindings::bpf_map_type, helpers::bpf_map_lookup_elem};

/// `BPF_F_NO_PREALLOC`: entries take memory when they come to be.
const NO_PREALLOC: usize = 1;
/// `BPF_F_INNER_MAP`: arrays may differ in length (kernel 5.10).
const ANY_LENGTH: usize = 1 << 12;

/// An array whose length is settled.
pub type FixedArray<const VALUE: usize, const LENGTH: usize> =
    Inner<{ bpf_map_type::BPF_MAP_TYPE_ARRAY as usize }, 4, VALUE, LENGTH, 0>;
/// An array of any length.
pub type Array<const VALUE: usize> =
    Inner<{ bpf_map_type::BPF_MAP_TYPE_ARRAY as usize }, 4, VALUE, 1, ANY_LENGTH>;
/// A per-CPU array whose length is settled.
pub type PerCpuArray<const VALUE: usize, const LENGTH: usize> =
    Inner<{ bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY as usize }, 4, VALUE, LENGTH, 0>;
/// A longest-prefix-match table of any size; the key begins with its length.
pub type LpmTrie<const KEY: usize, const VALUE: usize> =
    Inner<{ bpf_map_type::BPF_MAP_TYPE_LPM_TRIE as usize }, KEY, VALUE, 1, NO_PREALLOC>;

/// A map within a map of maps. The loader reads the fields' types, nobody
/// their values.
#[repr(C)]
pub struct Inner<
    const TYPE: usize,
    const KEY: usize,
    const VALUE: usize,
    const MAX_ENTRIES: usize,
    const FLAGS: usize,
> {
    r#type: *const [i32; TYPE],
    key_size: *const [i32; KEY],
    value_size: *const [i32; VALUE],
    max_entries: *const [i32; MAX_ENTRIES],
    map_flags: *const [i32; FLAGS],
}

impl<
    const TYPE: usize,
    const KEY: usize,
    const VALUE: usize,
    const MAX_ENTRIES: usize,
    const FLAGS: usize,
> Inner<TYPE, KEY, VALUE, MAX_ENTRIES, FLAGS>
{
    /// The value of a key. It stays where it is until the program ends.
    #[inline(always)]
    pub fn find<K, V>(&self, key: &K) -> Option<NonNull<V>> {
        const { assert!(size_of::<K>() == KEY && size_of::<V>() == VALUE) };
        let map = ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: `self` is what a look-up in a map of maps gave, and the key
        // is as long as the map's keys are.
        NonNull::new(unsafe { bpf_map_lookup_elem(map, ptr::from_ref(key).cast()) }.cast())
    }

    /// The value of a key, in a map that nobody changes once it can be seen.
    #[inline(always)]
    pub fn get<K, V>(&self, key: &K) -> Option<&'static V> {
        // SAFETY: freed only after an RCU grace period; not changed, by the caller's word.
        self.find(key).map(|value| unsafe { value.as_ref() })
    }
}
