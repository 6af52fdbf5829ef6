//! `completions` and `man`, made from the definition of the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{args::Args, error::CliError, output::Output};

pub(super) fn completions(shell: Shell, out: &mut Output) -> Result<(), CliError> {
    // Into memory first: the generator does not survive a closed pipe.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "nodewall", &mut text);
    Ok(std::io::Write::write_all(out, &text)?)
}

/// The page of the whole, then one section for each command.
pub(super) fn man(out: &mut Output) -> Result<(), CliError> {
    let mut command = Args::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(out)?;
    for subcommand in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let page = clap_mangen::Man::new(subcommand.clone());
        page.render_name_section(out)?;
        page.render_synopsis_section(out)?;
        page.render_options_section(out)?;
        page.render_extra_section(out)?;
    }
    Ok(())
}
