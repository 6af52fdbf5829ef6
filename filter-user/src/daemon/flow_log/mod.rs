//! The flow log: writes what the program has counted of each flow, minute by minute.
//!
//! A thread of its own, so that a slow disk keeps nobody waiting. Each minute it
//! has the program count in the other half of the table, and a second later,
//! when no packet can be under way to it any more, writes what is in the first.

mod file;
mod record;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use filter_common::tables::flow_log::{Entry, Key};
use tokio::sync::watch;
use tracing::{error, info};

use self::record::{Seen, Window};
use super::{DaemonError, events::Settings};
use crate::{
    control::FlowLogEntry,
    dataplane::{FlowCounts, Half, MapFault},
};

/// Between looks at the clock.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Seconds of one window.
const WINDOW: u32 = 60;
/// Until no packet is under way to a half that is not filled any more.
const SETTLE: Duration = Duration::from_millis(100);

/// The flows, and the thread that writes them.
pub(super) struct FlowLog(Mutex<State>);

struct State {
    counts: FlowCounts,
    open: Option<Open>,
    /// Of the last window that was written.
    written: Vec<Entry>,
    entry: FlowLogEntry,
    /// A window that could not be written.
    missed: Option<Window>,
    /// Of each interface, packets that found no room, as last read.
    unlogged: HashMap<u32, u64>,
}

/// Lines to be written.
struct Job {
    path: PathBuf,
    window: Window,
    records: u64,
    lines: String,
}

/// While flows are counted.
struct Open {
    path: PathBuf,
    half: Half,
    /// The window that is being filled began then.
    from: u32,
    /// The one before it, until it is written.
    due: Option<Window>,
}

impl std::fmt::Debug for FlowLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowLog").finish_non_exhaustive()
    }
}

impl FlowLog {
    /// Starts the thread, which ends when nobody has settings for it any more.
    pub(super) fn spawn(
        counts: FlowCounts,
        settings: watch::Receiver<Settings>,
    ) -> Result<Arc<Self>, DaemonError> {
        let state = State {
            counts,
            open: None,
            written: Vec::new(),
            entry: FlowLogEntry::default(),
            missed: None,
            unlogged: HashMap::new(),
        };
        let log = Arc::new(Self(Mutex::new(state)));
        let theirs = Arc::clone(&log);
        let body = move || {
            let mut broken = false;
            while settings.has_changed().is_ok() {
                // Not borrowed for as long as the disk takes: others want to change them.
                let settings = settings.borrow().clone();
                match theirs.look(&settings, seconds()) {
                    Ok(()) => broken = false,
                    Err(error) if !broken => {
                        broken = true;
                        error!("flows cannot be logged, {error}");
                    }
                    Err(_) => {}
                }
                std::thread::sleep(LOOK_EVERY);
            }
        };
        std::thread::Builder::new()
            .name("flow log".to_owned())
            .spawn(body)
            .map_err(|reason| DaemonError::System { what: "starting a thread", reason })?;
        Ok(log)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it fares; `None`: flows are not logged.
    pub(super) fn entry(&self) -> Option<FlowLogEntry> {
        let state = self.state();
        state.open.is_some().then(|| state.entry.clone())
    }

    /// The flows of this window and of the one before it; `None`: they are not counted.
    pub(super) fn flows(&self) -> Result<Option<Vec<Entry>>, MapFault> {
        let state = self.state();
        let Some(open) = &state.open else { return Ok(None) };
        let mut all = state.counts.flows(open.half)?;
        match open.due {
            Some(_) => all.extend(state.counts.flows(open.half.other())?),
            None => all.extend_from_slice(&state.written),
        }
        let mut flows: HashMap<Key, Entry> = HashMap::new();
        for entry in all {
            let sum = flows.entry(entry.key).or_insert(Entry { packets: 0, bytes: 0, ..entry });
            sum.packets += entry.packets;
            sum.bytes += entry.bytes;
            sum.first = sum.first.min(entry.first);
            sum.last = sum.last.max(entry.last);
        }
        Ok(Some(flows.into_values().collect()))
    }

    /// Writes what there is, and has no more counted: the daemon ends.
    pub(super) fn finish(&self, settings: &Settings) {
        let closed = self.state().close(settings, seconds());
        match closed {
            Ok(job) => self.perform(job),
            Err(error) => error!("the last flows could not be logged: {error}"),
        }
    }

    fn look(&self, settings: &Settings, now: u32) -> Result<(), MapFault> {
        if self.state().is_to_change(settings) {
            let job = self.state().close(settings, now)?;
            self.perform(job);
            let job = self.state().begin(settings, now)?;
            self.perform(job);
        }
        let job = self.state().follow_clock(settings, now)?;
        self.perform(job);
        Ok(())
    }

    /// Writes lines. Whoever asks how things stand does not wait for the disk.
    fn perform(&self, job: Option<Job>) {
        let Some(job) = job else { return };
        let result = file::append(&job.path, &job.lines);
        self.state().settle(&job, result);
    }
}

impl State {
    fn is_to_change(&self, settings: &Settings) -> bool {
        self.open.as_ref().map(|open| &open.path) != settings.flows.as_ref()
    }

