//! The benchmark's instruments, which the tests of attacks use too.
#![forbid(unsafe_code)]

pub mod flood;
pub mod foreign;
