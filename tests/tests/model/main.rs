//! The verdict, judged by cases drawn at random.

mod agree;
mod captures;
mod common;
mod faults;
mod invariants;
