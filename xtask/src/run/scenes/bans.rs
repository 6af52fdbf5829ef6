//! A ban, its effect and its end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Scene;
use crate::run::world::{NUISANCE, P2P, SILENCE, World, ensure_counted, talk_in_vain};

/// How long the ban is for, as the command takes it.
const FOR: &str = "2s";
/// How long its end may take, on a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(6);

pub const SCENE: Scene = Scene {
    title: "A ban cuts at once, and ends by itself",
    steps: &[
        ("a source is connected to the P2P port", |world| {
            world.held = Some(world.connect(NUISANCE, P2P)?);
            Ok("connected".to_owned())
        }),
        ("ban of it, for two seconds", ban),
        ("the ban ends", end),
    ],
};

fn ban(world: &mut World) -> Result<String> {
    let address = NUISANCE.to_string();
    let ((), counted) = world.counted("banned", |world| {
        world.ctl(&["ban", &address, "--for", FOR, "--reason", "demonstration"], 0)?;
        let held = world.held.take().context("there is no connection to be cut")?;
        talk_in_vain(&held)?;
        world.unanswered(NUISANCE, P2P)
    })?;
    ensure_counted("banned", counted, 2)?;
    let listed = bans(world)?;
    ensure!(
        listed.contains(&address),
        "`nodewall bans` should list {address}, and lists: {}",
        listed.trim()
    );
    Ok(format!("cut, and nothing new; banned {counted}"))
}

fn end(world: &mut World) -> Result<String> {
    let address = NUISANCE.to_string();
    let until = Instant::now() + ENDS_WITHIN;
    while world.unanswered(NUISANCE, P2P).is_ok() {
        if Instant::now() > until {
            bail!("the ban for {FOR} should be over, and {address} still gets no answer");
        }
    }
    world.connect(NUISANCE, P2P)?;
    while bans(world)?.contains(&address) {
        if Instant::now() > until {
            bail!("the ban is over, and `nodewall bans` still lists it");
        }
        thread::sleep(SILENCE);
    }
    Ok("it connects again".to_owned())
}

fn bans(world: &World) -> Result<String> {
    Ok(world.ctl(&["bans", "--json"], 0)?.stdout)
}
