//! The policy changes while connections are open.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::Scene;
use crate::run::POLICY;
use crate::run::world::{OPERATOR, P2P, SSH, STRANGER, WEB, World, talk};

/// Added to the policy.
const WEB_RULE: &str = "\n[[rule]]\nname = \"web\"\nports = [\"tcp/80\"]\n";
/// With an error that a person makes.
const BROKEN: &str = "\n[[rule]]\nname = \"web\"\nports = [\"tcp/70000\"]\n";
/// Nothing but SSH.
const ONLY_SSH: &str = "[[rule]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n\
    from = [\"203.0.113.7\", \"2001:db8:1::/48\"]\n";

pub const SCENE: Scene = Scene {
    title: "The policy changes, and what is open stays open",
    steps: &[
        ("a peer connects to the P2P port and stays", stay),
        ("a policy with an error changes nothing", refuse),
        ("apply: a rule for tcp/80", open),
        ("apply: SSH and nothing else", close),
        ("reload: the file of the start again", reload),
    ],
};

fn stay(world: &mut World) -> Result<String> {
    world.held = Some(world.connect(STRANGER[0], P2P)?);
    Ok("connected".to_owned())
}

/// Traffic goes on over the connection of the first step.
fn goes_on(world: &World) -> Result<()> {
    let held = world.held.as_ref().context("there is no connection that was open before")?;
    talk(held).context("the connection that was open before does not go on")
}

fn refuse(world: &mut World) -> Result<String> {
    let before = world.status()?.generation;
    let file = write(world, "broken.toml", &format!("{POLICY}{BROKEN}"))?;
    let said = world.ctl(&["apply", &file], 2)?.stderr;
    let after = world.status()?.generation;
    ensure!(before == after, "the policy is not valid, and generation {after} followed {before}");
    world.unanswered(STRANGER[0], WEB)?;
    goes_on(world)?;
    let place = place(&said).context("the error message does not say where the error is")?;
    Ok(format!("refused at {place}"))
}

/// File, line and column in an error message.
fn place(said: &str) -> Option<&str> {
    let rest = &said[said.find("broken.toml")?..];
    let (end, _) = rest.match_indices(':').nth(2)?;
    Some(&rest[..end])
}

fn open(world: &mut World) -> Result<String> {
    let took = apply(world, "web.toml", &format!("{POLICY}{WEB_RULE}"))?;
    STRANGER.iter().try_for_each(|from| world.connect(*from, WEB).map(drop))?;
    goes_on(world)?;
    Ok(format!("{took}; tcp/80 is open, the peer goes on"))
}

fn close(world: &mut World) -> Result<String> {
    let took = apply(world, "only-ssh.toml", ONLY_SSH)?;
    for port in [P2P, WEB] {
        world.unanswered(STRANGER[0], port)?;
    }
    world.connect(OPERATOR[0], SSH)?;
    goes_on(world)?;
    Ok(format!("{took}; P2P closed, the peer goes on"))
}

fn reload(world: &mut World) -> Result<String> {
    world.ctl(&["reload"], 0)?;
    world.connect(STRANGER[0], P2P)?;
    world.unanswered(STRANGER[0], WEB)?;
    goes_on(world)?;
    world.held = None;
    Ok("P2P open again, tcp/80 closed".to_owned())
}

/// Applies a policy; it must be one step. Returns how long the command took.
fn apply(world: &World, name: &str, policy: &str) -> Result<String> {
    let file = write(world, name, policy)?;
    let before = world.status()?.generation;
    let began = Instant::now();
    world.ctl(&["apply", &file], 0)?;
    let took = began.elapsed();
    let after = world.status()?.generation;
    if after != before + 1 {
        bail!("the switch should be one step, and generation {after} followed {before}");
    }
    Ok(format!("{} ms", took.as_millis()))
}

fn write(world: &World, name: &str, policy: &str) -> Result<String> {
    let path = world.daemon.instance().write(name, policy)?;
    Ok(path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_ends_with_the_column() {
        let said = "error: /tmp/x/broken.toml:46:10: too large\n  hint: none\n";
        assert_eq!(place(said), Some("broken.toml:46:10"));
        assert_eq!(place("error: no"), None);
    }
}
