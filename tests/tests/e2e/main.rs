//! The real daemon and command line, with real sockets, in network namespaces.

mod account;
mod attach;
mod ban;
mod connect;
mod input;
mod monitor;
mod rate;
mod reload;
mod reply;
mod scale;
mod sets;
mod start;
mod switch;
mod syncookies;
