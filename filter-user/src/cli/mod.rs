//! The command line: says to the daemon what is wanted, and prints what it
//! answers. It touches no table of the kernel.

mod args;
mod ban_list;
mod bans;
mod detach;
mod doctor;
mod error;
mod explain;
mod flows;
mod guard;
mod log;
mod output;
mod policy;
mod private;
mod replay;
mod rules;
mod shell;
mod sources;
mod status;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use clap::Parser as _;

use self::{
    args::{Args, Command},
    error::{CliError, Exit},
    output::Output,
};
use crate::daemon;

/// Parses the command line, does what it says, and tells the exit code.
/// `began` is when the process did.
#[must_use]
pub fn main(began: Instant) -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // To help that was asked for, a closed pipe is no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = args.command.is_json();
    let exit = match dispatch(args, began) {
        Ok(()) => Exit::Done,
        Err(error) => {
            error.print(json);
            error.exit()
        }
    };
    ExitCode::from(exit as u8)
}

fn dispatch(args: Args, began: Instant) -> Result<(), CliError> {
    let Args { socket, command } = args;
    let mut out = Output::new(io::stdout().lock(), command.is_json());
    match command {
        Command::Run(args) => {
            daemon::init_log();
            daemon::run(args.into_options(socket, began))?;
        }
        Command::Check(args) => policy::check(&args, &mut out)?,
        Command::Apply(args) => policy::apply(&socket, &args, &mut out)?,
        Command::Confirm(_) => policy::confirm(&socket, &mut out)?,
        Command::Rollback(args) => policy::rollback(&socket, &args, &mut out)?,
        Command::Reload(args) => policy::reload(&socket, &args, &mut out)?,
        Command::Diff(args) => policy::diff(&socket, &args, &mut out)?,
        Command::Status(args) => status::status(&socket, &args, &mut out)?,
        Command::Rules(_) => rules::rules(&socket, &mut out)?,
        Command::Sources(args) => sources::sources(&socket, &args, &mut out)?,
        Command::Flows(args) => flows::flows(&socket, &args, &mut out)?,
        Command::Log(args) => log::log(&socket, &args, &mut out)?,
        Command::Ban(args) => bans::ban(&socket, &args, &mut out)?,
        Command::Unban(args) => bans::unban(&socket, &args, &mut out)?,
        Command::Bans(args) => bans::bans(&socket, &args, &mut out)?,
        Command::Explain(args) => explain::explain(&socket, &args, &mut out)?,
        Command::Replay(args) => replay::replay(&socket, &args, &mut out)?,
        Command::Doctor(args) => doctor::doctor(&args, &mut out)?,
        Command::Detach(args) => detach::detach(&socket, &args, &mut out)?,
        Command::Guard(args) => guard::guard(&socket, &args, &mut out)?,
        Command::Completions { shell } => shell::completions(shell, &mut out)?,
        Command::Man => shell::man(&mut out)?,
    }
    out.flush()?;
    Ok(())
}
