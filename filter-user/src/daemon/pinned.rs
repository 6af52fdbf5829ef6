//! What is attached while no daemon runs: told, and taken off, by its pins.

use std::path::Path;

use tokio::runtime;

use super::{
    DaemonError,
    network::{Network, Snapshot},
};
use crate::{
    control::{Detached, InterfaceEntry},
    dataplane::{LoadError, Pins, take_off_egress},
};

/// The interfaces of this network namespace with the filter on, by the pins in
/// a directory. Empty: nothing is pinned there.
///
/// # Errors
///
/// When the kernel does not list the interfaces.
pub fn attached(directory: &Path) -> Result<Vec<InterfaceEntry>, DaemonError> {
    let Some(pins) = Pins::existing(directory) else { return Ok(Vec::new()) };
    let snapshot = snapshot()?;
    let indexes = pins.interfaces();
    let attached = snapshot.links.iter().filter(|link| indexes.contains(&link.index));
    let entry = |link: &crate::dataplane::Interface| InterfaceEntry {
        name: link.name.clone(),
        attach: link.mode.map(|mode| mode.name().to_owned()),
        why: link.program.is_none().then(|| "the program was taken off by another hand".to_owned()),
    };
    Ok(attached.map(entry).collect())
}

/// Takes the filter off by its pins, and removes them. `None`: there are none.
///
/// # Errors
///
/// When a daemon uses them, or one cannot be removed.
pub fn detach(directory: &Path) -> Result<Option<Detached>, DaemonError> {
    if Pins::existing(directory).is_none() {
        return Ok(None);
    }
    let interfaces: Vec<String> =
        attached(directory)?.into_iter().map(|entry| entry.name).collect();
    let pins = Pins::open(directory).map_err(LoadError::from)?;
    pins.remove_all().map_err(LoadError::from)?;
    for name in &interfaces {
        take_off_egress(name).map_err(|reason| DaemonError::System {
            what: "taking the program off what is sent",
            reason,
        })?;
    }
    Ok(Some(Detached { interfaces }))
}

fn snapshot() -> Result<Snapshot, DaemonError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|reason| DaemonError::System { what: "starting the runtime", reason })?;
    runtime.block_on(async {
        let (network, _changes) = Network::connect().map_err(DaemonError::Netlink)?;
        network.snapshot().await.map_err(DaemonError::Network)
    })
}
