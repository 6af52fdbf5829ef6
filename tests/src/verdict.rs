//! The real program in a network namespace of its own, beside the model, with
//! every counter watched.
//!
//! A test gives frames to [`Kernel::expect`], each with the [`Expected`]
//! outcome. Three must agree on it: the table that the test is, the model
//! (`filter_user::model`) and the program, which the kernel runs on the frame
//! (BPF_PROG_TEST_RUN) and whose counters must have moved by that frame alone.

mod counts;
mod cut;
mod expected;
mod kernel;
mod mutant;
mod program;
mod sent;
mod sockets;

pub use counts::{Counts, Place};
pub use cut::{cut, cut_honestly};
pub use expected::Expected;
pub use kernel::{FLOWS, Kernel, LOOPBACK, prefix_of, with_kernel, with_object};
pub use mutant::{OBJECT_VARIABLE, mutant_object};
pub use program::{Program, SHORTEST_FRAME};
pub use sent::{Container, flow_key};
pub use sockets::{Connection, reply_flow};
