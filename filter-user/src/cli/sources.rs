//! `sources`.

use std::{
    io::{self, Write},
    path::Path,
};

use super::{
    args,
    error::CliError,
    output::{Output, or_dash},
};
use crate::control::{Client, Command, Sources};

pub(super) fn sources(
    socket: &Path,
    args: &args::Sources,
    out: &mut Output,
) -> Result<(), CliError> {
    let sources: Sources =
        Client::connect(socket)?.ask(Command::Sources { top: Some(args.top) })?;
    if out.json {
        return Ok(out.json(&sources)?);
    }
    Ok(show(&sources, out)?)
}

fn show<W: Write>(sources: &Sources, out: &mut Output<W>) -> io::Result<()> {
    let rows: Vec<_> = sources
        .sources
        .iter()
        .map(|row| {
            let numbers = [row.connections, row.refused].map(|number| number.to_string());
            let [connections, refused] = numbers;
            let nearest = row.limits.iter().max_by_key(|limit| limit.used);
            let nearest = nearest.map(|limit| format!("{} {} %", limit.limit, limit.used));
            [
                row.source.to_string(),
                row.rule.clone(),
                or_dash(nearest.as_deref()),
                connections,
                refused,
            ]
        })
        .collect();
    out.table(["SOURCE", "RULE", "NEAREST LIMIT", "CONNECTIONS", "REFUSED"], 2, &rows)
}
