//! The few system calls that no safe wrapper offers. Everything `unsafe` of
//! this crate is in this file.
#![expect(unsafe_code, reason = "prctl between fork and exec, packet socket addresses, two ioctls")]

use std::{
    io, mem,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::process::CommandExt,
    },
    process::Command,
    ptr,
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::Signal,
        socket::{LinkAddr, SockaddrLike},
    },
    unistd::{Pid, getpid, getppid},
};

/// Has the kernel kill the process that `command` starts as soon as the thread
/// that starts it is gone, be it by SIGKILL (`PR_SET_PDEATHSIG`).
pub(crate) fn die_with_parent(command: &mut Command) {
    let parent: Pid = getpid();
    // SAFETY: the closure runs between fork and exec. It makes two system
    // calls and builds errors from plain numbers: no allocation, no lock.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the line above.
            if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
}

/// The address of every frame of one link, to bind a packet socket to.
pub(crate) fn link_address(index: u32) -> io::Result<LinkAddr> {
    let too_large = |_| io::Error::from(Errno::EOVERFLOW);
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(too_large)?,
        sll_protocol: u16::try_from(libc::ETH_P_ALL).map_err(too_large)?.to_be(),
        sll_ifindex: i32::try_from(index).map_err(too_large)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(too_large)?;
    // SAFETY: the pointer is to a whole sockaddr_ll of that length whose family
    // is AF_PACKET; from_raw copies it before `address` ends.
    let address = unsafe { LinkAddr::from_raw(ptr::from_ref(&address).cast(), Some(length)) };
    address.ok_or_else(|| Errno::EAFNOSUPPORT.into())
}

/// Asks a packet socket for the VLAN tag that the kernel takes off each frame.
pub(crate) fn enable_auxdata(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: value and length describe one live c_int; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_AUXDATA,
            ptr::from_ref(&on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

/// An interface request that names `link` and is otherwise zero.
fn request_for(link: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain C data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // The last byte stays zero: the kernel wants a terminated name.
    if link.len() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// Makes `tun` (an open `/dev/net/tun`) the other side of a new TUN link that
/// carries bare IP packets.
pub(crate) fn create_tun(tun: BorrowedFd<'_>, link: &str) -> io::Result<()> {
    const FLAGS: libc::c_int = libc::IFF_TUN | libc::IFF_NO_PI;
    let mut request = request_for(link)?;
    request.ifr_ifru.ifru_flags = FLAGS as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives through the call.
    let result =
        unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, ptr::from_mut(&mut request)) };
    Errno::result(result)?;
    Ok(())
}

/// Sets an on/off feature of a link by an `ETHTOOL_S…` command (linux/ethtool.h).
/// `socket` is any socket of the link's network namespace.
pub(crate) fn ethtool_set(
    socket: BorrowedFd<'_>,
    link: &str,
    command: u32,
    on: bool,
) -> io::Result<()> {
    /// `struct ethtool_value`
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    let mut value = Value { command, data: on.into() };
    let mut request = request_for(link)?;
    request.ifr_ifru.ifru_data = ptr::from_mut(&mut value).cast();
    // SAFETY: SIOCETHTOOL reads the ifreq and, for a set command, the
    // ethtool_value that it points to; both live through the call.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, ptr::from_mut(&mut request)) };
    Errno::result(result)?;
    Ok(())
}
