//! The verdict, judged by cases drawn at random.

mod faults;
