//! `explain`.

use std::path::Path;

use super::{
    args,
    error::CliError,
    output::{Output, warn},
    private::Private,
};
use crate::{
    capture::Link,
    control::{Client, Command, Explained, Note, OutcomeEntry},
    dataplane::{Arrival, Times},
    explain::{World, explain as tell},
    packet::Packet,
};

pub(super) fn explain(
    socket: &Path,
    args: &args::Explain,
    out: &mut Output,
) -> Result<(), CliError> {
    // What is wrong with it is told whether or not a daemon runs.
    let packet: Packet = args.packet.parse()?;
    let explained = match &args.config {
        None => {
            let command = Command::Explain { packet: args.packet.clone() };
            Client::connect(socket)?.ask(command)?
        }
        Some(file) => by_policy(file, &packet)?,
    };
    if out.json {
        return Ok(out.json(&explained)?);
    }
    let Explained { packet, interface, outcome, why } = &explained;
    if interface.is_none() && args.config.is_none() {
        warn(&[Note::new(
            "no interface is guarded now: it is judged as on one that no rule names",
        )]);
    }
    out.line(packet)?;
    out.line(line(outcome))?;
    Ok(why.iter().try_for_each(|sentence| out.line(format_args!("  {sentence}")))?)
}

/// The verdict in one line.
fn line(outcome: &OutcomeEntry) -> String {
    let OutcomeEntry { verdict, reason, monitored, rule, scope } = outcome;
    let mut text = format!("{}  {reason}", verdict.as_deref().unwrap_or("-"));
    if let Some(monitored) = monitored {
        text += &format!(" ({monitored})");
    }
    if let Some(rule) = rule {
        text += &format!(", rule {rule}");
    }
    if let Some(scope) = scope {
        text += &format!(" {scope}");
    }
    text
}

/// By a policy that is in force nowhere.
fn by_policy(file: &Path, packet: &Packet) -> Result<Explained, CliError> {
    let (private, mut probe) = Private::load(file)?;
    let packet =
        Packet { interface: private.interface(packet.interface.as_deref()), ..packet.clone() };
    let number = private.interface_number(packet.interface.as_deref());
    let frame = packet
        .frame(Link::Ethernet)
        .map_err(|what| crate::packet::PacketError { column: 1, what: what.to_string() })?;
    let arrival = Arrival { interface: number, raw_ip: false, times: Times::now() };
    let outcome = probe.judge(&frame, arrival)?;
    let rule = outcome.rule.map(|rule| private.rule_name(rule.get()));
    let world = World { policy: &private.policy, bans: Vec::new(), is_private: true };
    Ok(tell(&world, &packet, frame.len(), &outcome, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_one_line() {
        let entry = |reason: &str, monitored: Option<&str>, rule: Option<&str>| OutcomeEntry {
            verdict: Some("pass".to_owned()),
            reason: reason.to_owned(),
            monitored: monitored.map(str::to_owned),
            rule: rule.map(str::to_owned),
            scope: rule.map(|_| "per_source".to_owned()),
        };
        assert_eq!(line(&entry("essential", None, None)), "pass  essential");
        assert_eq!(
            line(&entry("monitor", Some("packet_rate"), Some("p2p"))),
            "pass  monitor (packet_rate), rule p2p per_source"
        );
    }
}
