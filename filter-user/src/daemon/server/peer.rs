//! Who is at the other end of a connection, and what it may.
#![expect(unsafe_code, reason = "no crate in use reads the groups of a socket's peer")]

use std::{io, os::fd::AsRawFd as _};

use nix::{
    libc,
    unistd::{Group, geteuid},
};
use tokio::net::UnixStream;

use crate::control::{Failure, FailureCode};

/// The group whose members may read.
const READERS: &str = "nodewall";
/// The group whose members may do anything.
const ADMINS: &str = "nodewall-admin";
/// As many groups as a process can have.
const MOST_GROUPS: usize = 65_536;

/// The user and the groups that a connection was made with.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) user: u32,
    groups: Vec<u32>,
}

/// What a peer may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Nothing,
    /// Ask what changes nothing.
    Read,
    Change,
}

impl Peer {
    /// As the kernel wrote it down when the peer connected: what became of its
    /// process since plays no part.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let mut groups = supplementary_groups(stream)?;
        groups.push(credentials.gid());
        Ok(Self { user: credentials.uid(), groups })
    }

    /// Root, or the user that the daemon runs as.
    pub(super) fn is_root(&self) -> bool {
        self.user == 0 || self.user == geteuid().as_raw()
    }

    /// Looks the groups up by their names, which may take as long as the
    /// directory service does that this host asks.
    pub(super) fn access(&self) -> Access {
        let group =
            |name: &str| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
        self.access_by(group)
    }

    fn access_by(&self, group: impl Fn(&str) -> Option<u32>) -> Access {
        let is_in = |name| group(name).is_some_and(|group| self.groups.contains(&group));
        if self.is_root() || is_in(ADMINS) {
            Access::Change
        } else if is_in(READERS) {
            Access::Read
        } else {
            Access::Nothing
        }
    }

    /// Why it may not do something, and what would let it.
    pub(super) fn refusal(&self, access: Access) -> Failure {
        let user = self.user;
        let text = match access {
            Access::Nothing => format!(
                "user {user} has no permission to ask anything of nodewall: use sudo, or add the user to the group `{READERS}`, which may read, or `{ADMINS}`, which may change anything (`usermod -aG {READERS} NAME`, then log in again)"
            ),
            _ => format!(
                "user {user} may read, and has no permission to change anything: use sudo, or add the user to the group `{ADMINS}` (`usermod -aG {ADMINS} NAME`, then log in again)"
            ),
        };
        Failure::new(FailureCode::Refused, text)
    }
}

/// `SO_PEERGROUPS`, Linux 4.13.
fn supplementary_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 32];
    loop {
        let size = size_of::<libc::gid_t>();
        let mut length = libc::socklen_t::try_from(groups.len() * size).unwrap_or(0);
        // SAFETY: the descriptor is open, and the kernel writes at most `length`
        // bytes, which is what `groups` has.
        let answer = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        // Where there are more, it says how many.
        let needed = length as usize / size;
        let is_short = needed > groups.len() && needed <= MOST_GROUPS;
        match (answer, io::Error::last_os_error()) {
            (0, _) => {
                groups.truncate(needed);
                return Ok(groups);
            }
            (_, error) if error.raw_os_error() == Some(libc::ERANGE) && is_short => {
                groups.resize(needed, 0);
            }
            (_, error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_admins_may_change_and_readers_read() {
        let named = |name: &str| match name {
            READERS => Some(900),
            ADMINS => Some(901),
            _ => None,
        };
        let own = geteuid().as_raw();
        let other = 4_000_000_000;
        for (user, groups, expected) in [
            (0, vec![0], Access::Change),
            (own, vec![], Access::Change),
            (other, vec![100], Access::Nothing),
            (other, vec![100, 900], Access::Read),
            (other, vec![901, 100], Access::Change),
            (other, vec![900, 901], Access::Change),
        ] {
            let peer = Peer { user, groups };
            assert_eq!(peer.access_by(named), expected, "{peer:?}");
        }
        // Without the groups nobody else may.
        let peer = Peer { user: other, groups: vec![900, 901, 0] };
        assert_eq!(peer.access_by(|_| None), Access::Nothing);
    }

    #[tokio::test]
    async fn the_kernel_tells_the_groups_of_a_peer() -> io::Result<()> {
        let (one, _other) = UnixStream::pair()?;
        let mut told = Peer::of(&one)?.groups;
        let mut own: Vec<u32> = nix::unistd::getgroups()?.iter().map(|gid| gid.as_raw()).collect();
        own.push(nix::unistd::getegid().as_raw());
        told.sort_unstable();
        own.sort_unstable();
        assert_eq!(told, own);
        Ok(())
    }
}
