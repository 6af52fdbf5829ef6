//! `guard`: an interface has appeared, and must not be configured before the
//! daemon has seen it.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{args, error::CliError, output::Output};
use crate::control::{Client, ClientError, Command, InterfaceEntry, Looked};

/// For a daemon that is being restarted: the service manager takes two seconds,
/// the start another few on a slow host.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

pub(super) fn guard(socket: &Path, args: &args::Guard, out: &mut Output) -> Result<(), CliError> {
    let name = &args.interface;
    let interface = name.clone();
    let Looked { interface } = connect(socket)?.ask(Command::Guard { interface })?;
    match interface {
        None => out.line(format_args!("interface {name} is not one that is to be guarded"))?,
        Some(InterfaceEntry { attach: Some(mode), .. }) => {
            out.line(format_args!("interface {name} is guarded ({mode})"))?;
        }
        Some(InterfaceEntry { why, .. }) => {
            let why = why.unwrap_or_default();
            return Err(CliError::NotGuarded { name: name.clone(), why });
        }
    }
    Ok(())
}

fn connect(socket: &Path) -> Result<Client, ClientError> {
    let begun = Instant::now();
    loop {
        match Client::connect(socket) {
            Err(ClientError::NotRunning(_)) if begun.elapsed() < PATIENCE => {
                thread::sleep(BETWEEN_TRIES);
            }
            connected => return connected,
        }
    }
}
