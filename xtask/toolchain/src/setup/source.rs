//! The source of the compiler's standard library, of exactly its version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::run::{is_on_path, logged_within};
use super::{SetUpError, make_dir};
use crate::apt::{Apt, AptError};
use crate::files::failed;
use crate::{Compiler, Error};

/// Debian's suites that carry compilers newer than its last release, the smallest lists first.
const SUITES: [&str; 3] = ["trixie-backports", "forky", "sid"];

/// Debian's package.
const PACKAGE: &str = "rust-src";

/// How long rustup may take. It is five megabytes; a network that swallows packets must not hold set-up for minutes.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// How many characters of rustup's reason are shown.
const SUMMARY: usize = 100;

/// The `library` directory of the source: where the compiler has it, or as rustup or else Debian gives it. Debian's copy
/// goes into `work`.
pub fn find(
    compiler: &Compiler,
    work: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, SetUpError> {
    let own = compiler.sysroot().join("lib/rustlib/src/rust/library");
    if is_library(&own) {
        say("source of core: the compiler has it");
        return Ok(own);
    }
    say("source of core: asking rustup for the component rust-src");
    let refusal = match by_rustup(compiler, work) {
        Ok(()) if is_library(&own) => return Ok(own),
        Ok(()) => format!("it added rust-src, yet {} is not there", own.display()),
        Err(reason) => reason,
    };
    say(&format!(
        "rustup cannot ({refusal}): looking for Debian's package {PACKAGE} of version {}",
        compiler.release()
    ));
    by_debian(compiler, work, say).map_err(|error| match error {
        DebianError::Apt(debian) => {
            SetUpError::NoSource { release: compiler.release().to_owned(), rustup: refusal, debian }
        }
        DebianError::File(error) => error.into(),
    })
}

fn is_library(dir: &Path) -> bool {
    dir.join("core/src/lib.rs").exists() && dir.join("std/Cargo.toml").exists()
}

/// The error is the reason, for a message: it decides nothing but whether the next way is tried.
fn by_rustup(compiler: &Compiler, work: &Path) -> Result<(), String> {
    let name = toolchain_name(compiler.sysroot())
        .ok_or_else(|| "this compiler is not one of rustup's".to_owned())?;
    if !is_on_path("rustup") {
        return Err("there is no rustup on PATH".to_owned());
    }
    let mut command = Command::new("rustup");
    command
        .args(["component", "add", PACKAGE, "--toolchain", name])
        // With it, rustup says where in its own code it failed.
        .env_remove("RUST_BACKTRACE");
    let ended = logged_within("rustup", &mut command, &work.join("rustup.log"), RUSTUP_LIMIT);
    ended.map_err(|error| match error {
        SetUpError::Step { tail, .. } => summary(&tail),
        other => other.to_string(),
    })
}

/// The first error among rustup's messages, and of a long chain of causes the beginning.
fn summary(messages: &str) -> String {
    let lines = || messages.lines().map(str::trim);
    let line = lines()
        .find(|line| line.starts_with("error:"))
        .or_else(|| lines().next_back())
        .unwrap_or("it does not say why");
    let text = line.trim_start_matches("error:").trim();
    match text.char_indices().nth(SUMMARY) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The name that rustup has for the toolchain in this directory.
fn toolchain_name(sysroot: &Path) -> Option<&str> {
    let is_rustups = sysroot.parent()?.file_name()? == "toolchains";
    sysroot.file_name()?.to_str().filter(|_| is_rustups)
}

enum DebianError {
    Apt(AptError),
    File(Error),
}

fn by_debian(
    compiler: &Compiler,
    work: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, DebianError> {
    let missing = || AptError::NoPackage {
        suite: SUITES.join(", "),
        package: format!("{PACKAGE} {}", compiler.release()),
    };
    for suite in SUITES {
        let dir = work.join(suite);
        let apt = Apt::of_suite(suite, &dir).map_err(DebianError::Apt)?;
        apt.update().map_err(DebianError::Apt)?;
        let versions = apt.versions(PACKAGE).map_err(DebianError::Apt)?;
        let Some(version) = versions.iter().find(|version| upstream(version) == compiler.release())
        else {
            continue;
        };
        say(&format!("fetching {PACKAGE} {version} from {suite}, 45 MB"));
        let (debs, tree) = (dir.join("debs"), dir.join("tree"));
        make_dir(&debs).map_err(DebianError::File)?;
        let exact = format!("{PACKAGE}={version}");
        for deb in apt.download(&[&exact], &debs).map_err(DebianError::Apt)? {
            Apt::unpack(&deb, &tree).map_err(DebianError::Apt)?;
        }
        let sources = tree.join("usr/src");
        let library = fs::read_dir(&sources)
            .map_err(|reason| DebianError::File(failed("read", &sources)(reason)))?
            .flatten()
            .map(|entry| entry.path().join("library"))
            .find(|library| is_library(library));
        return library.ok_or_else(|| DebianError::Apt(missing()));
    }
    Err(DebianError::Apt(missing()))
}

/// The upstream version within a Debian version: without epoch, repacking, revision and backport.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.split(['+', '-', '~']).next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_version_is_taken_out_of_debians() {
        for (debian, expected) in [
            ("1.95.0+dfsg1-2~bpo13+1", "1.95.0"),
            ("1.95.0-1", "1.95.0"),
            ("1.96.0~beta.4+dfsg1-1~exp1", "1.96.0"),
            ("2:1.63.0+dfsg1-2", "1.63.0"),
            ("1.95.0", "1.95.0"),
        ] {
            assert_eq!(upstream(debian), expected);
        }
    }

    #[test]
    fn only_rustups_toolchains_have_a_name() {
        let name = |path| toolchain_name(Path::new(path));
        assert_eq!(
            name("/home/a/.rustup/toolchains/stable-x86_64-unknown-linux-gnu"),
            Some("stable-x86_64-unknown-linux-gnu")
        );
        assert_eq!(name("/usr"), None);
        assert_eq!(name("/"), None);
    }

    #[test]
    fn rustups_reason_is_its_first_error() {
        let said = "info: downloading component rust-src\nerror: could not download file\nerror: caused by: dns\n";
        assert_eq!(summary(said), "could not download file");
        assert_eq!(summary("strange\nwords"), "words");
        assert_eq!(summary(""), "it does not say why");
        let long = summary(&format!("error: {}", "ä".repeat(500)));
        assert_eq!(long.chars().count(), SUMMARY + 1);
    }
}
