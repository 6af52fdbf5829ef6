//! The real daemon and command line, with real sockets, in network namespaces.

mod account;
mod attach;
mod attack;
mod ban;
mod connect;
mod container;
mod events;
mod flows;
mod fragments;
mod input;
mod monitor;
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
