//! Attempts that must get no answer.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use anyhow::{Result, bail};
use sandbox::{HOST_IPV4, PEER_IPV4, PEER_LINK, RawSocket, scan};

use super::Scene;
use crate::run::world::{P2P, RPC, SILENCE, SSH, STRANGER, WEB, World, ensure_counted, host_for};

pub const SCENE: Scene = Scene {
    title: "Everybody else gets no answer, not even that there is nobody",
    steps: &[
        ("a scan of 1,000 closed ports by IPv4", |world| sweep(world, STRANGER[0], 24..=1023)),
        ("a scan of 250 closed ports by IPv6", |world| sweep(world, STRANGER[1], 24..=273)),
        ("a server that no rule names is closed too", |world| knock(world, WEB, "port_closed")),
        ("a stranger tries SSH", |world| knock(world, SSH, "source_not_allowed")),
        ("a stranger tries RPC", |world| knock(world, RPC, "source_not_allowed")),
        ("1,000 forged ACKs to the open P2P port", forge),
    ],
};

fn sweep(world: &mut World, from: IpAddr, ports: RangeInclusive<u16>) -> Result<String> {
    let tried = u64::from(ports.end() - ports.start()) + 1;
    let ((), counted) = world.counted("port_closed", |world| {
        let outcomes = scan(&world.sandbox.peer, Some(from), host_for(from), ports, SILENCE)?;
        match outcomes.into_iter().find(|(_, outcome)| !outcome.is_timed_out()) {
            Some((port, outcome)) => bail!("tcp/{port} should give no answer, and: {outcome:?}"),
            None => Ok(()),
        }
    })?;
    ensure_counted("port_closed", counted, tried)?;
    Ok(format!("no answer; port_closed {counted}"))
}

/// An attempt by each family.
fn knock(world: &mut World, port: u16, reason: &str) -> Result<String> {
    let ((), counted) = world.counted(reason, |world| {
        STRANGER.iter().try_for_each(|from| world.unanswered(*from, port))
    })?;
    ensure_counted(reason, counted, 2)?;
    Ok(format!("no answer; {reason} {counted}"))
}

/// Segments of connections that do not exist.
fn forge(world: &mut World) -> Result<String> {
    const FORGED: u16 = 1000;
    let ((), counted) = world.counted("out_of_state", |world| {
        let socket = RawSocket::open(&world.sandbox.peer, PEER_LINK)?;
        for port in 0..FORGED {
            let frame = world.sandbox.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4);
            socket.send(&frame.tcp(20_000 + port, P2P).ack().build())?;
        }
        Ok(())
    })?;
    ensure_counted("out_of_state", counted, FORGED.into())?;
    Ok(format!("out_of_state {counted}"))
}
