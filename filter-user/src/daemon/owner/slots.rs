//! Connections that are held: counts that agree with the kernel's sockets, and
//! the closing of those that are too many or idle.
//!
//! The program counts what it sees begin and end. A sweep through all sockets
//! adds those that are older than the program, and mends what it missed: another
//! `sock_ops` program may clear the flag by which it hears of a connection's end.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use filter_common::{
    Scope,
    read::Flow,
    slots,
    tables::{Slot, SourceKey, slot},
};
use nix::libc;
use tracing::{info, warn};

use super::Owner;
use crate::{
    compile::Tables,
    daemon::DaemonError,
    dataplane::Marks,
    model::Model,
    policy::{Mode, Rule},
    sockets::{Sockets, Tcp},
};

/// What is known of connections from one sweep to the next.
#[derive(Default)]
pub(super) struct Recount {
    sockets: Option<Sockets>,
    /// Tells which rule a connection counts for that is older than the program.
    policy: Policy,
    /// By key: how many fewer or more than the program has counted there were.
    differences: HashMap<SourceKey, i64>,
    /// That of the differences which two sweeps agreed on.
    mends: HashMap<SourceKey, i64>,
    /// What counted nothing at the last sweep.
    empty: HashSet<SourceKey>,
    /// Connections that came one too many, as far as they were looked at.
    surplus: u64,
    /// What is wrong was said already.
    said: bool,
    /// How much was mended since the start.
    pub drift: u64,
    /// Connections closed because they were too many.
    pub destroyed: u64,
    /// Connections closed because they were idle.
    pub idle: u64,
}

/// The policy in force; the model of it is made when it is first asked.
#[derive(Default)]
struct Policy {
    tables: Option<Tables>,
    model: Option<Model>,
}

impl Policy {
    fn model(&mut self) -> Option<&Model> {
        if let Some(tables) = self.tables.take() {
            self.model = Some(Model::new(tables));
        }
        self.model.as_ref()
    }
}

/// A connection, and what it is charged for.
struct Held {
    socket: Tcp,
    slot: Slot,
    /// By the program itself.
    counted: bool,
}

impl Owner {
    /// Follows another policy.
    pub(super) fn recount_under(&mut self, tables: Tables) {
        self.recount.policy = Policy { tables: Some(tables), model: None };
    }

    /// Begins to count. Before the first interface is guarded, so that no limit
    /// is judged by counts that are not there yet.
    pub(super) fn begin_to_count(&mut self) {
        if let Err(error) = self.plane.count_connections(None) {
            warn!(
                "connections are not counted as they come and go, but every few seconds only: {error}"
            );
        }
        match Sockets::open() {
            Ok(sockets) => self.recount.sockets = Some(sockets),
            Err(error) => warn!(
                "the kernel does not list its sockets ({error}): connections that are older than this daemon are not counted"
            ),
        }
        self.sweep_sockets();
        self.sweep_ports();
    }

    /// Sees from where this host's sockets speak, so that a flood to anywhere
    /// else costs no look at them. Without the program that tells when a socket
    /// begins to, one may speak from everywhere.
    pub(super) fn sweep_ports(&mut self) {
        if let Err(error) = self.settle_ports() {
            warn!(
                "it could not be told from where no socket speaks, so a flood to there costs a look at the sockets: {error}"
            );
        }
    }

    fn settle_ports(&mut self) -> Result<(), DaemonError> {
        let Some(sockets) = self.recount.sockets.as_ref() else { return Ok(()) };
        if !self.plane.slots_ref().is_attached() {
            return Ok(());
        }
        // At first none has fallen silent again.
        let is_first = self.ticks == 0;
        let before = if is_first { Marks::default() } else { self.plane.marks()? };
        let speakers = sockets
            .speakers()
            .map_err(|reason| DaemonError::System { what: "listing the sockets", reason })?;
        let missed = self.plane.settle_ports(&before, &speakers)?;
        if missed > 0 && !is_first {
            warn!(
                "{missed} times a socket was found speaking from where none was known to: another program on the cgroup root may keep nodewall's from running"
            );
        }
        Ok(())
    }

