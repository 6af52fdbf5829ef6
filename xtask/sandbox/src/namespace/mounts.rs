//! What the mount namespace of a sandbox changes, and why it has one:
//!
//! - `/sys/class/net` shows the links of the network namespace that sysfs was
//!   mounted in; a daemon would read about the machine's own.
//! - Pins must not outlive a test that was killed, nor meet those of another:
//!   a bpffs that only this namespace sees goes with it.
//! - The same holds for sockets, state and policy files.

use std::{fs, io};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The private bpffs.
pub(super) const BPFFS: &str = "/sys/fs/bpf";
/// A tmpfs. It hangs below the bpffs because that is the one directory which
/// every kernel with BPF has, and in which directories can be made.
pub(super) const FILES: &str = "/sys/fs/bpf/sandbox";

/// Directories of sysfs that differ between network namespaces.
const OF_THE_NAMESPACE: [&str; 2] = ["class/net", "devices/virtual/net"];

const NONE: Option<&str> = None;

/// Changes the mounts of the calling thread, which has unshared them. Errors
/// name the step.
pub(super) fn mount_all() -> Result<(), (&'static str, io::Error)> {
    let at = |step| move |errno: nix::Error| (step, io::Error::from(errno));
    // Nothing that is mounted here reaches the machine; what the machine
    // unmounts is let go of here.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)
        .map_err(at("take its mounts from the machine's"))?;

    // A sysfs of this network namespace, of which two directories are kept:
    // mounted over /sys it would hide cgroups and tracing.
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("sysfs"), BPFFS, Some("sysfs"), quiet, NONE).map_err(at(
        "mount its sysfs on /sys/fs/bpf (which a kernel with CONFIG_BPF_SYSCALL has)",
    ))?;
    for directory in OF_THE_NAMESPACE {
        let from = format!("{BPFFS}/{directory}");
        let to = format!("/sys/{directory}");
        mount(Some(from.as_str()), to.as_str(), NONE, MsFlags::MS_BIND, NONE)
            .map_err(at("show its links in /sys"))?;
    }
    umount2(BPFFS, MntFlags::MNT_DETACH).map_err(at("take its sysfs away again"))?;

    mount(Some("bpf"), BPFFS, Some("bpf"), quiet, NONE).map_err(at("mount its bpffs"))?;
    fs::create_dir(FILES).map_err(|source| ("make a directory in its bpffs", source))?;
    mount(
        Some("tmpfs"),
        FILES,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=0755"),
    )
    .map_err(at("mount its tmpfs"))
}
