//! `ban`, `unban` and `bans`.

use std::{
    io::{self, Read as _, Write as _},
    path::Path,
};

use ipnet::IpNet;

use super::{
    args,
    ban_list::{BanList, parse_list},
    error::CliError,
    output::{Output, or_dash, warn},
};
use crate::{
    control::{
        BanPage, Banned, Client, ClientError, Command, Failure, Note, Problem, Unbanned, VERSION,
    },
    policy::{ReadError, read_file},
};

/// Prefixes in one request.
const BATCH: usize = 10_000;
/// The longest list on standard input, in bytes, as of a file.
const LONGEST: u64 = 64 << 20;

pub(super) fn ban(socket: &Path, args: &args::Ban, out: &mut Output) -> Result<(), CliError> {
    let (prefixes, mut warnings, file) = match (&args.prefix, &args.from) {
        (Some(network), _) => {
            (vec![(network.prefix, 0)], network.note().into_iter().collect(), None)
        }
        (None, Some(path)) => {
            let name = if path == Path::new("-") {
                "standard input".to_owned()
            } else {
                path.display().to_string()
            };
            let bytes =
                read(path).map_err(|reason| CliError::Read { file: name.clone(), reason })?;
            let BanList { prefixes, warnings } =
                parse_list(&bytes, &name).map_err(CliError::Invalid)?;
            (prefixes, warnings, Some(name))
        }
        // The definition of the command line asks for one of them.
        (None, None) => (Vec::new(), Vec::new(), None),
    };
    let mut client = Client::connect(socket)?;
    let mut send = |only_check| send(&mut client, args, &prefixes, file.as_deref(), only_check);
    // All of them or none, as far as can be told beforehand.
    if prefixes.len() > BATCH {
        send(true)?;
    }
    let banned = send(false)?;
    warnings.extend(banned.warnings);
    let banned = Banned { warnings, ..banned };
    if out.json {
        return Ok(out.json(&banned)?);
    }
    warn(&banned.warnings);
    let what = match prefixes.as_slice() {
        [(prefix, _)] => shown(prefix),
        _ => format!("{} addresses and prefixes", banned.banned),
    };
    match &banned.until {
        Some(until) => out.line(format_args!("banned {what} until {until}"))?,
        None => out.line(format_args!("banned {what}"))?,
    }
    Ok(())
}

/// Sends a list in batches.
fn send(
    client: &mut Client,
    args: &args::Ban,
    prefixes: &[(IpNet, u32)],
    file: Option<&str>,
    only_check: bool,
) -> Result<Banned, CliError> {
    let mut sum = Banned { banned: 0, until: None, warnings: Vec::new() };
    for batch in prefixes.chunks(BATCH) {
        let command = Command::Ban {
            prefixes: batch.iter().map(|(prefix, _)| *prefix).collect(),
            for_ms: args
                .duration
                .map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
            reason: args.reason.clone(),
            force: args.force,
            only_check,
        };
        let Banned { banned, until, warnings } =
            client.ask(command).map_err(|error| match error {
                ClientError::Failure(failure) => {
                    ClientError::Failure(locate(failure, batch, file, sum.banned))
                }
                other => other,
            })?;
        sum.banned += banned;
        sum.until = until;
        sum.warnings.extend(warnings);
    }
    Ok(sum)
}

/// Says of a failure which line of the list it is about, and what was banned before it.
fn locate(failure: Failure, batch: &[(IpNet, u32)], file: Option<&str>, banned: u64) -> Failure {
    let locate = |mut problem: Problem| {
        let index = problem.field.take();
        let index =
            index.as_deref().and_then(|field| field.strip_prefix("prefixes[")?.strip_suffix(']'));
        let place = index.and_then(|index| batch.get(index.parse::<usize>().ok()?));
        if let (Some(file), Some((_, line))) = (file, place) {
            problem.file = Some(file.to_owned());
            problem.line = Some(*line);
        }
        problem
    };
    let mut errors: Vec<Problem> = failure.errors.into_iter().map(locate).collect();
    if banned > 0 {
        errors.push(Problem::new(format!(
            "the first {banned} of the list are banned, the others are not"
        )));
    }
    Failure { code: failure.code, errors }
}

fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    if path != Path::new("-") {
        return read_file(path);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST { Err(ReadError::TooLarge) } else { Ok(bytes) }
}

pub(super) fn unban(socket: &Path, args: &args::Unban, out: &mut Output) -> Result<(), CliError> {
    warn(&args.prefix.note().into_iter().collect::<Vec<Note>>());
    let unbanned: Unbanned =
        Client::connect(socket)?.ask(Command::Unban { prefix: args.prefix.prefix })?;
    if out.json {
        return Ok(out.json(&unbanned)?);
    }
    warn(&unbanned.warnings);
    Ok(out.line(format_args!("took back the ban of {}", shown(&unbanned.prefix)))?)
}

/// Lists page by page: a million bans fit neither into one answer nor should
/// they have to fit into memory.
pub(super) fn bans(socket: &Path, args: &args::Bans, out: &mut Output) -> Result<(), CliError> {
    let mut client = Client::connect(socket)?;
    let mut after = args.after.as_ref().map(|network| network.prefix);
    let mut left = args.limit;
    let mut any = false;
    if out.json {
        write!(out, "{{\"v\":{VERSION},\"bans\":[")?;
    }
    let next = loop {
        let page: BanPage = client.ask(Command::Bans { after, limit: left })?;
        for entry in &page.bans {
            if out.json {
                let comma = if any { "," } else { "" };
                write!(out, "{comma}{}", serde_json::to_string(entry).map_err(io::Error::from)?)?;
            } else {
                let until = entry.until.as_deref().unwrap_or("until unban");
                let reason = or_dash(entry.reason.as_deref());
                if !any {
                    out.line(format_args!("{:<43}  {:<20}  REASON", "PREFIX", "UNTIL"))?;
                }
                out.line(format_args!("{:<43}  {until:<20}  {reason}", shown(&entry.prefix)))?;
            }
            any = true;
        }
        let listed = u32::try_from(page.bans.len()).unwrap_or(u32::MAX);
        left = left.map(|left| left.saturating_sub(listed));
        if page.next.is_none() || left == Some(0) {
            break page.next;
        }
        after = page.next;
    };
    if out.json {
        let next = serde_json::to_string(&next).map_err(io::Error::from)?;
        out.line(format_args!("],\"next\":{next}}}"))?;
    } else if !any {
        out.line("no bans")?;
    }
    Ok(())
}

/// A single address is shown without its length.
fn shown(prefix: &IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::FailureCode;

    #[test]
    fn a_refusal_names_the_line_of_the_list() {
        let batch: Vec<(IpNet, u32)> = [("192.0.2.1/32", 4), ("192.0.2.2/32", 9)]
            .iter()
            .filter_map(|(net, line)| Some((net.parse().ok()?, *line)))
            .collect();
        let problem =
            Problem { field: Some("prefixes[1]".to_owned()), ..Problem::new("it is trusted") };
        let failure = Failure { code: FailureCode::Refused, errors: vec![problem] };
        let text = |file, banned| {
            let failure = locate(failure.clone(), &batch, file, banned);
            failure.errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(text(Some("list"), 0), ["list:9: it is trusted"]);
        assert_eq!(text(None, 0), ["it is trusted"]);
        assert_eq!(text(Some("list"), 5).len(), 2);
    }
}
