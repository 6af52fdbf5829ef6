//! Whether this process can make a sandbox at all.

use std::fs;

use crate::{Error, Namespace, Veth, VethOptions};

/// Something that a sandbox needs and that is not there. Its text is a whole
/// sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// A capability (capabilities(7)).
    #[error(
        "This process lacks the capability {0}; run it as root, and outside of a container that drops it."
    )]
    Capability(&'static str),
    /// The kernel's file system for pinned BPF objects.
    #[error("The kernel has no BPF file system; it needs CONFIG_BPF_SYSCALL.")]
    Bpffs,
    /// What came of the attempt.
    #[error("No sandbox can be made here: {0}.")]
    Failed(#[from] Error),
}

/// Capabilities that are used, with their bit in `/proc/self/status`
/// (linux/capability.h).
const CAPABILITIES: [(u32, &str); 3] =
    [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (21, "CAP_SYS_ADMIN")];

/// What this process lacks to make a sandbox; empty if it can. It tries, which
/// takes some milliseconds and leaves nothing.
#[must_use]
pub fn requirements() -> Vec<Missing> {
    let held = effective_capabilities();
    let mut missing: Vec<Missing> = CAPABILITIES
        .into_iter()
        .filter(|(bit, _)| held >> bit & 1 == 0)
        .map(|(_, name)| Missing::Capability(name))
        .collect();
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.split_whitespace().last() == Some("bpf")) {
        missing.push(Missing::Bpffs);
    }
    if missing.is_empty() {
        missing.extend(try_out().err().map(Missing::Failed));
    }
    missing
}

fn try_out() -> Result<(), Error> {
    let namespace = Namespace::new("requirements")?;
    Veth::new((&namespace, "a"), (&namespace, "b"), VethOptions::default())?;
    Ok(())
}

/// The bits of `CapEff`; none where it cannot be read.
fn effective_capabilities() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(bits.trim(), 16).ok()
        })
        .unwrap_or(0)
}
