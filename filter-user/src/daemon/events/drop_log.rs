//! The last drops that were shown, and who follows those to come.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

use crate::control::{DropEvent, Log};

/// Events that are kept.
const KEPT: usize = 4096;
/// Batches that wait for whoever follows. One comes ten times a second at most.
const WAITING: usize = 64;

/// The last drops.
#[derive(Debug)]
pub(in crate::daemon) struct DropLog {
    kept: Mutex<Kept>,
    batches: Sender<Batch>,
    shown: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<DropEvent>,
    /// How many there have been.
    count: u64,
}

/// Events that came together.
#[derive(Debug, Clone)]
struct Batch {
    /// How many there had been before them.
    before: u64,
    events: std::sync::Arc<[DropEvent]>,
}

impl Default for DropLog {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            batches: channel(WAITING).0,
            shown: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }
}

impl DropLog {
    /// Adds what came.
    pub(super) fn add(&self, events: Vec<DropEvent>) {
        if events.is_empty() {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.count;
        kept.count += events.len() as u64;
        kept.events.extend(events.iter().cloned());
        let excess = kept.events.len().saturating_sub(KEPT);
        kept.events.drain(..excess);
        // Nobody needs to follow. Sent under the lock, so that whoever begins
        // to gets each event once.
        let _ = self.batches.send(Batch { before, events: events.into() });
    }

    /// Notes what the kernel says of all events since the maps were made.
    pub(super) fn count(&self, taken: u64, lost: u64) {
        self.shown.store(taken.saturating_sub(lost), Ordering::Relaxed);
        self.lost.store(lost, Ordering::Relaxed);
    }

    /// How many were shown, and how many were to be and found the ring full.
    pub(in crate::daemon) fn counts(&self) -> (u64, u64) {
        (self.shown.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }

    /// The last events, so many at most.
    pub(in crate::daemon) fn last(&self, most: Option<u32>) -> Log {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).last(most)
    }

    /// The last events, and those to come.
    pub(in crate::daemon) fn follow(&self, most: Option<u32>) -> (Log, Follower) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.last(most), Follower { batches: self.batches.subscribe(), next: kept.count })
    }
}

impl Kept {
    fn last(&self, most: Option<u32>) -> Log {
        let most = most.map_or(usize::MAX, |most| most as usize);
        let skip = self.events.len().saturating_sub(most);
        Log { events: self.events.iter().skip(skip).cloned().collect(), missed: 0 }
    }
}

/// One who follows. Who is slow loses the oldest of what waits, and is told how many.
#[derive(Debug)]
pub(in crate::daemon) struct Follower {
    batches: Receiver<Batch>,
    /// The number of the event that comes next.
    next: u64,
}

impl Follower {
    /// What came since; waits for something to come. `None`: nothing will.
    pub(in crate::daemon) async fn next(&mut self) -> Option<Log> {
        loop {
            match self.batches.recv().await {
                Ok(Batch { before, events }) => {
                    let missed = before - self.next;
                    self.next = before + events.len() as u64;
                    return Some(Log { events: events.to_vec(), missed });
                }
                // The next that is there tells how many are missing.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(not_shown: u64) -> DropEvent {
        DropEvent {
            time: String::new(),
            interface: "eth0".to_owned(),
            verdict: "drop".to_owned(),
            reason: "port_closed".to_owned(),
            rule: None,
            scope: None,
            source: None,
            destination: None,
            protocol: None,
            source_port: None,
            destination_port: None,
            flags: None,
            icmp_type: None,
            icmp_code: None,
            length: 60,
            not_shown,
        }
    }

    fn numbers(log: &Log) -> Vec<u64> {
        log.events.iter().map(|event| event.not_shown).collect()
    }

    #[test]
    fn the_last_are_kept() {
        let log = DropLog::default();
        log.add((0..5000).map(event).collect());
        assert_eq!(log.last(None).events.len(), KEPT);
        assert_eq!(numbers(&log.last(Some(2))), [4998, 4999]);
    }

    #[tokio::test]
    async fn who_follows_gets_each_once_and_is_told_what_is_missing() {
        let log = DropLog::default();
        log.add(vec![event(0), event(1)]);
        let (first, mut follower) = log.follow(Some(1));
        assert_eq!(numbers(&first), [1]);
        log.add(vec![event(2)]);
        let next = follower.next().await.map(|log| (numbers(&log), log.missed));
        assert_eq!(next, Some((vec![2], 0)));
        for number in 0..100 {
            log.add(vec![event(number), event(number)]);
        }
        let (mut seen, mut missed) = (0, 0);
        while seen + missed < 200 {
            let Some(next) = follower.next().await else { break };
            seen += next.events.len() as u64;
            missed += next.missed;
        }
        assert_eq!((seen, missed), (2 * WAITING as u64, 200 - 2 * WAITING as u64));
        drop(log);
        assert_eq!(follower.next().await, None);
    }
}
