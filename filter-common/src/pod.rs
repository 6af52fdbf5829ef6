//! Lets aya copy the shared types in and out of maps.
#![expect(unsafe_code, reason = "aya's `Pod` is an unsafe trait")]

use aya::Pod;

use crate::{
    Address, FlowKey, Handshake, PeerKey,
    known::Known,
    rate::Limit,
    table::{Rates, SourceEntry},
    tables::{
        Control, Counter, Generation, InterfaceBlock, Leaf, Rule, Slot, SourceKey, View,
        ViewPrefix, events, flow_log, fragments, interfaces, probe,
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
    FlowKey,
    InterfaceBlock,
    Counter,
    Generation,
    Handshake,
    Known,
    Leaf,
    Limit,
    PeerKey,
    Rule,
    Slot,
    Rates,
    SourceEntry,
    SourceKey,
    View,
    ViewPrefix,
    events::Event,
    events::Granted,
    flow_log::Entry,
    fragments::Entry,
    interfaces::Bucket,
    probe::Probe,
);

const _: () = {
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<Counter>() == 16);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<PeerKey>() == 20);
    assert!(size_of::<Handshake>() == 32);
    assert!(size_of::<Limit>() == 24);
    assert!(size_of::<Generation>() == 8 + 32 + 32 + 64 + 4 * 24);
    assert!(size_of::<Leaf>() == 64);
    assert!(size_of::<Rule>() == 8 + 4 * 72 + 16);
    assert!(size_of::<Rates>() == 40);
    assert!(size_of::<Slot>() == 48);
    assert!(size_of::<SourceKey>() == 24);
    assert!(size_of::<SourceEntry>() == 64);
    assert!(size_of::<Control>() == 24 + 64 * 32 + 4 * 232);
    assert!(size_of::<events::Event>() == 72);
    assert!(size_of::<flow_log::Entry>() == 64);
    assert!(size_of::<fragments::Entry>() == 24);
    assert!(size_of::<InterfaceBlock>() == 64 * 16 + 3 * 8 + 24 * 8);
    assert!(size_of::<View>() == 32);
    assert!(size_of::<ViewPrefix>() == 20);
    assert!(size_of::<interfaces::Bucket>() == 32);
    assert!(size_of::<probe::Probe>() == 3 * 8 + 8 + 40 + 40);
};
