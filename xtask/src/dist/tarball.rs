//! The tarball for distributions that know no Debian packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::tree::{self, Tree};
use super::{Release, output};
use crate::outer;

/// What lies beside the tree.
const FILES: [(&str, u32); 4] = [
    ("dist/install.sh", 0o755),
    ("LICENSE-APACHE", 0o644),
    ("LICENSE-MIT", 0o644),
    ("CHANGELOG.md", 0o644),
];

/// Makes the tarball in `out` from a copy of the tree in `work`.
pub fn build(tree: &Tree, work: &Path, out: &Path, release: &Release) -> Result<PathBuf> {
    let name = format!("nodewall-{}-x86_64-linux", release.version);
    let root = tree::anew(work)?.join(&name);
    tree::anew(&root)?;
    output(Command::new("cp").arg("--archive").arg(tree.root().join("usr")).arg(&root))?;
    for (source, mode) in FILES {
        let path = outer::workspace().join(source);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = path.file_name().unwrap_or_default();
        tree::write(&root.join(file), mode, &bytes)?;
    }
    let tarball = out.join(format!("{name}.tar.gz"));
    output(
        Command::new("tar")
            .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"])
            .arg(format!("--mtime=@{}", release.date))
            .args(["--use-compress-program=gzip -9n", "--create", "--file"])
            .arg(&tarball)
            .arg("--directory")
            .arg(work)
            .arg(&name),
    )?;
    Ok(tarball)
}