    /// Has the program count into the right half, and takes what is complete.
    fn follow_clock(&mut self, settings: &Settings, now: u32) -> Result<Option<Job>, MapFault> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let due = open.due.take_if(|due| now > due.until + 1 || now < due.from);
        if due.is_none() && open.due.is_none() && now / WINDOW != open.from / WINDOW {
            // A clock that was set back makes a window of one second.
            open.due = Some(Window { from: open.from, until: now.max(open.from + 1) - 1 });
            open.half = open.half.other();
            open.from = now;
        }
        let half = open.half;
        self.counts.count_in(Some((half, now)))?;
        let Some(window) = due else { return Ok(None) };
        let flows = self.counts.drain(half.other())?;
        self.job(flows, window, settings)
    }

    fn begin(&mut self, settings: &Settings, now: u32) -> Result<Option<Job>, MapFault> {
        let Some(path) = settings.flows.clone() else { return Ok(None) };
        info!("flows are logged in {}", path.display());
        self.entry = FlowLogEntry { file: path.display().to_string(), ..FlowLogEntry::default() };
        self.open = Some(Open { path, half: Half::First, from: now, due: None });
        // What a daemon before this one has left.
        let mut left = self.counts.drain(Half::First)?;
        left.extend(self.counts.drain(Half::Second)?);
        for number in settings.names.interfaces.keys() {
            self.unlogged.insert(*number, self.counts.unlogged(*number)?);
        }
        let Some(first) = left.iter().map(|flow| flow.first).min() else { return Ok(None) };
        self.job(left, Window { from: first, until: now }, settings)
    }

    fn close(&mut self, settings: &Settings, now: u32) -> Result<Option<Job>, MapFault> {
        let Some(open) = &self.open else { return Ok(None) };
        let (half, due) = (open.half, open.due);
        let from = due.map_or(open.from, |due| due.from);
        info!("flows are not logged any more in {}", open.path.display());
        self.counts.count_in(None)?;
        std::thread::sleep(SETTLE);
        let mut flows = self.counts.drain(half.other())?;
        flows.extend(self.counts.drain(half)?);
        let job = self.job(flows, Window { from, until: now.max(from) }, settings);
        self.open = None;
        job
    }

    /// The lines of one window, and before them that an earlier one is missing.
    fn job(
        &mut self,
        flows: Vec<Entry>,
        window: Window,
        settings: &Settings,
    ) -> Result<Option<Job>, MapFault> {
        let Some(Open { path, .. }) = &self.open else { return Ok(None) };
        let mut interfaces = BTreeMap::new();
        for (number, name) in &settings.names.interfaces {
            let unlogged = self.counts.unlogged(*number)?;
            let before = self.unlogged.insert(*number, unlogged).unwrap_or(0);
            let skipped = unlogged.saturating_sub(before);
            self.entry.skipped += skipped;
            let has_flows = flows.iter().any(|flow| u32::from(flow.key.interface) == *number);
            if skipped > 0 || has_flows || settings.guarded.contains(name) {
                interfaces.insert(*number, Seen { name, skipped: skipped > 0 });
            }
        }
        let mut lines = String::new();
        if let Some(missed) = self.missed {
            let all = interfaces.iter();
            let all = all.map(|(number, seen)| (*number, Seen { skipped: true, ..*seen }));
            let all: BTreeMap<_, _> = all.collect();
            lines += &record::lines(&[], missed, &all);
        }
        lines += &record::lines(&flows, window, &interfaces);
        let job = Job { path: path.clone(), window, records: flows.len() as u64, lines };
        self.written = flows;
        Ok(Some(job))
    }

    /// Notes what became of lines.
    fn settle(&mut self, job: &Job, result: std::io::Result<()>) {
        match result {
            Ok(()) => {
                self.entry.records += job.records;
                if self.entry.problem.take().is_some() {
                    info!("flows are logged again in {}", job.path.display());
                }
                self.missed = None;
            }
            Err(reason) => {
                let from = self.missed.map_or(job.window.from, |missed| missed.from);
                self.missed = Some(Window { from, until: job.window.until });
                let problem = format!(
                    "the flow log {} cannot be written ({reason}): make room, or mend its directory; what is missing will be marked SKIPDATA",
                    job.path.display()
                );
                if self.entry.problem.as_ref() != Some(&problem) {
                    error!("{problem}");
                }
                self.entry.problem = Some(problem);
            }
        }
    }
}

/// Seconds since 1970. Until 2106 they fit.
fn seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
