//! What this project runs in a guest: its kernel tests, or on a kernel that is too old the refusal of the daemon.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use toolchain::Toolchain;

use crate::{program, standalone};

use super::payload::{GuestFile, Payload};
use super::tools;

/// What must fail on a kernel that is too old, with one sentence that speaks of the kernel.
const REFUSED: [&str; 4] = ["/bin/nodewall", "run", "--config", "/etc/nodewall.toml"];

/// The policy for it: without a warning, and for an interface that every guest has, so that nothing but the kernel is in
/// the way.
const POLICY: &str = r#"
interfaces = ["dummy0"]
mode = "monitor"

[[rule]]
name = "ssh"
ports = ["tcp/22"]
"#;

/// The programs that go into guests.
pub struct Programs {
    nodewall: PathBuf,
    /// The kernel side that is wrong on purpose.
    mutant: PathBuf,
    tools: Vec<GuestFile>,
    /// Name and file of each test executable.
    tests: Vec<(String, PathBuf)>,
}

impl Programs {
    /// Builds them, linked statically, into the target directory `target`; cargo's own messages go to standard error.
    pub fn build(target: &Path, toolchain: &Toolchain) -> Result<Self> {
        let nodewall = standalone::nodewall(target, &[], &SETTINGS)?;
        let mut tests: Vec<_> = standalone::cargo(
            target,
            &["test", "--no-run", "--package", "nodewall-tests", "--test", "*"],
            &SETTINGS,
        )?
        .into_iter()
        .filter(|built| built.profile.test)
        .filter_map(|built| Some((built.target.name, built.executable?)))
        .collect();
        if tests.is_empty() {
            bail!(
                "package nodewall-tests has no test executable, so a guest would have nothing to run"
            );
        }
        tests.retain(|(name, _)| name != SYSTEM);
        let mutant = program::mutant(toolchain)?;
        Ok(Self { nodewall, mutant, tools: tools::files()?, tests })
    }

    /// Leaves out all test executables but these, if any are named.
    pub fn only(&mut self, names: &[String]) -> Result<()> {
        for name in names {
            if !self.tests.iter().any(|(other, _)| other == name) {
                let all: Vec<_> = self.tests.iter().map(|(name, _)| name.as_str()).collect();
                bail!("there is no test executable `{name}`, but these: {}", all.join(", "));
            }
        }
        self.tests.retain(|(name, _)| names.is_empty() || names.contains(name));
        Ok(())
    }

    /// Every test, one after the other as they share the guest, but of those that take long only `share`; `filter` are parts
    /// of the names of those to run.
    pub fn tests(&self, filter: &[String], share: Share) -> Payload {
        let mut payload = self.common();
        payload.files.extend(self.tools.iter().cloned());
        payload.files.push(GuestFile::copy(&self.mutant, MUTANT));
        payload.env.push(("NODEWALL_MUTANT_OBJECT".to_owned(), MUTANT.to_owned()));
        for (name, file) in &self.tests {
            let share = if name == LONG { share } else { Share::All };
            if share == Share::Nothing {
                continue;
            }
            let guest = format!("/tests/{name}");
            payload.files.push(GuestFile::copy(file, &guest));
            // Not captured: where a guest hangs, its console shows how far it came.
            let mut words = vec![guest, "--test-threads=1".to_owned(), "--nocapture".to_owned()];
            words.extend_from_slice(filter);
            if let Share::AllBut(modules) = share {
                words
                    .extend(modules.iter().flat_map(|it| ["--skip".to_owned(), format!("{it}::")]));
            }
            payload.commands.push(words);
        }
        payload
    }

    /// The daemon's refusal of a kernel that is too old.
    pub fn refusal(&self) -> Payload {
        let mut payload = self.common();
        payload.files.push(GuestFile::text("/bin/refuses.sh", 0o755, include_str!("refuses.sh")));
        payload.files.push(GuestFile::text("/etc/nodewall.toml", 0o644, POLICY));
        payload.commands.push(
            [&["/bin/refuses.sh"], REFUSED.as_slice()]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect(),
        );
        payload
    }

    fn common(&self) -> Payload {
        Payload {
            files: vec![GuestFile::copy(&self.nodewall, "/bin/nodewall")],
            commands: vec![],
            env: [("NODEWALL_BIN", "/bin/nodewall"), ("NODEWALL_VM", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }
    }
}

/// Builds the test for a guest that is a whole system, as [`Programs::build`] does.
pub fn system_test(target: &Path) -> Result<PathBuf> {
    let arguments = ["test", "--no-run", "--package", "nodewall-tests", "--test", SYSTEM];
    standalone::cargo(target, &arguments, &SETTINGS)?
        .into_iter()
        .find_map(|built| {
            (built.profile.test && built.target.name == SYSTEM).then_some(built.executable)?
        })
        .context("package nodewall-tests has no test executable `system`")
}

/// The test executable that takes longer than all others: each of its tests starts a daemon, whose programs an emulated
/// processor takes seconds to verify.
pub const LONG: &str = "e2e";

/// What of its tests a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    All,
    /// Without these modules.
    AllBut(&'static [&'static str]),
    Nothing,
}

/// Its modules that are about the controller more than about the kernel: each runs on one kernel alone.
pub const OLDEST_ALONE: [&str; 9] =
    ["account", "ban", "ban_state", "control", "doctor", "events", "explain", "flows", "lock_out"];
/// Likewise.
pub const NEWEST_ALONE: [&str; 13] = [
    "confirm",
    "input",
    "interfaces",
    "metrics",
    "monitor",
    "notify",
    "rate",
    "reload",
    "replay",
    "scale",
    "sets",
    "switch",
    "user",
];

/// Where a guest has the kernel side that is wrong on purpose.
const MUTANT: &str = "/mutant";

/// The test executable that wants a whole system.
const SYSTEM: &str = "system";

/// Guests are small and slow: no debug information, some optimisation.
const SETTINGS: [&str; 2] = ["profile.dev.debug=false", "profile.dev.opt-level=1"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_kernel_runs_alone_is_there_and_the_others_do_not_leave_it_out() {
        let modules = crate::outer::workspace().join("tests/tests").join(LONG);
        for name in OLDEST_ALONE.iter().chain(&NEWEST_ALONE) {
            assert!(modules.join(name).with_extension("rs").is_file(), "{name}");
        }
        assert!(OLDEST_ALONE.iter().all(|name| !NEWEST_ALONE.contains(name)));
    }
}
