//! `detach`.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
};

use super::{args, error::CliError, output::Output};
use crate::control::{Client, ClientError, Command, Detached};

pub(super) fn detach(socket: &Path, args: &args::Detach, out: &mut Output) -> Result<(), CliError> {
    if !args.yes {
        confirm()?;
    }
    let mut client = Client::connect(socket).map_err(|error| match error {
        ClientError::NotRunning(socket) => CliError::NothingToDetach(socket),
        other => other.into(),
    })?;
    let Detached { interfaces } = client.ask(Command::Detach)?;
    client.wait_for_end();
    if interfaces.is_empty() {
        out.line("nothing was guarded; the daemon has ended")?;
    } else {
        out.line(format_args!(
            "unguarded from now on: {}; the daemon has ended",
            interfaces.join(", ")
        ))?;
    }
    Ok(())
}

fn confirm() -> Result<(), CliError> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::NobodyToAsk);
    }
    write!(io::stderr(), "Take the filter off every interface, and end the daemon? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::NotConfirmed),
    }
}
