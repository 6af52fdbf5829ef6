//! Lets aya copy the shared types in and out of maps.
#![expect(unsafe_code, reason = "aya's `Pod` is an unsafe trait")]

use aya::Pod;

use crate::{
    Address,
    rate::Limit,
    tables::{
        Control, Counter, Generation, InterfaceBlock, Leaf, Rule, SourceBuckets, SourceKey, View,
        ViewPrefix, interfaces,
    },
};

macro_rules! pod {
    ($($type:ty),* $(,)?) => {
        // SAFETY: each is `repr(C)`, `Copy`, of integers alone, and has no
        // padding: its size is the sum of its fields (checked below).
        $(unsafe impl Pod for $type {})*
    };
}

pod!(
    Address,
    Control,
    InterfaceBlock,
    Counter,
    Generation,
    Leaf,
    Limit,
    Rule,
    SourceBuckets,
    SourceKey,
    View,
    ViewPrefix,
    interfaces::Bucket,
);

const _: () = {
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<Counter>() == 16);
    assert!(size_of::<Limit>() == 24);
    assert!(size_of::<Generation>() == 8 + 32 + 32 + 16 + 16 + 4 * 24);
    assert!(size_of::<Leaf>() == 64);
    assert!(size_of::<Rule>() == 8 + 3 * 24);
    assert!(size_of::<SourceBuckets>() == 24);
    assert!(size_of::<SourceKey>() == 20);
    assert!(size_of::<Control>() == 16 + 64 * 32 + 4 * 200);
    assert!(size_of::<InterfaceBlock>() == 64 * 16 + 16 * 8);
    assert!(size_of::<View>() == 16);
    assert!(size_of::<ViewPrefix>() == 20);
    assert!(size_of::<interfaces::Bucket>() == 32);
};
