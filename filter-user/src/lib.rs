//! The controller of nodewall: reads a policy, compiles it into tables, brings
//! the program into the kernel and keeps it in step with the policy.

#![deny(unsafe_code)]

pub mod capture;
pub mod cli;
pub mod compile;
pub mod control;
pub mod daemon;
pub mod dataplane;
pub mod doctor;
pub mod explain;
#[doc(hidden)]
pub mod fuzzing;
pub mod model;
pub mod packet;
pub mod policy;
pub mod replay;
pub mod sockets;
pub mod ssh;
pub mod state;
pub mod telemetry;
