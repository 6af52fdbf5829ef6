//! `detach`.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
};

use super::{args, error::CliError, output::Output};
use crate::{
    control::{Client, ClientError, Command, Detached},
    daemon,
};

pub(super) fn detach(socket: &Path, args: &args::Detach, out: &mut Output) -> Result<(), CliError> {
    if !args.yes {
        confirm()?;
    }
    let (Detached { interfaces }, daemon) = match Client::connect(socket) {
        Ok(mut client) => {
            let detached = client.ask(Command::Detach)?;
            client.wait_for_end();
            (detached, "the daemon has ended")
        }
        Err(ClientError::NotRunning(socket)) => {
            let detached = args.directories.pins().map(daemon::detach).transpose()?.flatten();
            (detached.ok_or(CliError::NothingToDetach(socket))?, "no daemon was running")
        }
        Err(error) => return Err(error.into()),
    };
    if interfaces.is_empty() {
        out.line(format_args!("nothing was guarded; {daemon}"))?;
    } else {
        out.line(format_args!("unguarded from now on: {}; {daemon}", interfaces.join(", ")))?;
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
