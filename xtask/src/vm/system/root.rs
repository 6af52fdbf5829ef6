//! The Debian system that the package is put on: made once by mmdebstrap, copied onto a disk for each kernel.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use toolchain::apt::Apt;

const SUITE: &str = "bookworm";

/// Besides the essential ones. sshd is there because the first policy asks where it listens.
const PACKAGES: &str = "dbus,ethtool,iproute2,kmod,openssh-server,systemd,systemd-sysv,udev";

/// Of the disk; what is not written takes no room.
const SIZE: &str = "800M";

/// The system, packed.
pub struct System {
    dir: PathBuf,
    archive: PathBuf,
}

/// What is put onto the disk besides.
pub struct Parts<'a> {
    /// The test executable.
    pub test: &'a Path,
    /// The package, and its newer version.
    pub packages: &'a [PathBuf; 2],
}

impl System {
    /// Takes the one in the directory, or makes it there.
    pub fn obtain(dir: &Path) -> Result<Self> {
        let archive = dir.join(format!("{SUITE}.tar"));
        // Another list of packages is another system.
        let contents = dir.join(format!("{SUITE}.packages"));
        let system = Self { dir: dir.to_owned(), archive };
        if system.archive.is_file()
            && fs::read_to_string(&contents).is_ok_and(|listed| listed == PACKAGES)
        {
            return Ok(system);
        }
        eprintln!("system: fetching Debian {SUITE}");
        let sources = Apt::of_suite(SUITE, &dir.join(".apt"))?;
        let new = dir.join("new.tar");
        let mut command = Command::new("mmdebstrap");
        command.arg("--variant=minbase").arg(format!("--include={PACKAGES}"));
        for kind in ["man", "locale", "info"] {
            command.arg(format!("--dpkgopt=path-exclude=/usr/share/{kind}/*"));
        }
        let log = dir.join("mmdebstrap.log");
        let written =
            fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.args(["--quiet", SUITE]).arg(&new).arg(sources.list());
        let status =
            command.stdin(Stdio::null()).stderr(written).status().context(
                "cannot start mmdebstrap: run `cargo xtask setup --all`, which installs it",
            )?;
        if !status.success() {
            bail!("mmdebstrap failed ({status}): see {}", log.display());
        }
        fs::rename(&new, &system.archive)
            .and_then(|()| fs::write(&contents, PACKAGES))
            .with_context(|| format!("cannot write {}", system.archive.display()))?;
        Ok(system)
    }

    /// A new disk with the system and its parts.
    pub fn disk(&self, name: &str, parts: &Parts<'_>) -> Result<PathBuf> {
        let root = self.dir.join(format!("{name}.root"));
        let disk = self.dir.join(format!("{name}.ext4"));
        remove(&root)?;
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        run(Command::new("tar")
            .args(["--extract", "--numeric-owner", "--file"])
            .arg(&self.archive)
            .arg("--directory")
            .arg(&root))?;
        fill(&root, parts).with_context(|| format!("cannot write into {}", root.display()))?;
        if disk.exists() {
            fs::remove_file(&disk).with_context(|| format!("cannot remove {}", disk.display()))?;
        }
        run(Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-d"])
            .arg(&root)
            .arg(&disk)
            .arg(SIZE))?;
        remove(&root)?;
        Ok(disk)
    }
}

fn fill(root: &Path, parts: &Parts<'_>) -> std::io::Result<()> {
    let executable = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    fs::copy(parts.test, root.join("test"))?;
    executable(&root.join("test"))?;
    fs::write(root.join("test.sh"), include_str!("test.sh"))?;
    executable(&root.join("test.sh"))?;
    fs::create_dir(root.join("packages"))?;
    for (number, package) in (1..).zip(parts.packages) {
        fs::copy(package, root.join(format!("packages/{number}.deb")))?;
    }
    let units = root.join("etc/systemd/system");
    fs::write(units.join("test.service"), include_str!("test.service"))?;
    fs::write(units.join("test.target"), include_str!("test.target"))?;
    fs::write(root.join("etc/hostname"), "guest\n")?;
    fs::write(root.join("etc/ssh/sshd_config.d/ports.conf"), "Port 22\nPort 2222\n")?;
    // What the service has logged must outlive the boot that is looked into.
    fs::create_dir_all(root.join("var/log/journal"))?;
    // Else the first boot is one of a system that is being set up, with questions to ask.
    fs::write(root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n")?;
    symlink("/usr/share/zoneinfo/UTC", root.join("etc/localtime")).or_else(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
    })
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status}): what it said is above");
    }
    Ok(())
}