    /// Looks whether handshakes side by side have overshot a limit: then their
    /// connections are closed.
    pub(super) fn look_for_surplus(&mut self) {
        match self.plane.slots_ref().surplus() {
            Ok(surplus) if surplus == self.recount.surplus => {}
            Ok(surplus) => {
                self.recount.surplus = surplus;
                self.sweep_sockets();
            }
            Err(error) => warn!("{error}"),
        }
    }

    /// Compares the counts with the sockets there are, and closes what is to be
    /// closed.
    pub(super) fn sweep_sockets(&mut self) {
        match self.sweep() {
            Ok(()) => self.recount.said = false,
            Err(error) if !self.recount.said => {
                self.recount.said = true;
                warn!("connections could not be counted: {error}");
            }
            Err(_) => {}
        }
    }

    /// The connections of this network namespace's sockets; none where the kernel
    /// does not list them.
    pub(super) fn connections_of_sockets(&self) -> Result<Vec<Tcp>, DaemonError> {
        let Some(sockets) = &self.recount.sockets else { return Ok(Vec::new()) };
        let mut list = sockets
            .list(Some(self.plane.slots_ref().storage()))
            .map_err(|reason| DaemonError::System { what: "listing the sockets", reason })?;
        list.retain(|socket| {
            !socket.listens && !socket.half_open && !socket.remote.ip().is_loopback()
        });
        Ok(list)
    }

    fn sweep(&mut self) -> Result<(), DaemonError> {
        let Some(sockets) = &self.recount.sockets else { return Ok(()) };
        let before = self.plane.slots_ref().counted()?;
        let list = sockets
            .list(Some(self.plane.slots_ref().storage()))
            .map_err(|reason| DaemonError::System { what: "listing the sockets", reason })?;
        let after = self.plane.slots_ref().counted()?;
        let held = held(list, &mut self.recount.policy);
        let (mut counted, mut older) = (HashMap::new(), HashMap::new());
        for Held { slot, counted: by_program, .. } in &held {
            let sums = if *by_program { &mut counted } else { &mut older };
            for scope in Scope::ALL.iter().filter(|scope| slot.counts_in(**scope)) {
                *sums.entry(slot.key(*scope)).or_insert(0_i64) += 1;
            }
        }
        let recount = &mut self.recount;
        let keys: HashSet<SourceKey> = [&before, &after, &counted, &older]
            .into_iter()
            .flat_map(HashMap::keys)
            .chain(self.plane.slots_ref().corrections().keys())
            .copied()
            .collect();
        let mut empty = HashSet::new();
        for key in keys.iter().filter(|key| slots::is_foreign(key)) {
            // No list tells of containers. What was lost of a count goes with it.
            if after.get(key).is_some_and(|count| *count <= 0) {
                if recount.empty.contains(key) {
                    self.plane.slots().prune(key)?;
                } else {
                    empty.insert(*key);
                }
            }
        }
        let at = |map: &HashMap<SourceKey, i64>, key| map.get(key).copied().unwrap_or(0);
        for key in keys.iter().filter(|key| !slots::is_foreign(key)) {
            let (was, is) = (at(&before, key), at(&after, key));
            let (there, old) = (at(&counted, key), at(&older, key));
            let mend = at(&recount.mends, key);
            // While it changes nothing can be told.
            let difference = (was == is).then_some(there - is);
            let agreed = difference.filter(|found| recount.differences.get(key) == Some(found));
            let mend = match agreed {
                Some(found) if found != mend => {
                    // Each connection counts in the total.
                    if key.scope == Scope::Total as u32 {
                        recount.drift += found.abs_diff(mend);
                    }
                    recount.mends.insert(*key, found);
                    found
                }
                _ => mend,
            };
            match difference {
                Some(found) => recount.differences.insert(*key, found),
                None => recount.differences.remove(key),
            };
            if was == is && is + mend == 0 && there == 0 && old == 0 {
                if recount.empty.contains(key) {
                    self.plane.slots().prune(key)?;
                    self.plane.slots().correct(*key, 0)?;
                    recount.mends.remove(key);
                    recount.differences.remove(key);
                    continue;
                }
                empty.insert(*key);
            }
            self.plane.slots().correct(*key, old + mend)?;
        }
        recount.empty = empty;
        self.close(held)
    }

