//! By which number the kernel knows this network namespace.
#![expect(unsafe_code, reason = "no crate reads this socket option")]

use std::{io, os::fd::AsRawFd as _};

use nix::{
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

/// The cookie of the network namespace that the calling thread is in
/// (`SO_NETNS_COOKIE`, kernel 5.14; `bpf_get_netns_cookie` tells the same).
pub(super) fn cookie() -> io::Result<u64> {
    let any = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut cookie = 0_u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the descriptor is open, and the kernel writes at most the 8 bytes
    // that `cookie` has.
    let answer = unsafe {
        libc::getsockopt(
            any.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if answer == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
