//! Clients and servers with real sockets inside a namespace.

mod client;
mod echo;
mod server;

pub use client::{Outcome, UdpOutcome, scan, tcp_connect, udp_ask, udp_send};
pub use server::{Server, tcp_listen, udp_echo};
