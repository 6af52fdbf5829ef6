//! What the kernel tests share.
//!
//! - [`verdict`]: the program, run by the kernel on frames of our own, beside
//!   the model.
//! - [`model`]: cases drawn at random, on the program and on the model.
//! - [`captures`]: captures of every reason.
//! - [`e2e`]: the daemon on a real link, with real sockets on the other side.
//!
//! The tests need root. They use no other program but `nft`, for containers, and no file.
#![forbid(unsafe_code)]

pub mod captures;
pub mod e2e;
pub mod model;
pub mod verdict;
