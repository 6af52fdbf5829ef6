//! What can be wrong with finding or using the toolchain.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why the toolchain was not found, or an object not built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Set-up has not run, or not for this compiler.
    #[error(
        "the kernel side cannot be built yet, because rustc {release} has no BPF toolchain here: run `cargo xtask setup` once, \
         then this again"
    )]
    NotSetUp {
        /// The compiler's version.
        release: String,
    },
    /// The compiler could not be started.
    #[error(
        "cannot start the Rust compiler {program:?} ({reason}): install Rust, or correct RUSTC or PATH"
    )]
    Compiler {
        /// What was started.
        program: OsString,
        /// The reason.
        reason: io::Error,
    },
    /// The compiler started and failed, as rustup's stand-in does where the toolchain it should run is not installed.
    #[error("the Rust compiler {program:?} does not tell its version: {said}")]
    CompilerFailed {
        /// What was started.
        program: OsString,
        /// What it said on standard error.
        said: String,
    },
    /// The compiler says something else than rustc does.
    #[error(
        "the Rust compiler {program:?} does not tell its {missing:?} when asked with -vV: is RUSTC really rustc?"
    )]
    CompilerOutput {
        /// What was started.
        program: OsString,
        /// The field that was looked for.
        missing: &'static str,
    },
    /// Something about a file or directory.
    #[error("cannot {act} {path}: {reason}", path = path.display())]
    File {
        /// What was tried, a verb.
        act: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// Cargo could not be started.
    #[error("cannot start {program} ({reason}): is cargo installed beside rustc?", program = program.display())]
    Cargo {
        /// What was started.
        program: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// The compiler refused the kernel side, and said why on standard error.
    #[error("the kernel side ({manifest}) did not pass `cargo {command}` ({status}): the messages above say why", manifest = manifest.display())]
    Build {
        /// The subcommand of cargo.
        command: &'static str,
        /// The crate's manifest.
        manifest: PathBuf,
        /// How cargo ended.
        status: ExitStatus,
    },
}
