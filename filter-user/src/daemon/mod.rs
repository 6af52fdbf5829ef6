//! The daemon: brings the filter up, answers on the control socket, follows
//! interfaces and set files, and takes the filter off when it ends.
//!
//! One thread, the owner, has the data plane and everything that changes it,
//! and does one thing after the other. A runtime on the main thread waits for
//! what there is to do: requests, signals, netlink, files, and time.

mod error;
mod events;
mod flow_log;
mod follow;
mod log;
mod network;
mod owner;
mod server;
mod socket;
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
use self::{
    events::DropLog,
    network::Network,
    owner::{Contents, Owner, OwnerHandle, Start},
    socket::ControlSocket,
};
use crate::{control::Note, policy};

/// How the daemon is started.
#[derive(Debug)]
pub struct Options {
    /// When the process began.
    pub began: Instant,
    /// The policy file.
    pub config: PathBuf,
    /// Interfaces to guard instead of the policy's; empty: the policy's.
    pub interfaces: Vec<String>,
    /// The control socket.
    pub socket: PathBuf,
    /// For what later versions keep.
    pub state: Option<PathBuf>,
    /// For what later versions pin.
    pub pins: Option<PathBuf>,
}

/// Runs until it is told to end: by a signal, or by `detach`.
///
/// # Errors
///
/// When it could not start. Then nothing is attached.
pub fn run(options: Options) -> Result<(), DaemonError> {
    let config = std::path::absolute(&options.config).unwrap_or_else(|_| options.config.clone());
    let text = policy::read_text(&config)?;
    let mut contents = Contents::default();
    let loaded = policy::parse_with(&text, &config, &mut |path| contents.read(path))?;
    for warning in &loaded.warnings {
        warn!("{}", Note::from(warning));
    }
    if options.state.is_some() || options.pins.is_some() {
        warn!("--state and --pins have no effect yet: this version keeps and pins nothing");
    }
    let mut socket = ControlSocket::take(&options.socket)?;
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
        let drop_log = Arc::<DropLog>::default();
        let start = Start {
            began: options.began,
            text,
            file: config,
            loaded,
            contents,
            interfaces: options.interfaces,
            network,
            files_changed: Arc::clone(&files_changed),
            drop_log: Arc::clone(&drop_log),
        };
        let owner = Owner::spawn(start).await?;
        // The first moment at which others can connect: everything is guarded.
        if let Some(listener) = listen(&mut socket)? {
            tokio::spawn(server::serve(listener, owner.clone(), drop_log));
        }
        info!("listening on {}", options.socket.display());
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
        owner.stop().await;
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
