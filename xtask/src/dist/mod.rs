//! `cargo xtask dist`: what is handed to others. One static program, packed twice: as a Debian package, and with a script
//! that installs it for every other distribution.
//!
//! The package is made by plain `dpkg-deb`, which every Debian has: what goes where is one list for both
//! ([`tree`]), and the scripts of the package are written by hand anyhow, for they write a policy and take the filter off.

mod debian;
mod tarball;
#[cfg(test)]
mod tests;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{outer, setup, standalone};

/// Builds the program that is linked statically, the Debian package, and the tarball for other distributions.
#[derive(clap::Args)]
pub struct Args {
    /// Where they are put.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Debian's revision of the package: a higher one replaces a lower one of the same version.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    revision: u32,
}

/// Builds and packs everything, and says how large it came out.
pub fn run(args: &Args) -> Result<()> {
    let work = outer::workspace().join("target/dist");
    let out = args.out.clone().unwrap_or_else(|| work.clone());
    let made = make(&work, &out, args.revision)?;
    for file in &made {
        let size = fs::metadata(file).map(|metadata| metadata.len()).unwrap_or_default();
        println!("{} ({:.1} MB)", file.display(), size as f64 / 1e6);
    }
    Ok(())
}

/// Makes the program, package, tarball and their checksums, in this order, in the directory `out`.
pub fn make(work: &Path, out: &Path, revision: u32) -> Result<Vec<PathBuf>> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        bail!("the packages are for Linux on x86-64: run this there");
    }
    setup::ensure()?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    // Without the symbols: the packages are for hosts, and whoever debugs builds.
    let program = standalone::nodewall(
        &work.join("build"),
        &["--release"],
        &["profile.release.debug=false", "profile.release.strip=true"],
    )?;
    let release = Release { version: version(&program)?, revision, date: date()? };
    let tree = tree::Tree::stage(&work.join("tree"), &program, &release)?;
    let program_out = out.join(format!("nodewall-{}-x86_64-linux", release.version));
    fs::copy(&program, &program_out)
        .with_context(|| format!("cannot write {}", program_out.display()))?;
    let mut made = vec![program_out];
    made.push(debian::build(&tree, &work.join("debian"), out, &release)?);
    made.push(tarball::build(&tree, &work.join("tarball"), out, &release)?);
    made.push(checksums(out, &made)?);
    Ok(made)
}

/// What is released.
pub struct Release {
    /// Of the program.
    version: String,
    /// Debian's.
    revision: u32,
    /// Seconds since 1970: that of the sources, so that the same sources make the same packages.
    date: u64,
}

impl Release {
    /// As dpkg counts.
    pub fn debian(&self) -> String {
        format!("{}-{}", self.version, self.revision)
    }
}

fn version(program: &Path) -> Result<String> {
    let said = output(Command::new(program).arg("--version"))?;
    let said = String::from_utf8_lossy(&said);
    let version = said.trim().strip_prefix("nodewall ").map(str::to_owned);
    version.with_context(|| format!("`nodewall --version` says {said:?}, which is no version"))
}

/// `SOURCE_DATE_EPOCH` where it is set, else the date of the last commit.
fn date() -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => {
            let mut git = Command::new("git");
            git.current_dir(outer::workspace()).args(["log", "-1", "--format=%ct"]);
            let said = output(&mut git).context(
                "the date of the packages is that of the last commit; outside of a clone set SOURCE_DATE_EPOCH",
            )?;
            String::from_utf8_lossy(&said).into_owned()
        }
    };
    text.trim().parse().with_context(|| format!("{text:?} is no number of seconds since 1970"))
}

/// `SHA256SUMS`, as `sha256sum --check` reads it.
fn checksums(out: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    let mut command = Command::new("sha256sum");
    command.current_dir(out).args(files.iter().filter_map(|file| file.file_name()));
    let sums = out.join("SHA256SUMS");
    fs::write(&sums, output(&mut command)?)
        .with_context(|| format!("cannot write {}", sums.display()))?;
    Ok(sums)
}

/// What a program writes on its standard output; what it says besides goes where ours goes.
fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name} failed ({})", output.status);
    }
    Ok(output.stdout)
}
