//! `ban`, `unban` and `bans`.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    os::fd::AsFd as _,
    path::Path,
    time::Instant,
};

use ipnet::IpNet;

use super::{
    args,
    ban_list::{ListReader, Several},
    error::CliError,
    output::{Output, or_dash, warn},
};
use crate::control::{
    BanPage, Banned, Client, ClientError, Command, Failure, IDLE, Note, Problem, Unbanned, VERSION,
};

/// Prefixes in one request.
const BATCH: usize = 10_000;

pub(super) fn ban(socket: &Path, args: &args::Ban, out: &mut Output) -> Result<(), CliError> {
    let mut request = Request::new(socket, args)?;
    let single = args.prefix.as_ref();
    match (single, &args.from) {
        (Some(network), _) => {
            request.warnings.extend(network.note());
            request.send(&[(network.prefix, 0)], false)?;
        }
        (None, Some(path)) => request.send_list(path)?,
        // The definition of the command line asks for one of them.
        (None, None) => {}
    }
    let more = |more| Note::new(format!("and {more} more warnings"));
    let Request { banned, until, warnings, .. } = request;
    let banned = Banned { banned, until, warnings: warnings.list(more) };
    if out.json {
        return Ok(out.json(&banned)?);
    }
    warn(&banned.warnings);
    let what = match single {
        Some(network) => shown(&network.prefix),
        None => format!("{} addresses and prefixes", banned.banned),
    };
    match &banned.until {
        Some(until) => out.line(format_args!("banned {what} until {until}"))?,
        None => out.line(format_args!("banned {what}"))?,
    }
    Ok(())
}

/// Bans of one command line, and what came of them so far.
struct Request<'a> {
    socket: &'a Path,
    client: Client,
    /// When the daemon last answered.
    answered: Instant,
    args: &'a args::Ban,
    /// What errors call the list.
    name: Option<String>,
    banned: u64,
    until: Option<String>,
    warnings: Several<Note>,
}

impl<'a> Request<'a> {
    fn new(socket: &'a Path, args: &'a args::Ban) -> Result<Self, ClientError> {
        Ok(Self {
            socket,
            client: Client::connect(socket)?,
            answered: Instant::now(),
            args,
            name: None,
            banned: 0,
            until: None,
            warnings: Several::default(),
        })
    }

    /// Bans a list. One that can be read twice is banned whole or not at all,
    /// as far as can be told beforehand. Any other is banned as it comes.
    fn send_list(&mut self, path: &Path) -> Result<(), CliError> {
        let name = match path == Path::new("-") {
            true => "standard input".to_owned(),
            false => path.display().to_string(),
        };
        self.name = Some(name.clone());
        let unreadable =
            |error: io::Error| CliError::Read { file: name.clone(), reason: error.into() };
        let mut file = open(path).map_err(unreadable)?;
        let can_reread = file.metadata().map_err(unreadable)?.is_file();
        let start = if can_reread { file.stream_position().map_err(unreadable)? } else { 0 };
        let mut list = ListReader::new(file, name.clone());
        if can_reread {
            let mut problems = Several::default();
            while let Some(part) = list.next_part().map_err(unreadable)? {
                problems.extend(part.problems);
                if problems.is_empty() {
                    self.send(&part.prefixes, true)?;
                }
            }
            self.refuse(problems)?;
            let rewind = |file: &mut File| file.seek(SeekFrom::Start(start)).map(drop);
            list.restart(rewind).map_err(unreadable)?;
        }
        while let Some(part) = list.next_part().map_err(unreadable)? {
            let mut problems = Several::default();
            problems.extend(part.problems);
            self.refuse(problems)?;
            self.warnings.extend(part.warnings);
            self.send(&part.prefixes, false)?;
        }
        Ok(())
    }

    /// Ends here if there are errors.
    fn refuse(&self, problems: Several<Problem>) -> Result<(), CliError> {
        if problems.is_empty() {
            return Ok(());
        }
        let more = |more| Problem {
            file: self.name.clone(),
            ..Problem::new(format!("and {more} more errors; correct these first"))
        };
        let mut problems = problems.list(more);
        problems.extend(so_far(self.banned));
        Err(CliError::Invalid(problems))
    }

    /// Sends prefixes with their lines, or asks whether they would be banned.
    fn send(&mut self, prefixes: &[(IpNet, u32)], only_check: bool) -> Result<(), ClientError> {
        for batch in prefixes.chunks(BATCH) {
            let length = self.args.duration;
            let command = Command::Ban {
                prefixes: batch.iter().map(|(prefix, _)| *prefix).collect(),
                for_ms: length.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
                reason: self.args.reason.clone(),
                force: self.args.force,
                only_check,
            };
            // The daemon closes a connection that is silent for long.
            if self.answered.elapsed() > IDLE / 2 {
                self.client = Client::connect(self.socket)?;
            }
            let answer: Banned = self.client.ask(command).map_err(|error| match error {
                ClientError::Failure(failure) => {
                    ClientError::Failure(locate(failure, batch, self.name.as_deref(), self.banned))
                }
                other => other,
            })?;
            self.answered = Instant::now();
            if !only_check {
                self.banned += answer.banned;
                self.until = answer.until;
                self.warnings.extend(answer.warnings);
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    if path == Path::new("-") {
        return io::stdin().as_fd().try_clone_to_owned().map(File::from);
    }
    File::open(path)
}

/// What to say of a list of which a part is banned.
fn so_far(banned: u64) -> Option<Problem> {
    let text = format!("the first {banned} of the list are banned, the others are not");
    (banned > 0).then(|| Problem::new(text))
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
    errors.extend(so_far(banned));
    Failure { code: failure.code, errors }
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
