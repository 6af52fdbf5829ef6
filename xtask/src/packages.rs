//! Debian packages with programs that tests, virtual machines and measurements start. Building needs none of them.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

/// A package, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Debian's name of it.
    pub name: &'static str,
    /// What does not work without it.
    pub purpose: &'static str,
}

const PACKAGES: [Package; 11] = [
    Package { name: "qemu-system-x86", purpose: "`cargo xtask vm` boots kernels in it" },
    Package { name: "busybox-static", purpose: "the user space of those virtual machines" },
    Package { name: "iperf3", purpose: "`cargo xtask bench` measures TCP throughput with it" },
    Package { name: "xdp-tools", purpose: "`cargo xtask bench` compares with its xdp-filter" },
    Package {
        name: "nftables",
        purpose: "the tests make containers with it, as Docker does; `cargo xtask bench` compares with it",
    },
    Package { name: "iptables", purpose: "`cargo xtask bench` compares with it" },
    Package { name: "ipset", purpose: "`cargo xtask bench` gives iptables its sets" },
    Package {
        name: "systemd",
        purpose: "the tests rate the service's unit with its systemd-analyze",
    },
    Package {
        name: "mmdebstrap",
        purpose: "`cargo xtask vm --systemd` makes a Debian system with it",
    },
    Package { name: "g++", purpose: "`cargo xtask fuzz` builds libFuzzer with it" },
    Package { name: "lintian", purpose: "`cargo xtask dist` has the Debian package judged by it" },
];

/// Those that are not installed.
///
/// # Errors
///
/// Where there is no dpkg to ask.
pub fn missing() -> Result<Vec<Package>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(PACKAGES.map(|package| package.name))
        // It complains of each package that it does not know.
        .stderr(Stdio::null())
        .output()
        .with_context(|| {
            format!(
                "cannot ask dpkg-query which packages are installed, as on a system that is not Debian; install there what has {}",
                names(&PACKAGES)
            )
        })?;
    let known = String::from_utf8_lossy(&output.stdout);
    Ok(not_among(&known))
}

/// Installs what is missing, as root; otherwise fails with the command that does.
///
/// # Errors
///
/// Where the user is not root, or apt-get fails.
pub fn install(say: &mut dyn FnMut(&str)) -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        say("the packages for tests, virtual machines and measurements are installed");
        return Ok(());
    }
    for Package { name, purpose } in &missing {
        say(&format!("missing package {name}: {purpose}"));
    }
    if !geteuid().is_root() {
        bail!(
            "installing packages needs root; run `sudo apt-get install -y --no-install-recommends {}`",
            names(&missing)
        );
    }
    say("refreshing the package lists");
    if apt_get(&["update", "-q"]).is_err() {
        // One of several sources may be away, and the lists that are there may do.
        say("apt-get could not refresh all lists; trying with those there are");
    }
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(missing.iter().map(|package| package.name));
    apt_get(&arguments)
}

fn names(packages: &[Package]) -> String {
    let names: Vec<_> = packages.iter().map(|package| package.name).collect();
    names.join(" ")
}

/// `known` has a line for each package that dpkg knows: its name and its state.
fn not_among(known: &str) -> Vec<Package> {
    let is_installed = |package: &Package| {
        known.lines().any(|line| line.split_once(' ') == Some((package.name, "installed")))
    };
    PACKAGES.into_iter().filter(|package| !is_installed(package)).collect()
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .context("cannot start apt-get")?;
    if !status.success() {
        bail!("`apt-get {}` failed ({status}): its messages are above", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_fully_installed_counts() {
        let known = "busybox-static installed\niperf3 config-files\nqemu-system-x86 installed\n";
        let missing: Vec<_> = not_among(known).iter().map(|package| package.name).collect();
        assert_eq!(
            missing,
            [
                "iperf3",
                "xdp-tools",
                "nftables",
                "iptables",
                "ipset",
                "systemd",
                "mmdebstrap",
                "g++",
                "lintian"
            ]
        );
    }

    #[test]
    fn the_command_names_each_package() {
        assert_eq!(names(&PACKAGES[1..3]), "busybox-static iperf3");
    }
}
