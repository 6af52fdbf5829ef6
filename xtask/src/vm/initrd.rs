//! The first root file system of a guest: busybox, the modules it loads, what it runs.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::Object;
use object::read::elf::{ElfFile64, ProgramHeader};

use super::cpio::Archive;
use super::modules::ModuleIndex;
use super::payload::Payload;

/// What the filter and its tests use that Debian's kernels have as modules; what these depend on comes by itself. The last
/// line makes containers.
const MODULES: [&str; 15] = [
    "veth",
    "dummy",
    "tun",
    "sch_ingress",
    "cls_bpf",
    "bridge",
    "8021q",
    "tcp_diag",
    "udp_diag",
    "raw_diag",
    "nf_tables",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nf_conntrack_netlink",
];

/// What besides these a guest uses whose root is on a disk, and that finds no module there.
const MODULES_OF_SYSTEM: [&str; 2] = ["virtio_pci", "virtio_blk"];

const DIRECTORIES: [&str; 11] =
    ["bin", "sbin", "etc", "root", "proc", "sys", "dev", "tmp", "run", "modules", "var"];

/// Finds busybox, linked statically.
pub fn find_busybox() -> Result<PathBuf> {
    const WHERE: [&str; 4] =
        ["/usr/bin/busybox", "/bin/busybox", "/usr/sbin/busybox", "/usr/local/bin/busybox"];
    for path in WHERE.map(Path::new) {
        if path.exists()
            && !needs_interpreter(
                &fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
            )
        {
            return Ok(path.to_owned());
        }
    }
    bail!(
        "a virtual machine needs a statically linked busybox (Debian's package busybox-static), and this machine has none: run `cargo xtask setup --all`"
    )
}

/// What the archive's first process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// Runs the payload.
    Payload,
    /// Hands over to the system on the disk.
    Disk,
}

/// Writes the archive for the kernel whose modules are in `modules` to `out`, uncompressed.
pub fn build(
    out: &Path,
    busybox: &Path,
    modules: &Path,
    init: Init,
    payload: &Payload,
) -> Result<()> {
    let cannot = || format!("cannot write {}: is the disk full?", out.display());
    let mut archive = Archive::new(BufWriter::new(File::create(out).with_context(cannot)?));
    for name in DIRECTORIES {
        archive.directory(name).with_context(cannot)?;
    }
    // Before devtmpfs is mounted the kernel opens this for the first process.
    archive.character_device("dev/console", 5, 1).with_context(cannot)?;
    let busybox =
        fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    archive.file("bin/busybox", 0o755, &busybox).with_context(cannot)?;
    let (script, more): (&[u8], &[&str]) = match init {
        Init::Payload => (include_bytes!("init.sh"), &[]),
        Init::Disk => (include_bytes!("system/init.sh"), &MODULES_OF_SYSTEM),
    };
    archive.file("init", 0o755, script).with_context(cannot)?;
    archive.file("payload.sh", 0o644, payload.script().as_bytes()).with_context(cannot)?;
    // Programs look these up for the names of users and of this host.
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n").with_context(cannot)?;
    archive.file("etc/group", 0o644, b"root:x:0:\n").with_context(cannot)?;
    archive
        .file("etc/hosts", 0o644, b"127.0.0.1 localhost\n::1 localhost\n")
        .with_context(cannot)?;

    for (n, module) in
        ModuleIndex::scan(modules)?.load_order(&[&MODULES, more].concat())?.iter().enumerate()
    {
        archive
            .file(&format!("modules/{n:02}-{}.ko", module.name), 0o644, &module.elf)
            .with_context(cannot)?;
    }
    let mut made: Vec<String> = DIRECTORIES.map(str::to_owned).into();
    for file in &payload.files {
        let (mode, bytes) =
            file.read().with_context(|| format!("cannot read {}", file.origin().display()))?;
        if !file.has_libraries && needs_interpreter(&bytes) {
            bail!(
                "{} needs shared libraries, which a guest does not have: build it with `-C target-feature=+crt-static`",
                file.origin().display()
            );
        }
        let name = file.guest.trim_start_matches('/');
        for (at, _) in name.match_indices('/') {
            let parent = name[..at].to_owned();
            if !made.contains(&parent) {
                archive.directory(&parent).with_context(cannot)?;
                made.push(parent);
            }
        }
        archive.file(name, mode, &bytes).with_context(cannot)?;
    }
    archive.finish().with_context(cannot)?;
    Ok(())
}

/// Whether this is a program that starts through the dynamic loader. A static position-independent one does not.
fn needs_interpreter(bytes: &[u8]) -> bool {
    let Ok(elf) = ElfFile64::<object::Endianness>::parse(bytes) else {
        return false;
    };
    elf.elf_program_headers()
        .iter()
        .any(|header| header.p_type(elf.endianness()) == object::elf::PT_INTERP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::payload::GuestFile;

    #[test]
    fn a_program_with_shared_libraries_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(
            dir.path().join("modules.builtin"),
            MODULES.map(|name| format!("kernel/{name}.ko\n")).concat(),
        )
        .expect("a file");
        let own = std::env::current_exe().expect("a test runs from a file");
        let payload =
            Payload { files: vec![GuestFile::copy(&own, "/bin/own")], ..Payload::default() };
        let error = build(&dir.path().join("initrd"), &own, dir.path(), Init::Payload, &payload)
            .expect_err("the test itself is not static");
        assert!(error.to_string().contains(&own.display().to_string()), "{error:#}");
    }
}
