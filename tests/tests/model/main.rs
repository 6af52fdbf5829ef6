//! The verdict, judged by cases drawn at random.

mod common;
mod faults;
mod invariants;
