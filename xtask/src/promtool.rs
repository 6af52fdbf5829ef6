//! Prometheus' checker, for the tests of metrics, dashboard and alerts.
//!
//! Debian has it in the package of the server, which would start a service: so it is unpacked, not installed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toolchain::apt::Apt;

use crate::outer::workspace;

/// Where the tests look for it, below the workspace.
const HERE: &str = ".toolchain/promtool";
/// Where the package has it.
const IN_PACKAGE: &str = "usr/bin/promtool";

/// Puts it below the workspace, where it is not there already and not installed either.
///
/// # Errors
///
/// Where the package cannot be had: then its tests are passed over.
pub fn ensure(say: &mut dyn FnMut(&str)) -> Result<()> {
    let here = workspace().join(HERE);
    if here.is_file() || Path::new("/").join(IN_PACKAGE).is_file() {
        say("promtool is there, and checks metrics, dashboard and alerts");
        return Ok(());
    }
    say("fetching promtool, which checks metrics, dashboard and alerts");
    let suite = suite(&fs::read_to_string("/etc/os-release").unwrap_or_default())
        .context("promtool is fetched from Debian, and this is another system: install the package that has it")?;
    let dir = workspace().join("target/promtool");
    let packages = dir.join("packages");
    fs::create_dir_all(&packages).with_context(|| format!("cannot make {}", packages.display()))?;
    let apt = Apt::of_suite(&suite, &dir.join("apt"))?;
    apt.update()?;
    for package in apt.download(&["prometheus"], &packages)? {
        Apt::unpack(&package, &dir.join("unpacked"))?;
    }
    let unpacked = dir.join("unpacked").join(IN_PACKAGE);
    fs::copy(&unpacked, &here)
        .with_context(|| format!("cannot copy {} to {}", unpacked.display(), here.display()))?;
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
}

/// The suite that a Debian system is of, by its os-release(5).
fn suite(release: &str) -> Option<String> {
    let field = |key: &str| {
        let value = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim_matches('"').to_owned())
    };
    (field("ID")? == "debian").then(|| field("VERSION_CODENAME"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_is_that_of_the_system() {
        let debian = "PRETTY_NAME=\"Debian\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(suite(debian).as_deref(), Some("bookworm"));
        assert_eq!(suite("ID=fedora\nVERSION_CODENAME=\"\"\n"), None);
        assert_eq!(suite(""), None);
    }
}
