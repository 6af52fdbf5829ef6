//! `log`.

use std::{
    io::{self, Write},
    path::Path,
};

use super::{args, error::CliError, output::Output};
use crate::control::{Client, Command, DropEvent, Log};

/// Lines of a log, unless the operator says how many.
const LAST: u32 = 100;
/// Lines of one that goes on.
const LAST_BEFORE: u32 = 10;

pub(super) fn log(socket: &Path, args: &args::Log, out: &mut Output) -> Result<(), CliError> {
    let follow = args.follow;
    let last = args.last.unwrap_or(if follow { LAST_BEFORE } else { LAST });
    let mut client = Client::connect(socket)?;
    let mut log: Log = client.ask(Command::Log { last: Some(last), follow })?;
    loop {
        show(&log, out)?;
        if !follow {
            return Ok(());
        }
        out.flush()?;
        log = client.wait_for_more()?;
    }
}

fn show<W: Write>(log: &Log, out: &mut Output<W>) -> io::Result<()> {
    if log.missed > 0 {
        // There is nowhere left to say that this failed.
        let _ = writeln!(
            io::stderr(),
            "warning: {} drops are left out: they came faster than they were read",
            log.missed
        );
    }
    for event in &log.events {
        if out.json {
            out.json(event)?;
        } else {
            out.line(line(event))?;
        }
    }
    Ok(())
}

/// One line, whose columns stay where they are however many follow.
fn line(event: &DropEvent) -> String {
    let DropEvent { time, verdict, reason, rule, scope, not_shown, .. } = event;
    let mut text = format!("{time}  {verdict}  {reason:<18}  {event}");
    if let Some(rule) = rule {
        text += &format!(", rule {rule}");
    }
    if let Some(scope) = scope {
        text += &format!(" {scope}");
    }
    if *not_shown > 0 {
        text += &format!(" (and {not_shown} not shown)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_and_why() -> io::Result<()> {
        let event = DropEvent {
            time: "2026-01-02T03:04:05.678Z".to_owned(),
            interface: "eth0".to_owned(),
            verdict: "drop".to_owned(),
            reason: "packet_rate".to_owned(),
            rule: Some("p2p".to_owned()),
            scope: Some("per_source".to_owned()),
            source: "2001:db8::1".parse().ok(),
            destination: "2001:db8::2".parse().ok(),
            protocol: Some("udp".to_owned()),
            source_port: Some(4000),
            destination_port: Some(14626),
            flags: None,
            icmp_type: None,
            icmp_code: None,
            length: 90,
            not_shown: 12,
        };
        let log = Log { events: vec![event], missed: 0 };
        let mut out = Output::kept(false);
        show(&log, &mut out)?;
        assert_eq!(
            out.text(),
            "2026-01-02T03:04:05.678Z  drop  packet_rate         eth0: udp [2001:db8::1]:4000 > [2001:db8::2]:14626 len 90, rule p2p per_source (and 12 not shown)\n"
        );
        let mut out = Output::kept(true);
        show(&log, &mut out)?;
        let json: serde_json::Value = serde_json::from_str(&out.text())?;
        assert_eq!((&json["v"], &json["source"]), (&1.into(), &"2001:db8::1".into()));
        assert!(json["flags"].is_null());
        Ok(())
    }
}
