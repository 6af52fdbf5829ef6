//! What the service manager is told (`sd_notify(3)`): that the daemon is
//! ready, what it does, that it lives. Where none listens, nothing is said.

use sd_notify::NotifyState;
use tracing::warn;

use crate::{control::InterfaceEntry, policy::Mode};

/// Everything is guarded, and the control socket is open.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The policy file is being loaded again. [`ready`] ends it, also where the
/// earlier policy stands.
pub(super) fn reloading() {
    // With the time `Type=notify-reload` knows which reload this is.
    let states = [Ok(NotifyState::Reloading), NotifyState::monotonic_usec_now()];
    let states: Vec<_> = states.into_iter().flatten().collect();
    tell(&states);
}

/// The daemon is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// What the owner says of itself. Only its own thread may hold this: that the
/// service lives must come from the thread that could hang.
#[derive(Debug)]
pub(super) struct Line {
    said: String,
    watched: bool,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { said: String::new(), watched: sd_notify::watchdog_enabled().is_some() }
    }

    /// The line that `systemctl status` shows, where it has changed.
    pub(super) fn status(&mut self, mode: Mode, generation: u64, interfaces: &[InterfaceEntry]) {
        let line = in_brief(mode, generation, interfaces);
        if line != self.said {
            tell(&[NotifyState::Status(&line)]);
            self.said = line;
        }
    }

    /// The owner has done what there was to do.
    pub(super) fn alive(&self) {
        if self.watched {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(
            "the service manager cannot be told of the daemon's state ({error}): see that its socket NOTIFY_SOCKET is there, or start the daemon without that variable"
        );
    }
}

fn in_brief(mode: Mode, generation: u64, interfaces: &[InterfaceEntry]) -> String {
    let (guarded, missing): (Vec<_>, Vec<_>) =
        interfaces.iter().partition(|interface| interface.attach.is_some());
    let guarded: Vec<String> = guarded
        .iter()
        .map(|InterfaceEntry { name, attach, .. }| {
            format!("{name} ({})", attach.as_deref().unwrap_or_default())
        })
        .collect();
    let mut line = match guarded.as_slice() {
        [] => "guarding no interface".to_owned(),
        some => format!("guarding {}", some.join(", ")),
    };
    line += &format!("; {mode}, generation {generation}");
    if !missing.is_empty() {
        let missing: Vec<_> = missing.iter().map(|interface| interface.name.as_str()).collect();
        line += &format!("; not guarded: {}", missing.join(", "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, attach: Option<&str>) -> InterfaceEntry {
        InterfaceEntry { name: name.to_owned(), attach: attach.map(str::to_owned), why: None }
    }

    #[test]
    fn the_line_names_each_interface_with_what_matters_first() {
        assert_eq!(in_brief(Mode::Monitor, 1, &[]), "guarding no interface; monitor, generation 1");
        let interfaces = [
            interface("eth0", Some("native")),
            interface("eth1", None),
            interface("wg0", Some("generic")),
        ];
        assert_eq!(
            in_brief(Mode::Enforce, 3, &interfaces),
            "guarding eth0 (native), wg0 (generic); enforce, generation 3; not guarded: eth1"
        );
    }
}
