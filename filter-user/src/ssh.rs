//! Who is logged in by SSH: the connections that `sshd` holds. `sudo` and
//! terminal multiplexers hide which of them a command comes from, so all count.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use crate::sockets::Tcp;

/// What the processes are called that hold them, of OpenSSH before and since
/// 9.8, and of Dropbear.
const NAMES: [&str; 4] = ["sshd", "sshd-session", "sshd-auth", "dropbear"];
/// Where OpenSSH listens if its configuration names no port.
const PORT: u16 = 22;
const CONFIG: &str = "/etc/ssh/sshd_config";

/// One who is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// The far end.
    pub peer: IpAddr,
    /// This end.
    pub local: SocketAddr,
}

/// The sessions among the TCP connections of this network namespace. Those that
/// are told by who holds them; where a process may not see that, those at the
/// ports of which `sshd`'s configuration speaks.
#[must_use]
pub fn sessions(connections: &[Tcp]) -> BTreeSet<Session> {
    let established = || connections.iter().filter(|tcp| !tcp.listens && !tcp.half_open);
    if established().next().is_none() {
        return BTreeSet::new();
    }
    let (inodes, all_seen) = held(Path::new("/proc"));
    let ports = if all_seen { HashSet::new() } else { configured_ports(Path::new(CONFIG)) };
    let is_session =
        |tcp: &&Tcp| inodes.contains(&tcp.inode.into()) || ports.contains(&tcp.local.port());
    let session = |tcp: &Tcp| Session {
        peer: tcp.remote.ip().to_canonical(),
        local: SocketAddr::new(tcp.local.ip().to_canonical(), tcp.local.port()),
    };
    let remote =
        |session: &Session| !session.peer.is_loopback() && session.peer != session.local.ip();
    established().filter(is_session).map(session).filter(remote).collect()
}

/// The sockets of `sshd`'s processes, by inode; and whether all could be seen.
pub(crate) fn held(proc: &Path) -> (HashSet<u64>, bool) {
    let (mut inodes, mut all_seen) = (HashSet::new(), true);
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let is_process = entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        if !is_process {
            continue;
        }
        // A process that has ended meanwhile holds nothing.
        let Ok(name) = fs::read_to_string(entry.path().join("comm")) else { continue };
        if !NAMES.contains(&name.trim_end()) {
            continue;
        }
        match sockets(&entry.path()) {
            Ok(sockets) => inodes.extend(sockets),
            Err(error) => all_seen &= error.kind() == std::io::ErrorKind::NotFound,
        }
    }
    // With `hidepid` others' processes are not even listed.
    (inodes, all_seen && proc.join("1").exists())
}

/// The inodes of a process's sockets, by its directory in /proc.
pub(crate) fn sockets(process: &Path) -> std::io::Result<HashSet<u64>> {
    let inode = |file: fs::DirEntry| {
        let target = fs::read_link(file.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse::<u64>().ok()
    };
    Ok(fs::read_dir(process.join("fd"))?.flatten().filter_map(inode).collect())
}

/// The ports that a configuration names, or the usual one.
#[must_use]
pub fn configured_ports(config: &Path) -> HashSet<u16> {
    let mut ports = HashSet::new();
    let mut files = vec![config.to_owned()];
    let included = config.with_file_name("sshd_config.d");
    files.extend(fs::read_dir(included).into_iter().flatten().flatten().map(|file| file.path()));
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_default();
        ports.extend(text.lines().filter_map(port));
    }
    if ports.is_empty() {
        ports.insert(PORT);
    }
    ports
}

/// What a line of sshd_config(5) says of a port.
fn port(line: &str) -> Option<u16> {
    let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|w| !w.is_empty());
    let (key, value) = (words.next()?, words.next()?);
    if key.eq_ignore_ascii_case("Port") {
        return value.parse().ok();
    }
    if !key.eq_ignore_ascii_case("ListenAddress") {
        return None;
    }
    let socket: Option<SocketAddr> = value.parse().ok();
    socket.map(|socket| socket.port()).or_else(|| {
        let (host, port) = value.rsplit_once(':')?;
        // More than one colon, and no brackets: an address without a port.
        if host.contains(':') { None } else { port.parse().ok() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_sshd_reads_them() {
        for (line, expected) in [
            ("Port 2222", Some(2222)),
            ("  port=22022 # more", Some(22022)),
            ("#Port 22", None),
            ("ListenAddress 0.0.0.0:2200", Some(2200)),
            ("ListenAddress [2001:db8::1]:2201", Some(2201)),
            ("ListenAddress host.example:2202", Some(2202)),
            ("ListenAddress 2001:db8::1", None),
            ("ListenAddress 192.0.2.1", None),
            ("PermitRootLogin no", None),
        ] {
            assert_eq!(port(line), expected, "{line}");
        }
    }

    #[test]
    fn without_a_word_of_it_the_port_is_22() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("sshd_config");
        assert_eq!(configured_ports(&config), [22].into());
        fs::write(&config, "PermitRootLogin no\nPort 22\n")?;
        let more = directory.path().join("sshd_config.d");
        fs::create_dir(&more)?;
        fs::write(more.join("10-port.conf"), "Port 2222\n")?;
        assert_eq!(configured_ports(&config), [22, 2222].into());
        Ok(())
    }
}
