//! Drops, one by one: takes them out of the kernel's ring, keeps the last, and
//! hands them to whoever follows and to the journal.

mod allowance;
mod drop_log;
mod told;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::interval};
use tracing::{Level, error, info};

use self::allowance::Allowance;
pub(super) use self::{
    drop_log::DropLog,
    told::{Names, protocol_name},
};
use crate::{
    control::DropEvent,
    dataplane::{Events, MapFault, monotonic},
    policy::Rate,
};

/// What `RUST_LOG` and the journal call the drops.
pub(super) const TARGET: &str = "nodewall::drops";
/// Between looks at the ring. Waiting for it takes unsafe code, and this is also
/// how often the program is granted more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the policy in force says of drops and flows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// How many are shown; `None`: none.
    pub drops: Option<Rate>,
    /// Where flows are logged; `None`: they are not.
    pub flows: Option<PathBuf>,
    pub names: Arc<Names>,
    /// The interfaces that are guarded.
    pub guarded: Vec<String>,
}

/// Takes events out of the ring.
pub(super) struct Collector {
    events: Events,
    allowance: Allowance,
    settings: watch::Receiver<Settings>,
    log: Arc<DropLog>,
}

impl Collector {
    pub(super) fn new(
        events: Events,
        settings: watch::Receiver<Settings>,
        log: Arc<DropLog>,
    ) -> Result<Self, MapFault> {
        let allowance = Allowance::new(Instant::now(), events.taken()?);
        Ok(Self { events, allowance, settings, log })
    }

    /// Collects until nobody has settings for it any more.
    pub(super) async fn run(mut self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.settings.has_changed().is_ok() {
            looks.tick().await;
            if let Err(error) = self.look() {
                return error!("drops are not shown any more, counters tell of them: {error}");
            }
        }
    }

    /// Takes what came, and says how many more may come.
    pub(super) fn look(&mut self) -> Result<(), MapFault> {
        let settings = self.settings.borrow_and_update();
        let mut come = Vec::new();
        let now = monotonic();
        while let Some(event) = self.events.next_event() {
            let since = Duration::from_nanos(now.saturating_sub(event.time));
            come.push(settings.names.tell(&event, since));
        }
        if tracing::enabled!(target: TARGET, Level::INFO) {
            come.iter().for_each(to_journal);
        }
        self.log.add(come);
        let taken = self.events.taken()?;
        self.log.count(taken, self.events.lost()?);
        let granted = self.allowance.granted(settings.drops, Instant::now(), taken);
        self.events.grant(granted)
    }
}

/// One entry, each part a field of its own.
fn to_journal(event: &DropEvent) {
    let text = |address: Option<std::net::IpAddr>| address.map(|address| address.to_string());
    let (source, destination) = (text(event.source), text(event.destination));
    info!(
        target: TARGET,
        interface = event.interface,
        verdict = event.verdict,
        reason = event.reason,
        rule = event.rule,
        scope = event.scope,
        source = source,
        destination = destination,
        protocol = event.protocol,
        source_port = event.source_port,
        destination_port = event.destination_port,
        flags = event.flags,
        icmp_type = event.icmp_type,
        icmp_code = event.icmp_code,
        length = event.length,
        not_shown = event.not_shown,
        "{} {}: {event}",
        event.verdict,
        event.reason,
    );
}
