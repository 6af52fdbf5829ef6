//! The real daemon and command line, with real sockets, in network namespaces.

mod account;
mod attach;
mod attack;
mod ban;
mod ban_state;
mod confirm;
mod connect;
mod container;
mod doctor;
mod fragments;
mod input;
mod lock_out;
mod metrics;
mod monitor;
mod outlive;
mod rate;
mod reload;
mod reply;
mod scale;
mod sent;
mod sets;
mod slots;
mod start;
mod switch;
mod syncookies;