    /// Closes what came one too many, the newest first, and what is idle.
    fn close(&mut self, mut list: Vec<Held>) -> Result<(), DaemonError> {
        let policy = &self.in_force.loaded.policy;
        if policy.mode == Mode::Monitor {
            return Ok(());
        }
        let rules: HashMap<u32, &Rule> = policy
            .rules
            .iter()
            .filter(|rule| rule.mode == Mode::Enforce)
            .filter_map(|rule| Some((self.rule_numbers.get(&rule.name)?, rule)))
            .collect();
        let mut counts = self.plane.slots_ref().held()?;
        list.sort_by_key(|held| std::cmp::Reverse(held.slot.since));
        for Held { socket, slot, .. } in &list {
            let Some(rule) = rules.get(&slot.rule) else { continue };
            let is_over = |scope: &Scope| {
                let most = rule.limits(*scope).connections.map_or(u64::MAX, |n| n.get().into());
                counts.get(&slot.key(*scope)).is_some_and(|count| *count > most)
            };
            let is_surplus = slot.flags & slot::SURPLUS != 0 && Scope::ALL.iter().any(is_over);
            let is_idle = rule.idle_timeout.is_some_and(|timeout| socket.idle >= timeout);
            if !is_surplus && !is_idle {
                continue;
            }
            let Some(sockets) = &self.recount.sockets else { return Ok(()) };
            if let Err(error) = sockets.destroy(socket) {
                let why = match error.raw_os_error() {
                    Some(libc::EOPNOTSUPP) => {
                        "this kernel was built without INET_DIAG_DESTROY".to_owned()
                    }
                    _ => error.to_string(),
                };
                return Err(DaemonError::System {
                    what: "closing a connection",
                    reason: std::io::Error::other(why),
                });
            }
            let peer = socket.remote;
            if is_surplus {
                self.recount.destroyed += 1;
                for scope in Scope::ALL {
                    if let Some(count) = counts.get_mut(&slot.key(*scope)) {
                        *count = count.saturating_sub(1);
                    }
                }
                info!(rule = rule.name, "closed the connection of {peer}: one too many");
            } else {
                self.recount.idle += 1;
                info!(rule = rule.name, "closed the connection of {peer}: idle");
            }
        }
        Ok(())
    }
}

/// Who holds what: by the program's word where it has one; else by what the
/// policy says of a peer on a port where this host listens.
fn held(list: Vec<Tcp>, policy: &mut Policy) -> Vec<Held> {
    let ports: HashSet<u16> =
        list.iter().filter(|socket| socket.listens).map(|socket| socket.local.port()).collect();
    list.into_iter()
        .filter_map(|socket| {
            if socket.listens {
                return None;
            }
            if let Some(slot) = socket.slot {
                let charged = slot.flags & slot::RULE != 0;
                return charged.then_some(Held { socket, slot, counted: true });
            }
            if socket.half_open || !ports.contains(&socket.local.port()) {
                return None;
            }
            let slot = older(&socket, policy.model()?)?;
            Some(Held { socket, slot, counted: false })
        })
        .collect()
}

/// What a connection is charged for that is older than the program.
fn older(socket: &Tcp, model: &Model) -> Option<Slot> {
    let flow = Flow {
        source: canonical(socket.remote.ip()).into(),
        destination: canonical(socket.local.ip()).into(),
        source_port: socket.remote.port(),
        destination_port: socket.local.port(),
    };
    if slots::is_loopback(&flow.destination, &flow.source) {
        return None;
    }
    let number = slots::rule(model, &flow);
    let rule = filter_common::State::rule(model, number).filter(|_| number != 0)?;
    let slot = slots::unruled(model, &flow.source, 0);
    Some(Slot { rule: rule.id, flags: slot::RULE | slot::SCOPES, ..slot })
}

/// A socket of both families calls an IPv4 peer by its mapped address.
const fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
