//! Sources over their limits. The numbers are those of the policy.

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};
use sandbox::{HOST_IPV4, HOST_IPV6, PEER_LINK, RawSocket, scan};

use super::Scene;
use crate::run::world::{
    FLOODER, GREEDY, NETWORK, P2P, P2P_UDP, SILENCE, STRANGER, World, ensure_counted, host_for,
};

/// New connections that a source has at once: `burst`.
const BURST: u64 = 20;
/// How many more a busy machine may take so long for that they are due: `rate` is 5 a second.
const LATE: u64 = 10;

pub const SCENE: Scene = Scene {
    title: "A source over its limit is held to it, and nobody else",
    steps: &[
        ("one source wants 100 connections at once", crowd),
        ("an IPv6 /64 is one source, by 100 addresses too", disguise),
        ("10,000 datagrams of one source", flood),
        ("others connect as before", |world| {
            STRANGER.iter().try_for_each(|from| world.connect(*from, P2P).map(drop))?;
            Ok("connected".to_owned())
        }),
    ],
};

fn crowd(world: &mut World) -> Result<String> {
    const WANTED: usize = 100;
    let (connected, refused) = world.counted("connection_rate", |world| {
        let ports = std::iter::repeat_n(P2P, WANTED);
        let outcomes = scan(&world.sandbox.peer, Some(GREEDY), host_for(GREEDY), ports, SILENCE)?;
        Ok(outcomes.iter().filter(|(_, outcome)| outcome.is_connected()).count())
    })?;
    let connected = connected as u64;
    ensure!(
        (BURST..=BURST + LATE).contains(&connected),
        "{BURST} connections should be made, and {connected} were"
    );
    ensure_counted("connection_rate", refused, WANTED as u64 - connected)?;
    Ok(format!("{connected} connected; connection_rate {refused}"))
}

fn disguise(world: &mut World) -> Result<String> {
    const ADDRESSES: u16 = 100;
    let ((), refused) = world.counted("connection_rate", |world| {
        let socket = RawSocket::open(&world.sandbox.peer, PEER_LINK)?;
        for number in 1..=ADDRESSES {
            let source = Ipv6Addr::from_bits(NETWORK.to_bits() | u128::from(number) << 32);
            let frame = world.sandbox.frame_to_host().ipv6(source, HOST_IPV6);
            socket.send(&frame.tcp(4000, P2P).syn().build())?;
        }
        Ok(())
    })?;
    ensure_counted("connection_rate", refused, u64::from(ADDRESSES) - BURST - LATE)?;
    Ok(format!("of {ADDRESSES} SYNs: connection_rate {refused}"))
}

fn flood(world: &mut World) -> Result<String> {
    const SENT: u64 = 10_000;
    /// `burst`; with `rate` the flood may take a second and a half more than no time.
    const ADMITTED: u64 = 4000;
    let before = world.udp.accepted();
    let ((), refused) = world.counted("packet_rate", |world| {
        let socket = RawSocket::open(&world.sandbox.peer, PEER_LINK)?;
        let frame = world.sandbox.frame_to_host().ipv4(FLOODER, HOST_IPV4);
        let frame = frame.udp(4000, P2P_UDP).payload(*b"flood").build();
        (0..SENT).try_for_each(|_| Ok(socket.send(&frame)?))
    })?;
    ensure_counted("packet_rate", refused, SENT - ADMITTED - 3000)?;
    let heard = world.udp.accepted() - before;
    ensure!(
        heard <= SENT - refused,
        "the filter let {} datagrams pass, and the server got {heard}",
        SENT - refused
    );
    Ok(format!("{} passed; packet_rate {refused}", SENT - refused))
}
