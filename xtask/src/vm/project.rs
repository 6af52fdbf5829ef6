//! What this project runs in a guest: its kernel tests, or on a kernel that is too old the refusal of the daemon.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::outer;

use super::payload::{GuestFile, Payload};

const TARGET: &str = "x86_64-unknown-linux-gnu";

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
    /// Name and file of each test executable.
    tests: Vec<(String, PathBuf)>,
}

impl Programs {
    /// Builds them, linked statically, into the target directory `target`; cargo's own messages go to standard error.
    pub fn build(target: &Path) -> Result<Self> {
        let nodewall = cargo(target, ["build", "--package", "filter-user", "--bin", "nodewall"])?
            .into_iter()
            .find_map(|built| {
                (!built.profile.test && built.target.name == "nodewall")
                    .then_some(built.executable)?
            })
            .context("cargo built package filter-user and named no program `nodewall`")?;
        let tests: Vec<_> =
            cargo(target, ["test", "--no-run", "--package", "nodewall-tests", "--test", "*"])?
                .into_iter()
                .filter(|built| built.profile.test)
                .filter_map(|built| Some((built.target.name, built.executable?)))
                .collect();
        if tests.is_empty() {
            bail!(
                "package nodewall-tests has no test executable, so a guest would have nothing to run"
            );
        }
        Ok(Self { nodewall, tests })
    }

    /// Every test, one after the other as they share the guest; `filter` is a part of the names of those to run.
    pub fn tests(&self, filter: Option<&str>) -> Payload {
        let mut payload = self.common();
        for (name, file) in &self.tests {
            let guest = format!("/tests/{name}");
            payload.files.push(GuestFile::copy(file, &guest));
            // Not captured: where a guest hangs, its console shows how far it came.
            let mut words = vec![guest, "--test-threads=1".to_owned(), "--nocapture".to_owned()];
            match filter {
                Some(filter) => words.push(filter.to_owned()),
                None => words.extend(chosen(name)),
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

/// What cargo says of each thing it built; other messages have other fields.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

fn cargo<'a>(target: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Result<Vec<Artifact>> {
    let mut command = outer::cargo();
    let flags = format!("target.{TARGET}.rustflags=['-C', 'target-feature=+crt-static']");
    command
        .args(arguments)
        .args(["--target", TARGET, "--message-format=json-render-diagnostics", "--config", &flags])
        // Guests are small and slow: no debug information, some optimisation. As arguments, because the build of the
        // kernel side, which runs within this one, would inherit variables.
        .args(["--config", "profile.dev.debug=false", "--config", "profile.dev.opt-level=1"])
        .arg("--target-dir")
        .arg(target)
        // These would take the place of the flags above.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo's output is piped")?;
    let mut built = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo says")?;
        built.extend(serde_json::from_str::<Artifact>(&line).ok());
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("the programs for the guests did not build: what cargo said is above");
    }
    Ok(built)
}

/// Which tests of an executable run where none is asked for. An emulated
/// processor is some ten times slower, and a guest has one: what a kernel can
/// change is tested there (the verifier, the helpers, the maps, real sockets),
/// not what takes long or wants a second processor. The host runs them all.
fn chosen(executable: &str) -> Vec<String> {
    let (flag, tests): (Option<&str>, &[&str]) = match executable {
        "verdict" => (Some("--skip"), &["switch::", "parallel::", "lists::short", "essential::"]),
        "e2e" => (None, &["connect::", "reply::"]),
        _ => (None, &[]),
    };
    tests.iter().flat_map(|test| flag.into_iter().chain([*test]).map(str::to_owned)).collect()
}
