//! The real daemon and command line, with real sockets, in network namespaces.

mod account;
mod attach;
mod attack;
mod ban;
<<<<<<< HEAD
mod confirm;
=======
mod ban_state;
>>>>>>> 80a2566
mod connect;
mod container;
mod control;
mod fragments;
mod input;
mod lock_out;
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
