//! The Debian package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::tree::{self, Tree};
use super::{Release, output};
use crate::outer;

const MAINTAINER: &str = "The nodewall maintainers <maintainers@nodewall.invalid>";

/// The scripts that dpkg runs, from `dist/debian`.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Makes the package in `out` from a copy of the tree in `work`.
pub fn build(tree: &Tree, work: &Path, out: &Path, release: &Release) -> Result<PathBuf> {
    let package = tree::anew(work)?;
    output(Command::new("cp").arg("--archive").arg(tree.root().join("usr")).arg(&package))?;
    let source = outer::workspace().join("dist/debian");
    let text = |name: &str| {
        let path = source.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };

    let doc = package.join("usr/share/doc/nodewall");
    tree::write(&doc.join("copyright"), 0o644, text("copyright")?.as_bytes())?;
    let overrides = package.join("usr/share/lintian/overrides/nodewall");
    tree::write(&overrides, 0o644, text("lintian-overrides")?.as_bytes())?;
    let compressed = |name: &str, bytes: &[u8]| {
        let path = doc.join(name);
        tree::write(&path, 0o644, bytes)?;
        output(Command::new("gzip").args(["-9n", "--force"]).arg(&path)).map(drop)
    };
    let changes = outer::workspace().join("CHANGELOG.md");
    compressed("changelog", &fs::read(&changes).context("cannot read CHANGELOG.md")?)?;
    compressed("changelog.Debian", changelog(release)?.as_bytes())?;
    // The policy is none of the package's files: it is written at installation, and the administrator's from then on.
    tree::directory(&package.join("etc/nodewall"))?;

    let control = package.join("DEBIAN");
    let fields = text("control")?
        .replace("@VERSION@", &release.debian())
        .replace("@MAINTAINER@", MAINTAINER)
        .replace("@SIZE@", &installed_size(&package)?);
    tree::write(&control.join("control"), 0o644, fields.as_bytes())?;
    tree::write(&control.join("md5sums"), 0o644, &md5sums(&package)?)?;
    for name in SCRIPTS {
        tree::write(&control.join(name), 0o755, text(name)?.as_bytes())?;
    }

    let deb = out.join(format!("nodewall_{}_amd64.deb", release.debian()));
    output(
        Command::new("dpkg-deb")
            .env("SOURCE_DATE_EPOCH", release.date.to_string())
            .args(["--root-owner-group", "-Zxz", "--build"])
            .arg(&package)
            .arg(&deb),
    )?;
    judge(&deb)?;
    Ok(deb)
}

/// Debian's own judgement, where its tool is installed.
fn judge(deb: &Path) -> Result<()> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on=error,warning", "--allow-root", "--no-cfg", "--color=never"]).arg(deb);
    match lintian.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!("lintian finds fault with {}: what it said is above", deb.display()),
        Err(_) => {
            eprintln!(
                "dist: the package was not judged: there is no lintian; `cargo xtask setup --all` installs it"
            );
            Ok(())
        }
    }
}

fn changelog(release: &Release) -> Result<String> {
    let date = output(
        Command::new("date")
            .args(["--utc", "--rfc-email", "--date"])
            .arg(format!("@{}", release.date)),
    )?;
    Ok(format!(
        "nodewall ({}) unstable; urgency=medium\n\n  * See changelog.gz for what has changed in the program.\n\n -- {MAINTAINER}  {}\n",
        release.debian(),
        String::from_utf8_lossy(&date).trim()
    ))
}

/// In KiB, as dpkg wants it.
fn installed_size(package: &Path) -> Result<String> {
    let said = output(
        Command::new("du")
            .args(["--summarize", "--apparent-size", "--block-size=1024"])
            .arg(package),
    )?;
    let said = String::from_utf8_lossy(&said);
    Ok(said.split_whitespace().next().unwrap_or("0").to_owned())
}

/// Of each file that is installed, by which `dpkg --verify` finds what was changed.
fn md5sums(package: &Path) -> Result<Vec<u8>> {
    let script = "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum";
    output(Command::new("sh").current_dir(package).args(["-ec", script]))
}
