//! The host build of the verdict beside the kernel's: cases are drawn, played
//! on both, and compared packet by packet and by what is left after them.
//!
//! A *case* is a few policies and what then happens, step by step: packets in
//! and out, time, bans, switches of policy, sockets. It is drawn of few
//! addresses, ports and times, so that its packets meet in the tables. One on
//! which two filters differ is made smaller, step by step and choice by choice,
//! and written down as a file that people read ([`Case`]'s `Display`); such
//! files lie in `tests/regressions/` and are played before anything is drawn.
//!
//! `proptest` draws and shrinks: its values are trees of choices, each of which
//! can be taken back by itself, which makes the long sequences short that a
//! stateful filter needs. Its macros and its own files are not used: a case must
//! be played on a kernel program that is loaded once for many, and be readable.
//!
//! What differs by design is not drawn: tables are never filled, so that nothing
//! has to give way; the hashes of both sides begin with the same seed, so that
//! fragments have the same places.

mod case;
mod draw;
mod faulty;
mod filter;
mod host;
mod kernel;
mod left;
mod search;
mod text;

pub use case::{Case, Held, Interface, Prepared, Record, Step, meaning};
pub use draw::cases;
pub use faulty::{Fault, Faulty};
pub use filter::{Difference, Filter, Played, compare, play, play_with, told};
pub use host::Host;
pub use kernel::Kernel;
pub use left::Left;
pub use search::{Found, Histogram, Search};
