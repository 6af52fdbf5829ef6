//! Who judges the records: the daemon, or a program of one's own.

use std::{io::Write, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::report::Report;
use crate::{
    capture::Link,
    cli::{error::CliError, private::Private},
    control::{
        Client, Command, ReplayBegun, ReplayOptions, ReplayOutcome, ReplayRecord, ReplayRecords,
        Replayed,
    },
    replay::{NotJudged, Row, Seen, Session, unjudgeable},
};

/// What the bytes of the records in one line may come to: the daemon takes
/// lines of 256 KiB.
const LINE: usize = 240 << 10;
/// What a record takes besides its bytes, at most.
const RECORD: usize = 64;

/// Who judges.
pub(super) enum Judge {
    Daemon(Box<Daemon>),
    Private(Box<Own>),
}

/// The daemon, and what was not sent yet.
pub(super) struct Daemon {
    client: Client,
    batch: ReplayRecords,
    /// Why each of them cannot be judged, if it cannot.
    unjudgeable: Vec<Option<NotJudged>>,
    size: usize,
    /// The same of those that were sent, and not answered yet.
    asked: Option<Vec<Option<NotJudged>>>,
}

/// A private filter.
pub(super) struct Own {
    session: Session,
    rules: Private,
    /// Outcomes that there were, with their places in the report.
    known: Vec<(Row, usize)>,
}

impl Judge {
    /// `config`: the policy to judge by; `None`: the daemon's.
    pub(super) fn new(
        socket: &Path,
        config: Option<&Path>,
        options: ReplayOptions,
    ) -> Result<Self, CliError> {
        let Some(config) = config else {
            let mut client = Client::connect(socket)?;
            let ReplayBegun { .. } = client.ask(Command::Replay(options))?;
            let (batch, unjudgeable) = (ReplayRecords::default(), Vec::new());
            return Ok(Self::Daemon(Box::new(Daemon {
                client,
                batch,
                unjudgeable,
                size: 0,
                asked: None,
            })));
        };
        let (rules, probe) = Private::load(config)?;
        let interface = rules.interface(options.interface.as_deref());
        let number = rules.interface_number(interface.as_deref());
        let session = Session::new(probe, number, options.local);
        Ok(Self::Private(Box::new(Own { session, rules, known: Vec::new() })))
    }

    /// Has a record judged, now or with those that follow.
    pub(super) fn record<W: Write>(
        &mut self,
        seen: &Seen<'_>,
        report: &mut Report<'_, W>,
    ) -> Result<(), CliError> {
        match self {
            Self::Daemon(daemon) => daemon.record(seen, report),
            Self::Private(own) => own.record(seen, report),
        }
    }

    /// Has the last ones judged.
    pub(super) fn finish<W: Write>(&mut self, report: &mut Report<'_, W>) -> Result<(), CliError> {
        match self {
            Self::Daemon(daemon) => daemon.finish(report),
            Self::Private(_) => Ok(()),
        }
    }
}

impl Daemon {
    fn record<W: Write>(
        &mut self,
        seen: &Seen<'_>,
        report: &mut Report<'_, W>,
    ) -> Result<(), CliError> {
        let unjudgeable = unjudgeable(seen);
        // What cannot be judged takes its place, and only its time counts.
        let (bytes, original) = match unjudgeable {
            Some(_) => (&[][..], seen.original.max(1)),
            None => (seen.bytes, seen.original),
        };
        let size = base64::encoded_len(bytes.len(), true).unwrap_or(LINE) + RECORD;
        if self.size + size > LINE {
            self.send(report)?;
        }
        let raw_ip = seen.link == Link::RawIp;
        self.batch.records.push(ReplayRecord(seen.time, raw_ip, original, BASE64.encode(bytes)));
        self.unjudgeable.push(unjudgeable);
        self.size += size;
        Ok(())
    }

    /// Sends what there is, and takes the answer to what was sent before: so
    /// both sides are at work.
    fn send<W: Write>(&mut self, report: &mut Report<'_, W>) -> Result<(), CliError> {
        if self.batch.records.is_empty() {
            return Ok(());
        }
        self.client.send_more(&self.batch)?;
        self.batch.records.clear();
        self.size = 0;
        let next = std::mem::take(&mut self.unjudgeable);
        match self.asked.replace(next) {
            Some(before) => self.take_answer(&before, report),
            None => Ok(()),
        }
    }

    fn take_answer<W: Write>(
        &mut self,
        unjudgeable: &[Option<NotJudged>],
        report: &mut Report<'_, W>,
    ) -> Result<(), CliError> {
        let Replayed { outcomes, rows } = self.client.answer()?;
        if rows.len() != unjudgeable.len() {
            return Err(self.client.broken("it did not answer for each record").into());
        }
        let mut places = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            places.push(report.place(outcome)?);
        }
        for (row, unjudgeable) in rows.into_iter().zip(unjudgeable) {
            let place = match (unjudgeable, places.get(row as usize)) {
                (Some(why), _) => {
                    report.place(ReplayOutcome::new(&Row::Not(*why), |_| String::new()))?
                }
                (None, Some(place)) => *place,
                (None, None) => {
                    let reason = "it named an outcome that it did not tell";
                    return Err(self.client.broken(reason).into());
                }
            };
            report.row(place)?;
        }
        Ok(())
    }

    /// Has the last ones judged, and tells the daemon that these were all.
    fn finish<W: Write>(&mut self, report: &mut Report<'_, W>) -> Result<(), CliError> {
        self.send(report)?;
        if let Some(last) = self.asked.take() {
            self.take_answer(&last, report)?;
        }
        self.client.send_more(&ReplayRecords::default())?;
        self.take_answer(&[], report)
    }
}

impl Own {
    fn record<W: Write>(
        &mut self,
        seen: &Seen<'_>,
        report: &mut Report<'_, W>,
    ) -> Result<(), CliError> {
        let row = self.session.record(seen)?;
        let known = self.known.iter().find(|(other, _)| *other == row);
        let place = match known {
            Some((_, place)) => *place,
            None => {
                let outcome = ReplayOutcome::new(&row, |number| self.rules.rule_name(number));
                let place = report.place(outcome)?;
                self.known.push((row, place));
                place
            }
        };
        Ok(report.row(place)?)
    }
}
