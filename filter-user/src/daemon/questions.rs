//! Serves those who ask what would become of packets. The programs that they
//! ask are loaded and run beside the owner, who only says what is in force.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tokio::{
    sync::{Mutex, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use tracing::debug;

use super::{
    DaemonError,
    owner::{Answer, OwnerHandle, Place},
    server::{Line, Lines, SMALL, failed, send, serialize},
};
use crate::{
    capture::Link,
    compile::unnamed,
    control::{
        Failure, FailureCode, IDLE, Problem, ReplayBegun, ReplayOptions, ReplayOutcome,
        ReplayRecord, ReplayRecords, Replayed, Response,
    },
    dataplane::{LoadError, Origin, Probe},
    packet::{Packet, PacketError},
    replay::{Row, Seen, Session},
};

/// The program that answers single questions, loaded with the first of them.
#[derive(Debug, Default)]
pub(super) struct Questions {
    probe: Mutex<Option<Box<Probe>>>,
}

impl From<PacketError> for Failure {
    fn from(error: PacketError) -> Self {
        let problem = Problem { column: Some(error.column), ..Problem::new(&error) };
        Self { code: FailureCode::Invalid, errors: vec![problem] }
    }
}

impl Questions {
    /// Answers a question about one packet.
    pub(super) async fn explain(&self, owner: &OwnerHandle, text: &str) -> Answer {
        let refused = |failure| Answer { line: failed(failure), done: false };
        let packet = match text.parse::<Packet>() {
            Ok(packet) => packet,
            Err(error) => return refused(error.into()),
        };
        // One after the other: each takes a few microseconds.
        let mut place = self.probe.lock().await;
        let probe = match place.take() {
            Some(probe) => probe,
            None => match load(owner, Origin::explain_probe).await {
                Ok(probe) => Box::new(probe),
                Err(error) => return refused(Failure::from(&error)),
            },
        };
        match owner.explain(packet, probe).await {
            Ok((probe, answer)) => {
                *place = Some(probe);
                answer
            }
            Err(error) => refused(Failure::from(&error)),
        }
    }
}

/// Loads a program to ask, which takes as long as the kernel verifies it.
async fn load(
    owner: &OwnerHandle,
    make: fn(&Origin) -> Result<Probe, LoadError>,
) -> Result<Probe, DaemonError> {
    let origin = owner.origin().await?;
    let loaded = spawn_blocking(move || make(&origin)).await;
    Ok(loaded.map_err(|_| DaemonError::Stopping)??)
}

/// Judges a capture that comes record by record. Whether the connection may
/// ask for more.
pub(super) async fn replay(
    lines: &mut Lines,
    owner: &OwnerHandle,
    options: ReplayOptions,
    places: &Semaphore,
) -> bool {
    let Ok(_place) = places.try_acquire() else {
        let text = "another capture is being replayed already: wait for its end, or judge with `--config`, which needs no daemon";
        return send(lines, failed(Failure::new(FailureCode::Failed, text))).await;
    };
    let mut replay = match Replay::begin(owner, options).await {
        Ok(replay) => replay,
        Err(error) => return send(lines, failed(Failure::from(&error))).await,
    };
    let begun = ReplayBegun { interface: replay.interface.clone() };
    if !send(lines, serialize(&Response::done(begun))).await {
        return false;
    }
    loop {
        let line = match timeout(IDLE, lines.next(SMALL)).await {
            Ok(Ok(Line::Whole(line))) => line,
            Ok(Ok(Line::Longer)) => {
                let text = "records for more than 256 KiB in one line: send fewer at a time";
                send(lines, failed(Failure::new(FailureCode::Invalid, text))).await;
                return false;
            }
            Err(_) => {
                let text = format!(
                    "no record came for {} s, so the replay has ended: write what comes so slowly to a file, and replay that",
                    IDLE.as_secs()
                );
                send(lines, failed(Failure::new(FailureCode::Failed, text))).await;
                return false;
            }
            _ => return false,
        };
        let (answer, is_last) = match replay.judge(owner, line).await {
            Ok(replayed) => {
                let is_last = replayed.rows.is_empty();
                (serialize(&Response::done(replayed)), is_last)
            }
            Err(failure) => {
                send(lines, failed(failure)).await;
                return false;
            }
        };
        if !send(lines, answer).await {
            return false;
        }
        if is_last {
            return true;
        }
    }
}

/// A capture that is being judged.
struct Replay {
    /// Away while it judges.
    session: Option<Session>,
    interface: Option<String>,
    rules: HashMap<u32, String>,
}

impl Replay {
    async fn begin(owner: &OwnerHandle, options: ReplayOptions) -> Result<Self, DaemonError> {
        let Place { interface, number, .. } = owner.place(options.interface).await?;
        let rules = owner.rule_names().await?;
        let probe = load(owner, Origin::replay_probe).await?;
        debug!("a capture is being replayed");
        let session = Some(Session::new(probe, number, options.local));
        Ok(Self { session, interface, rules })
    }

    /// Judges the records of a line.
    async fn judge(&mut self, owner: &OwnerHandle, line: Vec<u8>) -> Result<Replayed, Failure> {
        let stopping = || Failure::from(&DaemonError::Stopping);
        let mut session = self.session.take().ok_or_else(stopping)?;
        let judged = spawn_blocking(move || {
            let rows = judge(&mut session, &line);
            (session, rows)
        });
        let (session, rows) = judged.await.map_err(|_| stopping())?;
        self.session = Some(session);
        let rows = rows?;
        let is_new = |row: &Row| match row {
            Row::Judged(outcome) => {
                outcome.rule.is_some_and(|rule| !self.rules.contains_key(&rule.get()))
            }
            Row::Not(_) => false,
        };
        // The policy was changed meanwhile.
        if rows.iter().any(is_new) {
            self.rules = owner.rule_names().await.map_err(|error| Failure::from(&error))?;
        }
        Ok(tell(&rows, &self.rules))
    }
}

fn judge(session: &mut Session, line: &[u8]) -> Result<Vec<Row>, Failure> {
    let invalid = |error: &dyn std::fmt::Display| {
        let text = format!(
            "this is no line of records of the control protocol ({error}): see docs/control-protocol.md"
        );
        Failure::new(FailureCode::Invalid, text)
    };
    let ReplayRecords { records } =
        serde_json::from_slice(line).map_err(|error| invalid(&error))?;
    let mut rows = Vec::with_capacity(records.len());
    for ReplayRecord(time, raw_ip, original, bytes) in records {
        let bytes = BASE64.decode(bytes).map_err(|error| invalid(&error))?;
        let link = if raw_ip { Link::RawIp } else { Link::Ethernet };
        let seen = Seen { time, link, original, bytes: &bytes };
        let row = session.record(&seen);
        rows.push(row.map_err(|error| Failure::from(&DaemonError::from(error)))?);
    }
    Ok(rows)
}

/// The rows, each outcome written once.
fn tell(rows: &[Row], rules: &HashMap<u32, String>) -> Replayed {
    let mut outcomes: Vec<ReplayOutcome> = Vec::new();
    let mut known: Vec<Row> = Vec::new();
    let mut numbers = Vec::with_capacity(rows.len());
    for row in rows {
        let at = known.iter().position(|other| other == row).unwrap_or_else(|| {
            known.push(*row);
            outcomes.push(ReplayOutcome::new(row, |number| {
                rules.get(&number).cloned().unwrap_or_else(|| unnamed(number))
            }));
            known.len() - 1
        });
        numbers.push(u32::try_from(at).unwrap_or(u32::MAX));
    }
    Replayed { outcomes, rows: numbers }
}
