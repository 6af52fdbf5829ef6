//! Programs of this machine that tests start in a guest, with the shared libraries that they need.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::boot::on_path;
use super::payload::GuestFile;

/// What busybox lacks, or does less well: `nft` makes containers, `setpriv` and `unshare` what a service manager makes. `sleep`
/// is a program under a name of its own, and not one of many names of busybox, where a test copies it.
const TOOLS: [&str; 4] = ["nft", "setpriv", "unshare", "sleep"];

/// Each of them into `/bin`, its libraries where it looks for them. A test that misses one says so itself.
pub fn files() -> Result<Vec<GuestFile>> {
    let mut libraries = Vec::new();
    let mut files = Vec::new();
    for (name, path) in TOOLS.into_iter().filter_map(|name| Some((name, on_path(name)?))) {
        libraries.extend(libraries_of(&path)?);
        files.push(GuestFile::tool(path, format!("/bin/{name}")));
    }
    libraries.sort_unstable();
    libraries.dedup();
    files.extend(libraries.into_iter().map(|path| {
        let guest = path.display().to_string();
        GuestFile::tool(path, guest)
    }));
    Ok(files)
}

/// The libraries and the dynamic loader of a program, as the loader itself finds them.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .context("cannot start ldd, which Debian's libc-bin has")?;
    let listed = String::from_utf8_lossy(&output.stdout);
    if listed.contains("not found") {
        bail!("{} lacks a shared library on this machine: {}", program.display(), listed.trim());
    }
    Ok(paths(&listed))
}

/// `name => /path (address)`, and `/path (address)` for the loader; what the kernel brings has no path.
fn paths(listed: &str) -> Vec<PathBuf> {
    let path =
        |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(Into::into);
    listed.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_read_and_the_kernels_is_not() {
        let listed = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\t/lib64/ld-linux.so.2 (0x3)\n";
        assert_eq!(paths(listed), ["/lib/libc.so.6", "/lib64/ld-linux.so.2"].map(PathBuf::from));
        assert_eq!(paths("\tstatically linked\n"), Vec::<PathBuf>::new());
    }
}
