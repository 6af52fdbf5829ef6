//! The daemon: brings the filter up, answers on the control socket, follows
//! interfaces and set files. The filter outlives it.
//!
//! One thread, the owner, has the data plane and everything that changes it,
//! and does one thing after the other. A runtime on the main thread waits for
//! what there is to do: requests, signals, netlink, files, and time.

mod error;
mod events;
mod first_policy;
mod flow_log;
mod follow;
mod log;
pub(crate) mod network;
mod owner;
mod pinned;
mod questions;
pub(crate) mod remembered;
pub(crate) mod server;
mod service;
mod socket;
mod stacks;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

pub use self::error::DaemonError;
pub use self::log::init as init_log;
pub use self::pinned::{attached, detach};
use self::{
    events::DropLog,
    network::Network,
    owner::{Owner, OwnerHandle, Start},
    remembered::Remembered,
    socket::ControlSocket,
};
use crate::{
    control::Note,
    dataplane::{LoadError, Pins},
    state::{StateDir, StateError, policies::Policies},
    telemetry::metrics,
};

/// How the daemon is started.
#[derive(Debug)]
pub struct Options {
    /// When the process began.
    pub began: Instant,
    /// The policy file.
    pub config: PathBuf,
    /// Start also where it locks out who is logged in.
    pub force: bool,
    /// Interfaces to guard instead of the policy's; empty: the policy's.
    pub interfaces: Vec<String>,
    /// The control socket.
    pub socket: PathBuf,
    /// Where it keeps what must survive a reboot.
    pub state: PathBuf,
    /// Where the filter is pinned; `None`: it ends with the daemon.
    pub pins: Option<PathBuf>,
    /// Another kernel side than the embedded one, as another version has it.
    pub object: Option<Vec<u8>>,
}

/// Runs until it is told to end: by a signal, or by `detach`.
///
/// # Errors
///
/// When it could not start. Then nothing is attached.
pub fn run(options: Options) -> Result<(), DaemonError> {
    let config = std::path::absolute(&options.config).unwrap_or_else(|_| options.config.clone());
    let mut socket = ControlSocket::take(&options.socket)?;
    let state = match StateDir::take(&options.state) {
        Err(error @ StateError::Locked(_)) => return Err(error.into()),
        // A host whose disk is broken is guarded all the same.
        taken => taken.inspect_err(|error| warn!("nothing will be saved: {error}")).ok(),
    };
    let policies = state.as_ref().map(|state| Policies::new(state.path()));
    let first = first_policy::choose(&config, policies.as_ref())?;
    for warning in &first.loaded.warnings {
        warn!("{}", Note::from(warning));
    }
    let pins = options.pins.as_deref().map(Pins::open).transpose().map_err(LoadError::from)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|reason| DaemonError::System { what: "starting the runtime", reason })?;
    // The socket goes before the runtime and the connections that it holds: when
    // a client sees its connection end, another daemon can start.
    runtime.block_on(async move {
        let (network, mut network_changes) = Network::connect().map_err(DaemonError::Netlink)?;
        let files_changed = Arc::new(Notify::new());
        let mut signals = Signals::new()?;
        let (endpoint, metrics) = metrics::endpoint();
        let drop_log = Arc::<DropLog>::default();
        let start = Start {
            began: options.began,
            file: config,
            first,
            force: options.force,
            interfaces: options.interfaces,
            pins,
            object: options.object,
            remembered: Remembered::load(state.as_ref().map(StateDir::path)),
            network,
            files_changed: Arc::clone(&files_changed),
            state: options.state,
            policies,
            metrics: endpoint,
            drop_log: Arc::clone(&drop_log),
        };
        let owner = Owner::spawn(start).await?;
        tokio::spawn(metrics.run(owner.clone()));
        // The first moment at which others can connect: everything is guarded.
        if let Some(listener) = listen(&mut socket)? {
            tokio::spawn(server::serve(listener, owner.clone(), drop_log));
        }
        info!("listening on {}", options.socket.display());
        service::ready();
        let handle = owner.clone();
        tokio::spawn(async move {
            while network_changes.next().await.is_some() {
                handle.look_at_network();
            }
            error!("the kernel tells of no more changes of interfaces: they are looked at every few seconds instead");
        });
        let handle = owner.clone();
        tokio::spawn(async move {
            loop {
                watch::settled(&files_changed).await;
                handle.look_at_files();
            }
        });
        until_the_end(&owner, &mut signals).await;
        service::stopping();
        owner.stop().await;
        drop(state);
        Ok(())
    })
}

fn listen(socket: &mut ControlSocket) -> Result<Option<tokio::net::UnixListener>, DaemonError> {
    let made = socket.listen()?.map(tokio::net::UnixListener::from_std).transpose();
    made.map_err(|reason| DaemonError::System { what: "waiting on the control socket", reason })
}

/// Hands on ticks and SIGHUP, until a signal or a request ends the daemon.
async fn until_the_end(owner: &OwnerHandle, signals: &mut Signals) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return info!("SIGTERM: stopping"),
            _ = signals.interrupt.recv() => return info!("SIGINT: stopping"),
            _ = signals.hangup.recv() => owner.reload(),
            _ = ticks.tick() => owner.tick(),
            () = owner.ended() => return,
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, DaemonError> {
        let on = |kind| {
            signal(kind)
                .map_err(|reason| DaemonError::System { what: "waiting for signals", reason })
        };
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }
}

/// Whether two paths name the same file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    one == other
        || match (one.canonicalize(), other.canonicalize()) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
}
