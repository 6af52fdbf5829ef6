//! The world that tests, the demonstration and the benchmark make for
//! themselves: network namespaces with links between them, packets down to the
//! last bit, clients and servers, and the `nodewall` daemon in the middle.
//!
//! - [`Sandbox`] is the usual world: a host and a peer. [`Namespace`], [`Veth`],
//!   [`Link`] and [`Tun`] build others.
//! - [`packet`] writes frames, [`RawSocket`] sends and receives them.
//! - [`tcp_listen`], [`tcp_connect`], [`scan`], [`udp_echo`] and the like use real
//!   sockets.
//! - [`Instance`] and [`Daemon`] run the binary, and its command line against it.
//! - [`requirements`] says beforehand what is missing.
//!
//! Nothing has a name outside of the process, so any number of sandboxes live
//! side by side, and nothing is left behind: neither by a test that fails or
//! panics nor by a process that is killed. The kernel takes namespaces, links,
//! pins, files and processes back with the last open file or the thread that
//! holds them.
//!
//! It needs root, and no program besides the one that is tested: links and
//! addresses are made by netlink, so it works in a virtual machine that has
//! little more than a kernel.
#![deny(unsafe_code)]

mod daemon;
mod error;
mod link;
mod namespace;
pub mod packet;
mod pair;
mod poll;
mod process;
mod raw;
mod requirements;
mod socket;
mod sys;

pub use daemon::{Daemon, Instance, Policy};
pub use error::{Error, Result};
pub use link::{Link, MacAddress, Offload, Tag, Tun, Veth, VethOptions};
pub use namespace::Namespace;
pub use nix::sys::signal::Signal;
pub use pair::{HOST_IPV4, HOST_IPV6, HOST_LINK, PEER_IPV4, PEER_IPV6, PEER_LINK, Sandbox};
pub use process::Output;
pub use raw::RawSocket;
pub use requirements::{Missing, requirements};
pub use socket::{
    Outcome, Server, UdpOutcome, scan, tcp_connect, tcp_listen, udp_ask, udp_echo, udp_send,
};
