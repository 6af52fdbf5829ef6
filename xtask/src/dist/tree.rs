//! What is installed where: the same on every distribution.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Release, output};
use crate::outer;

/// Files of the repository, and where they go.
const FILES: [(&str, &str, u32); 8] = [
    ("dist/systemd/nodewall.service", "usr/lib/systemd/system/nodewall.service", 0o644),
    ("dist/systemd/sysusers.conf", "usr/lib/sysusers.d/nodewall.conf", 0o644),
    ("dist/udev/75-nodewall.rules", "usr/lib/udev/rules.d/75-nodewall.rules", 0o644),
    ("dist/initial-policy", "usr/lib/nodewall/initial-policy", 0o755),
    ("README.md", "usr/share/doc/nodewall/README.md", 0o644),
    ("docs/architecture.md", "usr/share/doc/nodewall/architecture.md", 0o644),
    ("docs/control-protocol.md", "usr/share/doc/nodewall/control-protocol.md", 0o644),
    ("xtask/assets/policy.toml", "usr/share/doc/nodewall/examples/nodewall.toml", 0o644),
];

/// Directories of the repository whose files are examples to use with other programs.
const EXAMPLES: [&str; 2] = ["dist/prometheus", "dist/grafana"];

const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/nodewall"),
    ("zsh", "usr/share/zsh/vendor-completions/_nodewall"),
    ("fish", "usr/share/fish/vendor_completions.d/nodewall.fish"),
];

/// The root of what is installed.
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Puts everything in its place below `root`, which is made anew.
    pub fn stage(root: &Path, program: &Path, release: &Release) -> Result<Self> {
        let tree = Self { root: anew(root)? };
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        tree.add("usr/bin/nodewall", 0o755, &read(program)?)?;
        for (source, place, mode) in FILES {
            tree.add(place, mode, &read(&outer::workspace().join(source))?)?;
        }
        for example in EXAMPLES {
            let directory = outer::workspace().join(example);
            let name = Path::new(example).file_name().unwrap_or_default().to_string_lossy();
            for file in files(&directory) {
                let place = file.strip_prefix(&directory).unwrap_or(&file).display().to_string();
                let place = format!("usr/share/doc/nodewall/examples/{name}/{place}");
                tree.add(&place, 0o644, &read(&file)?)?;
            }
        }
        for (shell, place) in COMPLETIONS {
            let text = output(Command::new(program).args(["completions", shell]))?;
            tree.add(place, 0o644, &text)?;
        }
        let page = output(Command::new(program).arg("man"))?;
        tree.add_compressed("usr/share/man/man1/nodewall.1", &page)?;
        // It has a section for each command, and speaks of them as pages.
        for command in commands(&String::from_utf8_lossy(&page)) {
            let link = tree.root.join(format!("usr/share/man/man1/nodewall-{command}.1.gz"));
            symlink("nodewall.1.gz", &link)
                .with_context(|| format!("cannot make {}", link.display()))?;
        }
        tree.date(release)?;
        Ok(tree)
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file, with the directories that lead to it.
    pub fn add(&self, place: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        write(&self.root.join(place), mode, bytes)
    }

    /// As [`add`](Self::add), packed by gzip under the name with `.gz`.
    pub fn add_compressed(&self, place: &str, bytes: &[u8]) -> Result<()> {
        self.add(place, 0o644, bytes)?;
        // Without name and time: the same bytes for the same content.
        output(Command::new("gzip").args(["-9n", "--force"]).arg(self.root.join(place))).map(drop)
    }

    /// Gives everything the date of the release.
    pub fn date(&self, release: &Release) -> Result<()> {
        let date = format!("@{}", release.date);
        let mut find = Command::new("find");
        find.arg(&self.root).args([
            "-exec",
            "touch",
            "--no-dereference",
            "--date",
            &date,
            "{}",
            "+",
        ]);
        output(&mut find).map(drop)
    }
}

/// The pages that the manual page names, in roff, without their common beginning.
fn commands(page: &str) -> BTreeSet<&str> {
    let named = page.split("nodewall\\-").skip(1);
    named
        .filter_map(|rest| Some(rest.split_once("(1)")?.0))
        .filter(|name| !name.contains(char::is_whitespace))
        .collect()
}

/// An empty directory.
pub fn anew(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    directory(path)?;
    Ok(path.to_owned())
}

/// Writes a file with these permission bits, whatever the umask.
pub fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        directory(parent)?;
    }
    let cannot = || format!("cannot write {}", path.display());
    fs::write(path, bytes).with_context(cannot)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(cannot)
}

/// Makes a directory, and those that lead to it, open to read for everybody.
pub fn directory(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), directory)?;
    let cannot = || format!("cannot make {}", path.display());
    fs::create_dir(path).with_context(cannot)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(cannot)
}

/// All files below a directory, sorted; none where it does not exist.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_that_are_spoken_of_are_found() {
        let page = ".TP\nnodewall\\-run(1)\nRun it\n.TP\nnodewall\\-ban(1)\n nodewall\\-x y (1)";
        assert_eq!(commands(page).into_iter().collect::<Vec<_>>(), ["ban", "run"]);
    }
}
