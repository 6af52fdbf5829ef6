//! What is shown, scene by scene. A step does something and checks what came of it, from the side of whoever tried
//! and by the counters of the daemon. What it shows of these is a reason and by how many packets its counter grew.

mod admitted;
mod bans;
mod change;
mod limits;
mod refused;

use anyhow::Result;

use super::world::World;

/// What a step does. It returns what was seen, in a few words, or an error that says what should have been.
pub type Step = (&'static str, fn(&mut World) -> Result<String>);

/// Steps under one title.
pub struct Scene {
    /// The title.
    pub title: &'static str,
    /// In order; a later one may need what an earlier one left.
    pub steps: &'static [Step],
}

/// All of them, in order.
pub fn all() -> [Scene; 5] {
    [admitted::SCENE, refused::SCENE, limits::SCENE, change::SCENE, bans::SCENE]
}
