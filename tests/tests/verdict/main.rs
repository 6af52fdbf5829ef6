//! The verdict, case by case: each frame is judged by the model and, in the
//! kernel, by the program itself (BPF_PROG_TEST_RUN); both must agree with the
//! table, and the counters must have moved by that frame alone.

mod bans;
mod chains;
mod common;
mod essential;
mod events;
mod flow_log;
mod flows;
mod forms;
mod fragments;
mod icmp;
mod lengths;
mod lists;
mod monitor;
mod own_ports;
mod parallel;
mod prefixes;
mod probe;
mod program;
mod rates;
mod replies;
mod rules;
mod scopes;
mod slots;
mod switch;
