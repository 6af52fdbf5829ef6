//! The owner of the data plane: everything that changes what is in force.

mod apply;
mod bans;
mod change;
mod flows;
mod handle;
mod interfaces;
mod lock_out;
mod metrics;
mod questions;
mod report;
mod sets;
mod slots;
mod usage;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    runtime::Handle as Runtime,
    sync::{
        Notify,
        mpsc::{self, UnboundedReceiver},
        oneshot, watch,
    },
};
use tracing::{error, info, warn};

pub use self::lock_out::LockOut;
use self::{apply::InForce, change::Change, handle::Task, interfaces::Guarded, sets::SetStore};
pub(super) use self::{
    handle::{Answer, OwnerHandle},
    questions::Place,
    sets::Contents,
};
use super::{
    DaemonError,
    events::{Collector, DropLog, Names, Settings},
    first_policy::First,
    flow_log::FlowLog,
    log,
    network::Network,
    remembered::Remembered,
    server::serialize,
    service,
    watch::Watch,
};
use crate::{
    compile::Numbers,
    control::{Command, Failure, Response},
    dataplane::{DataPlane, Options, Pins},
    policy::{OnStop, Tables},
    state::{bans::BanFile, policies::Policies},
    telemetry::metrics::Endpoint,
};

/// Seconds between looks at where this host speaks from: each reads a table of
/// 81,920 words.
const SETTLE_EVERY: u64 = 60;
/// Seconds between looks at everything that should have been told by an event.
const LOOK_EVERY: u64 = 5;

/// What the owner starts from.
pub(super) struct Start {
    pub began: Instant,
    /// The daemon's own policy file.
    pub file: PathBuf,
    /// What to begin with.
    pub first: First,
    /// Also if it locks out who is logged in.
    pub force: bool,
    /// Guarded instead of the policy's, unless empty.
    pub interfaces: Vec<String>,
    pub pins: Option<Pins>,
    /// Loaded instead of the embedded one.
    pub object: Option<Vec<u8>>,
    /// Guarded where nobody names any.
    pub remembered: Remembered,
    pub network: Network,
    pub files_changed: Arc<Notify>,
    /// The state directory, and whether anything can be kept there.
    pub state: PathBuf,
    pub policies: Option<Policies>,
    pub metrics: Endpoint,
    pub drop_log: Arc<DropLog>,
}

/// The data plane, and what is known of it.
pub(super) struct Owner {
    plane: DataPlane,
    ban_file: BanFile,
    in_force: InForce,
    change: Change,
    /// Counts the switches.
    generation: u64,
    rule_numbers: Numbers,
    interface_numbers: Numbers,
    guarded: Guarded,
    sets: SetStore,
    recount: slots::Recount,
    watch: Watch,
    service: service::Line,
    metrics: Endpoint,
    last_walk: Option<metrics::LastWalk>,
    network: Network,
    runtime: Runtime,
    /// The file that a reload loads.
    own_file: PathBuf,
    overrides: Vec<String>,
    tables_at_start: Tables,
    began: Instant,
    started: SystemTime,
    ticks: u64,
    /// An interface has been guarded since the start.
    has_guarded: bool,
    /// The filter was taken off for good.
    detached: bool,
    drop_log: Arc<DropLog>,
    /// What the collector of drops needs to know.
    settings: watch::Sender<Settings>,
    flow_log: Option<Arc<FlowLog>>,
}

