//! A filter of one's own under a policy file: attached nowhere, asked by this
//! process alone.

use std::path::Path;

use super::{
    error::CliError,
    output::warn,
    policy::{absolute, invalid},
};
use crate::{
    compile::{Numbers, compile},
    control::Note,
    daemon::DaemonError,
    dataplane::{Options, Probe},
    policy::{self, Policy, Tables},
};

/// What the numbers of its program stand for.
pub(super) struct Private {
    pub policy: Policy,
    rules: Numbers,
    interfaces: Numbers,
}

impl Private {
    /// Under the policy of a file, with the program.
    pub(super) fn load(file: &Path) -> Result<(Self, Probe), CliError> {
        let loaded = policy::load(&absolute(file)).map_err(invalid)?;
        warn(&loaded.warnings.iter().map(Note::from).collect::<Vec<_>>());
        let policy = loaded.policy;
        let (mut rules, mut interfaces) = (Numbers::of_rules(), Numbers::of_interfaces());
        let tables = compile(&policy, &mut rules, &mut interfaces).map_err(DaemonError::from)?;
        // No bans are in it, and no flows are logged.
        let room = Tables { bans: 1, flow_log: 1, ..policy.tables };
        let options = Options { tables: room, ..Options::default() };
        let probe = Probe::private(&options, &tables).map_err(DaemonError::from)?;
        Ok((Self { policy, rules, interfaces }, probe))
    }

    /// Where a packet comes in: where it says, or on the first interface that
    /// the policy names.
    pub(super) fn interface(&self, said: Option<&str>) -> Option<String> {
        let first = || self.policy.interfaces.as_deref().and_then(<[String]>::first).cloned();
        said.map(str::to_owned).or_else(first)
    }

    /// Its number; all that no rule names are as one.
    pub(super) fn interface_number(&self, name: Option<&str>) -> u32 {
        name.and_then(|name| self.interfaces.get(name)).unwrap_or(0)
    }

    pub(super) fn rule_name(&self, number: u32) -> String {
        self.rules.name_of(number)
    }
}
