//! How the rest of the daemon reaches the owner.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, mpsc::UnboundedSender, oneshot};

use super::questions::Place;
use crate::{
    control::{Command, Failure, Response},
    daemon::{DaemonError, server::serialize},
    dataplane::{Origin, Probe},
    packet::Packet,
    telemetry::metrics::{Report, Source},
};

/// Something for the owner to do.
pub(super) enum Task {
    Command { command: Command, reply: oneshot::Sender<Answer> },
    Explain { packet: Packet, probe: Box<Probe>, reply: oneshot::Sender<(Box<Probe>, Answer)> },
    Origin { reply: oneshot::Sender<Arc<Origin>> },
    Place { interface: Option<String>, reply: oneshot::Sender<Result<Place, DaemonError>> },
    RuleNames { reply: oneshot::Sender<HashMap<u32, String>> },
    Scrape { reply: oneshot::Sender<Result<Report, DaemonError>> },
    LookAtNetwork { pending: Arc<AtomicBool> },
    LookAtFiles,
    Reload,
    Tick,
    Stop,
}

/// What the owner says to a command.
#[derive(Debug)]
pub(in crate::daemon) struct Answer {
    /// The response, as it is sent.
    pub line: String,
    /// Whether it was done.
    pub done: bool,
}

/// The owner's queue. Its length is bounded by the connections of the control
/// socket, each of which waits for its answer, by one scrape of the metrics and
/// by one look at the network.
#[derive(Debug, Clone)]
pub(in crate::daemon) struct OwnerHandle {
    tasks: UnboundedSender<Task>,
    look_pending: Arc<AtomicBool>,
    ended: Arc<Notify>,
}

impl OwnerHandle {
    pub(super) fn new(tasks: UnboundedSender<Task>) -> Self {
        Self { tasks, look_pending: Arc::default(), ended: Arc::default() }
    }

    /// Notified when the owner's thread ends.
    pub(super) fn end_notifier(&self) -> Arc<Notify> {
        Arc::clone(&self.ended)
    }

    /// Has a command carried out.
    pub(in crate::daemon) async fn ask(&self, command: Command) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.send(Task::Command { command, reply });
        answer.await.unwrap_or_else(|_| Answer {
            line: serialize(&Response::<()>::failed(Failure::from(&DaemonError::Stopping))),
            done: false,
        })
    }

    /// Has a packet judged by a program to ask, and its outcome explained.
    pub(in crate::daemon) async fn explain(
        &self,
        packet: Packet,
        probe: Box<Probe>,
    ) -> Result<(Box<Probe>, Answer), DaemonError> {
        self.told(|reply| Task::Explain { packet, probe, reply }).await
    }

    /// What programs to ask are made of.
    pub(in crate::daemon) async fn origin(&self) -> Result<Arc<Origin>, DaemonError> {
        self.told(|reply| Task::Origin { reply }).await
    }

    /// A guarded interface; `None`: the first one.
    pub(in crate::daemon) async fn place(
        &self,
        interface: Option<String>,
    ) -> Result<Place, DaemonError> {
        self.told(|reply| Task::Place { interface, reply }).await?
    }

    /// The names of rules, by their numbers.
    pub(in crate::daemon) async fn rule_names(&self) -> Result<HashMap<u32, String>, DaemonError> {
        self.told(|reply| Task::RuleNames { reply }).await
    }

    /// What comes back of a task.
    async fn told<T>(
        &self,
        task: impl FnOnce(oneshot::Sender<T>) -> Task,
    ) -> Result<T, DaemonError> {
        let (reply, told) = oneshot::channel();
        self.send(task(reply));
        told.await.map_err(|_| DaemonError::Stopping)
    }

    /// Interfaces or routes may have changed.
    pub(in crate::daemon) fn look_at_network(&self) {
        if !self.look_pending.swap(true, Ordering::AcqRel) {
            self.send(Task::LookAtNetwork { pending: Arc::clone(&self.look_pending) });
        }
    }

    /// Set files may have changed.
    pub(in crate::daemon) fn look_at_files(&self) {
        self.send(Task::LookAtFiles);
    }

    /// The policy file is to be loaded again.
    pub(in crate::daemon) fn reload(&self) {
        self.send(Task::Reload);
    }

    /// A second is over.
    pub(in crate::daemon) fn tick(&self) {
        self.send(Task::Tick);
    }

    /// Everything was taken off, and the answer is sent.
    pub(in crate::daemon) fn stop_after_detach(&self) {
        self.send(Task::Stop);
    }

    /// The owner has ended.
    pub(in crate::daemon) async fn ended(&self) {
        self.ended.notified().await;
        // For whoever waits next.
        self.ended.notify_one();
    }

    /// Takes everything off and ends the owner.
    pub(in crate::daemon) async fn stop(&self) {
        self.send(Task::Stop);
        self.ended().await;
    }

    fn send(&self, task: Task) {
        // An owner that has ended does nothing any more.
        let _ = self.tasks.send(task);
    }
}

impl Source for OwnerHandle {
    async fn report(&self) -> Result<Report, String> {
        let (reply, answer) = oneshot::channel();
        self.send(Task::Scrape { reply });
        let told = answer.await.unwrap_or(Err(DaemonError::Stopping));
        told.map_err(|error| error.to_string())
    }
}
