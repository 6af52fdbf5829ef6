//! The sandbox of the demonstration: who is in it, and how they try to reach the host.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sandbox::{
    Daemon, HOST_IPV4, HOST_IPV6, HOST_LINK, Instance, Outcome, PEER_IPV4, PEER_IPV6, Policy,
    Sandbox, Server, tcp_connect, tcp_listen, udp_echo,
};

use super::POLICY;
use super::counters::Status;

/// SSH, for operators.
pub const SSH: u16 = 22;
/// The node's peers, by TCP.
pub const P2P: u16 = 15600;
/// The node's peers, by UDP.
pub const P2P_UDP: u16 = 14626;
/// The node's interface, for wallets.
pub const RPC: u16 = 14265;
/// A server that no rule names.
pub const WEB: u16 = 80;
/// A server of the outside world.
const OUTSIDE: u16 = 443;

/// One of the operators.
pub const OPERATOR: [IpAddr; 2] =
    [v4(203, 0, 113, 7), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7))];
/// One of the wallets.
pub const WALLET: [IpAddr; 2] =
    [v4(192, 0, 2, 10), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 10))];
/// Somebody that no rule names.
pub const STRANGER: [IpAddr; 2] = [IpAddr::V4(PEER_IPV4), IpAddr::V6(PEER_IPV6)];
/// Somebody who wants too many connections.
pub const GREEDY: IpAddr = v4(203, 0, 113, 99);
/// Somebody who sends too many packets.
pub const FLOODER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 100);
/// Somebody who has a whole network of 64 bits.
pub const NETWORK: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x66, 0, 0, 0, 0, 0);
/// Somebody who is banned for a while.
pub const NUISANCE: IpAddr = v4(203, 0, 113, 50);

/// The host.
pub const HOST: [IpAddr; 2] = [IpAddr::V4(HOST_IPV4), IpAddr::V6(HOST_IPV6)];

/// Long enough for an answer on a busy machine.
const ANSWER: Duration = Duration::from_secs(3);
/// Long enough to believe that there is none, and too short for a second SYN, which comes after a second.
pub const SILENCE: Duration = Duration::from_millis(300);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// The host with its daemon and servers, and the rest of the world.
pub struct World {
    /// Both namespaces.
    pub sandbox: Sandbox,
    /// The daemon.
    pub daemon: Daemon,
    /// The host's server for peers by UDP and IPv4.
    pub udp: Server,
    /// What a step leaves for the next one.
    pub held: Option<TcpStream>,
    _servers: Vec<Server>,
}

impl World {
    /// Makes all of it. The daemon is running then.
    pub fn new(binary: &Path) -> Result<Self> {
        let sandbox = Sandbox::pair()?;
        // The other sources are in the operator's network.
        for address in [OPERATOR, WALLET].concat().into_iter().chain([NETWORK.into()]) {
            sandbox.add_sources(whole_network(address))?;
        }
        let mut servers = Vec::new();
        for address in HOST {
            for port in [SSH, P2P, RPC, WEB] {
                servers.push(tcp_listen(&sandbox.host, (address, port).into())?);
            }
        }
        for address in STRANGER {
            servers.push(tcp_listen(&sandbox.peer, (address, OUTSIDE).into())?);
        }
        servers.push(udp_echo(&sandbox.host, (HOST_IPV6, P2P_UDP).into())?);
        let udp = udp_echo(&sandbox.host, (HOST_IPV4, P2P_UDP).into())?;
        let instance = Instance::new(&sandbox.host, binary)?;
        let daemon = instance.start(Policy::Text(POLICY), &["--interface", HOST_LINK])?;
        Ok(Self { sandbox, daemon, udp, held: None, _servers: servers })
    }

    /// What the daemon counts now.
    pub fn status(&self) -> Result<Status> {
        Status::read(self.daemon.instance())
    }

