//! Connections that must work.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use sandbox::{UdpOutcome, udp_ask};

use super::Scene;
use crate::run::world::{
    OPERATOR, P2P, P2P_UDP, RPC, SSH, STRANGER, WALLET, World, ensure_counted, host_for,
};

pub const SCENE: Scene = Scene {
    title: "Who is admitted gets in, by IPv4 and by IPv6",
    steps: &[
        ("an operator connects to SSH", |world| enter(world, OPERATOR, SSH)),
        ("anybody connects to the P2P port", |world| enter(world, STRANGER, P2P)),
        ("anybody asks the P2P port by UDP", ask),
        ("a wallet connects to RPC", |world| enter(world, WALLET, RPC)),
        ("the host connects to the outside, with no rule", leave),
    ],
};

/// A connection by each family, with an answer.
fn enter(world: &mut World, from: [IpAddr; 2], port: u16) -> Result<String> {
    let ((), counted) = world.counted("rule", |world| {
        from.iter().try_for_each(|from| world.connect(*from, port).map(drop))
    })?;
    // At least SYN, ACK and what was said.
    ensure_counted("rule", counted, 6)?;
    Ok(format!("connected; rule {counted}"))
}

fn ask(world: &mut World) -> Result<String> {
    const QUESTION: &[u8] = b"who is there?";
    let ((), counted) = world.counted("rule", |world| {
        for from in STRANGER {
            let to = (host_for(from), P2P_UDP).into();
            let patience = Duration::from_secs(3);
            let outcome = udp_ask(&world.sandbox.peer, Some(from), to, QUESTION, patience)?;
            ensure!(
                outcome == UdpOutcome::Answered(QUESTION.to_vec()),
                "a question to udp/{P2P_UDP} should be answered, and: {outcome:?}"
            );
        }
        Ok(())
    })?;
    ensure_counted("rule", counted, 2)?;
    Ok(format!("answered; rule {counted}"))
}

fn leave(world: &mut World) -> Result<String> {
    let ((), counted) = world.counted("reply", |world| {
        STRANGER.iter().try_for_each(|to| world.connect_out(*to).map(drop))
    })?;
    // At least SYN+ACK and what came back.
    ensure_counted("reply", counted, 4)?;
    Ok(format!("connected; reply {counted}"))
}