impl Owner {
    /// Starts the owner's thread. When this returns the policy is in force on
    /// every interface, or nothing is left of it.
    pub(super) async fn spawn(start: Start) -> Result<OwnerHandle, DaemonError> {
        let (tasks, queue) = mpsc::unbounded_channel();
        let handle = OwnerHandle::new(tasks);
        let (started, has_started) = oneshot::channel();
        let runtime = Runtime::current();
        let ended = handle.end_notifier();
        let body = move || {
            match Self::start(start, runtime) {
                Ok(owner) => {
                    // Whoever waits for it lives as long as the runtime.
                    let _ = started.send(Ok(()));
                    owner.work(queue);
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
            ended.notify_one();
        };
        std::thread::Builder::new()
            .name("owner".to_owned())
            .spawn(body)
            .map_err(|reason| DaemonError::System { what: "starting a thread", reason })?;
        has_started.await.unwrap_or(Err(DaemonError::Stopping))?;
        Ok(handle)
    }

    fn start(start: Start, runtime: Runtime) -> Result<Self, DaemonError> {
        let Start { began, file, first, interfaces, pins, network, .. } = start;
        let Start { remembered, files_changed, state, policies, force, .. } = start;
        let Start { metrics, drop_log, object, .. } = start;
        let First { kept, mut loaded, contents, instead } = first;
        apply::override_interfaces(&mut loaded.policy, &interfaces);
        let tables = loaded.policy.tables;
        let kernel_log = log::wanted_of_kernel();
        let options = Options { tables, log: kernel_log, object: object.as_deref(), pins };
        let mut plane = DataPlane::load(&options)?;
        if let Some(renewed) = plane.taken_over() {
            info!("an earlier start's tables are taken over");
            renewed.iter().for_each(|what| warn!("{what}"));
        }
        let [rule_numbers, interface_numbers] = plane.numbers();
        if kernel_log != crate::dataplane::KernelLog::Off {
            log::forward_of_kernel(&mut plane, &runtime);
        }
        // Before the first packet is judged.
        let ban_file = bans::restore(&mut plane, &state)?;
        let drops = loaded.policy.log.drops;
        let settings = watch::Sender::new(Settings { drops, ..Settings::default() });
        if let Some(events) = plane.take_events() {
            let (settings, log) = (settings.subscribe(), Arc::clone(&drop_log));
            let mut collector = Collector::new(events, settings, log)?;
            // So that the first packet can be shown.
            collector.look()?;
            runtime.spawn(collector.run());
        }
        let flow_log = match plane.take_flow_counts() {
            Some(counts) => Some(FlowLog::spawn(counts, settings.subscribe())?),
            None => None,
        };
        let mut sets = SetStore::default();
        sets.replace(&loaded, contents);
        let mut owner = Self {
            plane,
            ban_file,
            in_force: InForce::nothing(file.clone()),
            change: Change { policies, instead, ..Change::default() },
            generation: 0,
            rule_numbers,
            interface_numbers,
            guarded: Guarded::new(remembered),
            sets,
            recount: slots::Recount::default(),
            watch: Watch::new(files_changed),
            service: service::Line::new(),
            metrics,
            last_walk: None,
            network,
            runtime,
            own_file: file.clone(),
            overrides: interfaces,
            tables_at_start: tables,
            began,
            started: SystemTime::now(),
            ticks: 0,
            has_guarded: false,
            detached: false,
            drop_log,
            settings,
            flow_log,
        };
        let checked = owner.check_lock_out(&loaded.policy, force);
        let next = InForce::new(kept.text.clone(), kept.file.clone(), loaded);
        if let Err(error) = checked.and_then(|()| owner.switch_to(next, None)) {
            owner.give_up();
            return Err(error);
        }
        owner.note_first(&kept);
        let guarded = owner.guarded_indexes();
        owner.plane.settle_in(&guarded)?;
        owner.watch_sets();
        owner.tell_service();
        Ok(owner)
    }

    /// Does what there is to do until it is told to stop.
    fn work(mut self, mut queue: UnboundedReceiver<Task>) {
        while let Some(task) = queue.blocking_recv() {
            match task {
                Task::Command { command, reply } => {
                    // Who asked may have gone away.
                    let _ = reply.send(self.answer(command));
                }
                Task::Explain { packet, mut probe, reply } => {
                    let answer = answer(self.explain(packet, &mut probe));
                    let _ = reply.send((probe, answer));
                }
                Task::Origin { reply } => {
                    let _ = reply.send(self.origin());
                }
                Task::Place { interface, reply } => {
                    let _ = reply.send(self.place(interface.as_deref()));
                }
                Task::RuleNames { reply } => {
                    let _ = reply.send(self.rule_names());
                }
                Task::Scrape { reply } => {
                    let _ = reply.send(self.metrics_report());
                }
                Task::LookAtNetwork { pending } => {
                    pending.store(false, std::sync::atomic::Ordering::Release);
                    self.follow_interfaces();
                }
                Task::LookAtFiles => self.reread_sets(),
                Task::Reload => self.reload_on_signal(),
                Task::Tick => self.tick(),
                Task::Stop => break,
            }
            self.tell_service();
        }
        self.end();
    }

    /// A start that failed leaves nothing that was not there before.
    fn give_up(&mut self) {
        if self.plane.taken_over().is_none()
            && let Err(error) = self.plane.unpin()
        {
            error!("what this start has pinned is still there: {error}");
        }
    }

    /// The filter stays on without this process, unless it was to end with it.
    fn end(mut self) {
        // Detached, it has no pins any more.
        let stays = self.plane.pins().is_some();
        if stays && self.in_force.loaded.policy.on_stop == OnStop::Keep {
            let guarded = self.guarded.names().join(", ");
            warn!(
                "the filter stays on with the policy in force (interfaces: {guarded}): `nodewall detach` takes it off"
            );
        } else if !self.detached {
            self.detach_all();
        }
        if let Some(flow_log) = &self.flow_log {
            flow_log.finish(&self.settings.borrow());
        }
    }

    fn tick(&mut self) {
        self.take_back_in_time();
        self.tend_bans();
        self.look_for_surplus();
        self.ticks += 1;
        if self.ticks.is_multiple_of(LOOK_EVERY) {
            self.follow_interfaces();
            self.watch_sets();
            self.reread_sets();
            self.sweep_sockets();
            self.follow_metrics();
        }
        if self.ticks.is_multiple_of(SETTLE_EVERY) {
            self.sweep_ports();
        }
        self.service.alive();
    }

    /// Tells those who log drops and flows what is in force now.
    fn tell_loggers(&self) {
        let log = &self.in_force.loaded.policy.log;
        let guarded = self.guarded.list().into_iter().filter(|entry| entry.attach.is_some());
        self.settings.send_replace(Settings {
            drops: log.drops,
            flows: log.flows.clone(),
            names: Arc::new(self.names()),
            guarded: guarded.map(|entry| entry.name).collect(),
        });
    }

    /// The names that the program has numbers for.
    fn names(&self) -> Names {
        let names = |numbers: &Numbers| {
            numbers.iter().map(|(name, number)| (number, name.to_owned())).collect()
        };
        Names { interfaces: names(&self.interface_numbers), rules: names(&self.rule_numbers) }
    }

    fn reload_on_signal(&mut self) {
        service::reloading();
        match self.apply(None, None, false) {
            Ok(applied) if applied.changes.is_empty() => {
                info!("SIGHUP: reloaded {}, no change", applied.file)
            }
            Ok(applied) => {
                info!("SIGHUP: reloaded {}, {} changes", applied.file, applied.changes.len());
            }
            Err(error) => {
                for problem in Failure::from(&error).errors {
                    error!("SIGHUP: not reloaded, the earlier policy stands: {problem}");
                }
            }
        }
        service::ready();
    }

    fn tell_service(&mut self) {
        let mode = self.in_force.loaded.policy.mode;
        self.service.status(mode, self.generation, &self.guarded.list());
    }

    fn answer(&mut self, command: Command) -> Answer {
        match command {
            Command::Status => answer(self.status()),
            Command::Rules => answer(self.rules()),
            Command::Flows { top } => answer(self.flows(top)),
            Command::Sources { top } => answer(self.sources(top)),
            Command::Apply { policy, confirm_ms, force } => {
                answer(self.apply(policy, confirm_ms.map(Duration::from_millis), force))
            }
            Command::Confirm => answer(self.confirm()),
            Command::Rollback { force } => answer(self.rollback(force)),
            Command::Diff { policy } => answer(self.diff(policy)),
            Command::Ban { prefixes, for_ms, reason, force, only_check } => {
                answer(self.ban(&prefixes, for_ms, reason, force, only_check))
            }
            Command::Unban { prefix } => answer(self.unban(prefix)),
            Command::Bans { after, limit } => answer(Ok(self.bans(after, limit))),
            Command::Guard { interface } => answer(Ok(self.look_at_interface(&interface))),
            Command::Detach => answer(Ok(self.detach_all())),
            // The server has them.
            Command::Log { last, .. } => answer(Ok(self.drop_log.last(last))),
            Command::Explain { .. } | Command::Replay(_) => {
                answer::<()>(Err(DaemonError::Stopping))
            }
        }
    }
}

fn answer<T: serde::Serialize>(result: Result<T, DaemonError>) -> Answer {
    match result {
        Ok(result) => Answer { line: serialize(&Response::done(result)), done: true },
        Err(error) => {
            Answer { line: serialize(&Response::<()>::failed(Failure::from(&error))), done: false }
        }
    }
}
