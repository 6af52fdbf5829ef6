//! Which compiler is in force: its version, its LLVM, where it lies.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Error;

/// A Rust compiler, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    sysroot: PathBuf,
    version: Version,
}

/// The fields of `rustc -vV` that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    release: String,
    commit: String,
    host: String,
    llvm: String,
}

impl Compiler {
    /// Asks `$RUSTC`, which cargo sets for build scripts, or else `rustc` on `PATH`.
    pub(crate) fn detect() -> Result<Self, Error> {
        let program = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
        // Side by side: each costs 30 ms where `rustc` is rustup's proxy.
        let version = ask(&program, &["-vV"])?;
        let sysroot = ask(&program, &["--print", "sysroot"])?;
        let version = answer(&program, version)?;
        let sysroot = answer(&program, sysroot)?;
        let version = Version::parse(&version)
            .map_err(|missing| Error::CompilerOutput { program: program.clone(), missing })?;
        Ok(Self { sysroot: PathBuf::from(sysroot.trim_end()), version })
    }

    /// The version, such as `1.95.0` or `1.97.0-nightly`.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.version.release
    }

    /// The target triple that it compiles for by default.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.version.host
    }

    /// The version of its LLVM, such as `22.1.2`.
    #[must_use]
    pub fn llvm(&self) -> &str {
        &self.version.llvm
    }

    /// The directory that it is installed in.
    #[must_use]
    pub fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// The compiler itself, not rustup's stand-in for it.
    pub(crate) fn rustc(&self) -> PathBuf {
        self.tool("rustc")
    }

    /// The cargo beside the compiler, or the one that runs this.
    pub(crate) fn cargo(&self) -> PathBuf {
        let own = self.tool("cargo");
        if own.exists() {
            return own;
        }
        std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
    }

    /// The directory of the compiler's own executables.
    pub(crate) fn programs(&self) -> PathBuf {
        self.sysroot.join("bin")
    }

    /// The directory of the compiler's own shared libraries, LLVM's among them.
    pub(crate) fn libraries(&self) -> PathBuf {
        self.sysroot.join("lib")
    }

    /// The first number of LLVM's version.
    #[cfg(feature = "setup")]
    pub(crate) fn llvm_major(&self) -> &str {
        self.llvm().split('.').next().unwrap_or_default()
    }

    /// A name, fit for a directory, that two compilers share only if they can use each other's libraries.
    pub(crate) fn fingerprint(&self) -> String {
        let Version { release, commit, host, llvm } = &self.version;
        // Compilers built by a distribution may know no commit; LLVM's version then tells rebuilds apart.
        let commit: String = commit.chars().take(9).collect();
        format!("rust-{release}-{commit}-llvm-{llvm}-{host}")
    }

    fn tool(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }
}

impl Version {
    /// Reads the output of `rustc -vV`; the error is the name of the first field that is not there.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let field = |name: &'static str| {
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .find_map(|(key, value)| (key == name).then(|| value.trim().to_owned()))
                .filter(|value| !value.is_empty())
                .ok_or(name)
        };
        Ok(Self {
            release: field("release")?,
            commit: field("commit-hash")?,
            host: field("host")?,
            llvm: field("LLVM version")?,
        })
    }
}

fn ask(program: &OsString, arguments: &[&str]) -> Result<Child, Error> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|reason| Error::Compiler { program: program.clone(), reason })
}

fn answer(program: &OsString, child: Child) -> Result<String, Error> {
    let output = child
        .wait_with_output()
        .map_err(|reason| Error::Compiler { program: program.clone(), reason })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::CompilerFailed {
            program: program.clone(),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\n\
        commit-hash: 59807616e1fa2540724bfbac14d7976d7e4a3860\ncommit-date: 2026-04-14\n\
        host: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    fn compiler(text: &str) -> Compiler {
        Compiler {
            sysroot: PathBuf::from("/rust"),
            version: Version::parse(text).expect("complete"),
        }
    }

    #[test]
    fn a_stable_compiler_is_read() {
        let compiler = compiler(STABLE);
        assert_eq!(compiler.release(), "1.95.0");
        assert_eq!(compiler.host(), "x86_64-unknown-linux-gnu");
        assert_eq!(compiler.llvm(), "22.1.2");
        assert_eq!(
            compiler.fingerprint(),
            "rust-1.95.0-59807616e-llvm-22.1.2-x86_64-unknown-linux-gnu"
        );
    }

    #[test]
    fn every_field_of_the_compiler_changes_its_directory() {
        let plain = compiler(STABLE).fingerprint();
        for (from, to) in [
            ("release: 1.95.0", "release: 1.95.1"),
            ("commit-hash: 59807616e", "commit-hash: 59807616f"),
            ("LLVM version: 22.1.2", "LLVM version: 22.1.3"),
            ("host: x86_64", "host: aarch64"),
        ] {
            assert_ne!(plain, compiler(&STABLE.replace(from, to)).fingerprint());
        }
    }

    #[test]
    fn a_compiler_of_a_distribution_may_know_no_commit() {
        let text = STABLE.replace("59807616e1fa2540724bfbac14d7976d7e4a3860", "unknown");
        let name = compiler(&text).fingerprint();
        assert_eq!(name, "rust-1.95.0-unknown-llvm-22.1.2-x86_64-unknown-linux-gnu");
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = STABLE.replace("LLVM version: 22.1.2\n", "");
        assert_eq!(Version::parse(&text), Err("LLVM version"));
        assert_eq!(Version::parse(""), Err("release"));
    }
}
