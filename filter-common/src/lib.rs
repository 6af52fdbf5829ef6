//! What the kernel program and the controller share: reading a packet,
//! judging it, and the types of the tables that the judgement reads.
//!
//! The verdict is written here once, generic over where the bytes come from
//! ([`Packet`]) and where the state lives ([`State`]). The kernel program is
//! this code over packet pointers and BPF maps; tests and the model are the
//! same code over a slice and a `HashMap`.
//!
//! No I/O, no allocation, no panic: every path through this crate must pass
//! the kernel's verifier.
#![no_std]
#![cfg_attr(not(feature = "user"), forbid(unsafe_code))]
#![cfg_attr(feature = "user", deny(unsafe_code))]

mod address;
pub mod banned;
pub mod egress;
mod essential;
pub mod flow;
pub mod fragments;
mod hash;
mod icmp;
pub mod known;
pub mod limits;
mod packet;
#[cfg(feature = "user")]
mod pod;
pub mod rate;
pub mod read;
mod reason;
pub mod reply;
pub mod slots;
mod state;
pub mod table;
pub mod tables;
mod verdict;

pub use address::Address;
pub use egress::Origin;
pub use flow::{FlowKey, FlowTable, Flows, HalfOpen, Handshake, PeerKey, Sent, Stage};
pub use hash::Seed;
pub use packet::Packet;
pub use reason::{Outcome, Reason, RuleId, Scope, Verdict};
pub use state::{Buckets, Cell, InterfaceLimit, Listed, Socket, State};
pub use verdict::{judge, judge_parsed, judge_unread};