    /// Connects to a port of the host from `from`, and talks over the connection.
    pub fn connect(&self, from: IpAddr, port: u16) -> Result<TcpStream> {
        let host = host_for(from);
        match tcp_connect(&self.sandbox.peer, Some(from), (host, port).into(), ANSWER)? {
            Outcome::Connected(stream) => talk(&stream).map(|()| stream),
            outcome => {
                bail!("{from} should reach tcp/{port}, and the connection {}", in_words(&outcome))
            }
        }
    }

    /// Connects from the host to a server outside.
    pub fn connect_out(&self, to: IpAddr) -> Result<TcpStream> {
        let to = SocketAddr::new(to, OUTSIDE);
        match tcp_connect(&self.sandbox.host, None, to, ANSWER)? {
            Outcome::Connected(stream) => talk(&stream).map(|()| stream),
            outcome => {
                bail!("the host should reach {to}, and the connection {}", in_words(&outcome))
            }
        }
    }

    /// Tries to connect where no answer must come.
    pub fn unanswered(&self, from: IpAddr, port: u16) -> Result<()> {
        let to = SocketAddr::new(host_for(from), port);
        let outcome = tcp_connect(&self.sandbox.peer, Some(from), to, SILENCE)?;
        ensure!(
            outcome.is_timed_out(),
            "{from} should get no answer from tcp/{port}, and the connection {}",
            in_words(&outcome)
        );
        Ok(())
    }

    /// Does something, and counts the packets that the filter judged with `reason` meanwhile.
    pub fn counted<T>(
        &mut self,
        reason: &str,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<(T, u64)> {
        let before = self.status()?.packets(reason);
        let done = work(self)?;
        let after = self.status()?.packets(reason);
        Ok((done, after.saturating_sub(before)))
    }

    /// Runs a command of `nodewall`, which must end with this code; returns what it said.
    pub fn ctl(&self, arguments: &[&str], code: i32) -> Result<sandbox::Output> {
        let output = self.daemon.ctl(arguments)?;
        ensure!(
            output.code == Some(code),
            "`nodewall {}` should end with code {code}, and ended with {}: {}",
            arguments.join(" "),
            output.code.map_or("a signal".to_owned(), |code| code.to_string()),
            output.stderr.trim()
        );
        Ok(output)
    }
}

/// The counter of a reason must have grown by so many packets.
pub fn ensure_counted(reason: &str, counted: u64, at_least: u64) -> Result<()> {
    ensure!(
        counted >= at_least,
        "the counter of `{reason}` should have grown by {at_least} packets, and grew by {counted}"
    );
    Ok(())
}

/// Sends something through a connection; it must come back.
pub fn talk(mut stream: &TcpStream) -> Result<()> {
    const SAID: [u8; 1000] = [0x5a; 1000];
    let mut heard = [0; SAID.len()];
    stream.set_read_timeout(Some(ANSWER))?;
    stream
        .write_all(&SAID)
        .and_then(|()| stream.read_exact(&mut heard))
        .context("the connection is open, and what was sent through it did not come back")?;
    ensure!(heard == SAID, "something else came back than was sent");
    Ok(())
}

/// Sends something through a connection; nothing must come back.
pub fn talk_in_vain(mut stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.write_all(b"?").context("cannot write to a connection that is open")?;
    let outcome = stream.read(&mut [0; 1]);
    ensure!(outcome.is_err(), "the connection should be cut, and an answer came through it");
    Ok(())
}

/// The host's address of the same family.
pub fn host_for(from: IpAddr) -> IpAddr {
    if from.is_ipv4() { HOST_IPV4.into() } else { HOST_IPV6.into() }
}

fn in_words(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Connected(_) => "was made",
        Outcome::Refused => "was refused",
        Outcome::TimedOut => "got no answer",
        Outcome::Unreachable => "had no way there",
    }
}

fn whole_network(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(address) => Ipv4Net::new_assert(address, 24).trunc().into(),
        IpAddr::V6(address) => Ipv6Net::new_assert(address, 64).trunc().into(),
    }
}
