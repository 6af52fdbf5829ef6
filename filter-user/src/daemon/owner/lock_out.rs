//! No lock-out: what would refuse those who are logged in by SSH is refused.

use std::net::IpAddr;

use filter_common::{Reason, Verdict};
use ipnet::IpNet;
use thiserror::Error;

use super::Owner;
use crate::{
    compile::compile,
    daemon::DaemonError,
    model::Model,
    policy::{Mode, Policy},
    sockets::Sockets,
    ssh::{self, Session},
};

/// What would become of a new connection like one that is open.
#[derive(Debug, Error)]
#[error(
    "{peer} is connected to the SSH server at port {port}, and could not connect again: on interface {interface} it would be dropped as {}. {}; with `--force` it is done all the same",
    reason.name(), remedy(self)
)]
pub struct LockOut {
    peer: IpAddr,
    port: u16,
    interface: String,
    reason: Reason,
}

fn remedy(it: &LockOut) -> String {
    match it.reason {
        Reason::Denied => format!("Take {} out of `[sources] denied`", it.peer),
        Reason::Banned => format!("Leave out the ban that holds {}", it.peer),
        _ => format!(
            "Missing is a `[[rule]]` with `ports = [\"tcp/{}\"]` whose `from` holds {}",
            it.port, it.peer
        ),
    }
}

impl Owner {
    /// Whether those who are logged in by SSH could log in again under a policy.
    pub(super) fn check_lock_out(&self, policy: &Policy, force: bool) -> Result<(), DaemonError> {
        if force || policy.mode == Mode::Monitor {
            return Ok(());
        }
        let sessions = self.sessions();
        if sessions.is_empty() {
            return Ok(());
        }
        let (mut rules, mut numbers) = (self.rule_numbers.clone(), self.interface_numbers.clone());
        let mut model = Model::new(compile(policy, &mut rules, &mut numbers)?);
        let snapshot = self.snapshot()?;
        let wanted = self.guarded.wanted(policy, &snapshot);
        let bans = self.plane.bans_ref();
        for session in sessions {
            for ban in
                bans.after(None).map(|(net, _)| net).filter(|net| net.contains(&session.peer))
            {
                model.ban(*ban, u64::MAX);
            }
            let by_route = self
                .runtime
                .block_on(self.network.interface_to(session.peer))
                .and_then(|index| snapshot.links.iter().find(|link| link.index == index));
            // Where the route is not known, any of them may be meant.
            let interfaces: Vec<&str> = match by_route {
                Some(link) => vec![link.name.as_str()],
                None => wanted.iter().map(String::as_str).collect(),
            };
            for interface in interfaces.into_iter().filter(|name| wanted.contains(*name)) {
                model.interface = numbers.get_or_add(interface).unwrap_or(0);
                let outcome = model.judge(&syn(&session));
                if outcome.verdict() == Verdict::Drop {
                    let (peer, port) = (session.peer, session.local.port());
                    let interface = interface.to_owned();
                    let reason = outcome.reason;
                    return Err(LockOut { peer, port, interface, reason }.into());
                }
            }
        }
        Ok(())
    }

    /// Whether bans hold somebody who is logged in by SSH, and is not trusted.
    pub(super) fn check_ban_lock_out(
        &self,
        prefixes: &[IpNet],
        force: bool,
    ) -> Result<(), DaemonError> {
        let policy = &self.in_force.loaded.policy;
        if force || policy.mode == Mode::Monitor {
            return Ok(());
        }
        let trusted = |peer: &IpAddr| policy.trusted.iter().any(|net| net.contains(peer));
        for Session { peer, local } in self.sessions() {
            if !trusted(&peer) && prefixes.iter().any(|net| net.contains(&peer)) {
                let interface = self.guarded.names().join(", ");
                let (port, reason) = (local.port(), Reason::Banned);
                return Err(LockOut { peer, port, interface, reason }.into());
            }
        }
        Ok(())
    }

    /// Who is logged in by SSH; nobody, where the sockets are not to be seen.
    fn sessions(&self) -> std::collections::BTreeSet<Session> {
        let listed = Sockets::open().and_then(|sockets| sockets.list(None));
        ssh::sessions(&listed.unwrap_or_default())
    }
}

/// The first segment of a new connection: from another port than the one that
/// is open.
fn syn(session: &Session) -> Vec<u8> {
    const SOURCE_PORT: u16 = 54_321;
    const TCP: u8 = 6;
    let mut frame = vec![0; 12];
    match (session.peer, session.local.ip()) {
        (IpAddr::V4(peer), IpAddr::V4(local)) => {
            frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, TCP, 0, 0]);
            frame.extend(peer.octets());
            frame.extend(local.octets());
        }
        (peer, local) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, TCP, 64]);
            frame.extend(octets(peer));
            frame.extend(octets(local));
        }
    }
    frame.extend(SOURCE_PORT.to_be_bytes());
    frame.extend(session.local.port().to_be_bytes());
    // Numbers, a header of five words, SYN, the window, and the rest.
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compile::Numbers, policy};

    #[test]
    fn the_segment_is_what_a_rule_admits() -> Result<(), Box<dyn std::error::Error>> {
        let text = "[[rule]]\nname = \"ssh\"\nports = [\"tcp/2222\"]\nfrom = [\"192.0.2.7\", \"2001:db8::/64\"]\n";
        let loaded = policy::parse(text, std::path::Path::new("/p"))?;
        let (mut rules, mut numbers) = (Numbers::of_rules(), Numbers::of_interfaces());
        let model = Model::new(compile(&loaded.policy, &mut rules, &mut numbers)?);
        for (peer, local, reason) in [
            ("192.0.2.7", "198.51.100.1:2222", Reason::Rule),
            ("192.0.2.8", "198.51.100.1:2222", Reason::SourceNotAllowed),
            ("192.0.2.7", "198.51.100.1:22", Reason::PortClosed),
            ("2001:db8::7", "[2001:db8:1::1]:2222", Reason::Rule),
            ("2001:db8:5::7", "[2001:db8:1::1]:2222", Reason::SourceNotAllowed),
        ] {
            let session = Session { peer: peer.parse()?, local: local.parse()? };
            assert_eq!(model.judge(&syn(&session)).reason, reason, "{peer} {local}");
        }
        Ok(())
    }
}
