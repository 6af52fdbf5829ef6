//! The demonstration: every scene in order, with the counters beside it, and the sum at the end.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sandbox::{HOST_LINK, Instance};

use super::counters::{Rules, Status};
use super::display::Display;
use super::scenes::{self, Scene};
use super::world::World;

/// How often the counters on a terminal are read.
const REFRESH: Duration = Duration::from_millis(300);

/// How many steps there were, and how many were not as they should be.
#[derive(Default)]
struct Tally {
    steps: usize,
    failed: usize,
}

/// Runs it. Fails if a step was not as it should be.
pub fn run(binary: &Path) -> Result<()> {
    let missing = sandbox::requirements();
    if !missing.is_empty() {
        let sentences: Vec<_> = missing.iter().map(ToString::to_string).collect();
        bail!("this machine can make no sandbox: {}", sentences.join(" "));
    }
    let started = Instant::now();
    let mut display = Display::new();
    display.line(
        "A host with the filter, and the world in front of it: two network namespaces. Nothing of this machine is touched.",
    );
    let mut world = World::new(binary)?;
    let instance = world.daemon.instance().clone();
    let status = world.status()?;
    let attached = status.interfaces.iter().find(|interface| interface.name == HOST_LINK);
    let mode = attached.and_then(|interface| interface.attach.as_deref());
    let mode = mode.with_context(|| format!("the daemon runs, and does not guard {HOST_LINK}"))?;
    display.line(format!("nodewall guards {HOST_LINK} ({mode}) by xtask/assets/policy.toml."));

    let tally = play(&mut world, &display, &instance);
    display.close();
    let (status, rules) = (Status::read(&instance)?, Rules::read(&instance)?);
    display.line(format!("\n{}\n{}", status.table(), rules.table()));

    let stopped = world.daemon.stop()?;
    if stopped.code != Some(0) {
        bail!("the daemon did not end well when it was told to: {}", stopped.stderr.trim());
    }
    let Tally { steps, failed } = tally;
    display.line(format!(
        "{} of {steps} steps as they should be; {} packets passed, {} dropped, each counted; {:.1} s",
        steps - failed,
        status.judged("pass"),
        status.judged("drop"),
        started.elapsed().as_secs_f64()
    ));
    if failed > 0 {
        bail!(
            "{failed} of {steps} steps went another way than they should: the lines above say how"
        );
    }
    display.line("\nNext:");
    for (command, what) in [
        (
            "cargo xtask run -- --interface IF",
            "judges and counts on an interface of yours, drops nothing",
        ),
        ("cargo xtask test", "every test that this machine can run"),
        (&format!("{} --help", binary.display()), "the daemon and its command line"),
    ] {
        display.line(format!("  {command:<36} {what}"));
    }
    Ok(())
}

/// Every step, and the counters meanwhile.
fn play(world: &mut World, display: &Display, instance: &Instance) -> Tally {
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        if display.is_live() {
            scope.spawn(move || {
                while ended.recv_timeout(REFRESH) == Err(RecvTimeoutError::Timeout) {
                    // What cannot be read now may be in a moment; at the end it must be.
                    if let (Ok(status), Ok(rules)) = (Status::read(instance), Rules::read(instance))
                    {
                        display.counters(format!("\n{}\n{}", status.table(), rules.table()));
                    }
                }
            });
        }
        let mut tally = Tally::default();
        for Scene { title, steps } in scenes::all() {
            display.title(title);
            for (what, step) in steps {
                display.begin(what);
                let began = Instant::now();
                let outcome = step(world).map_err(|error| format!("{error:#}"));
                let seen = outcome.as_ref().map(String::as_str).map_err(String::as_str);
                display.end(what, seen, began.elapsed());
                tally.steps += 1;
                tally.failed += usize::from(seen.is_err());
            }
        }
        drop(end);
        tally
    })
}
