//! Making the toolchain: the source of `core`, `core` for BPF, the linker, a trial of both.
//!
//! Every part is made under another name and renamed when it is whole, and the stamp comes last: what an interrupted
//! set-up leaves is either used or made again.

mod linker;
mod run;
mod source;
mod sysroot;
mod trial;

use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Instant;

use crate::apt::AptError;
use crate::files::{failed, lock, lock_file, make_dir};
use crate::{Compiler, Error, Toolchain, workspace};

/// How the names of directories begin that hold unfinished things.
const WORK: &str = "work-";

/// Why the toolchain could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The compiler or the file system.
    #[error(transparent)]
    Toolchain(#[from] Error),
    /// Neither rustup nor Debian has the source of the compiler's standard library.
    #[error(
        "the source of rustc {release}'s `core` is not to be had. By rustup: {rustup}. As Debian's package rust-src: {debian}. \
         Where there is a network, `rustup component add rust-src` gets it; then run `cargo xtask setup` again"
    )]
    NoSource {
        /// The compiler's version.
        release: String,
        /// Why rustup did not help.
        rustup: String,
        /// Why Debian did not help.
        debian: AptError,
    },
    /// The build of `core` failed.
    #[error("`core` for BPF did not build: {reason}; all messages are in {log}", log = log.display())]
    Sysroot {
        /// The first error.
        reason: String,
        /// What cargo and the compiler said.
        log: PathBuf,
    },
    /// bpf-linker knows nothing of the compiler's LLVM.
    #[error(
        "rustc {release} has LLVM {llvm}, and bpf-linker {linker} can be built for LLVM {known} only: use a compiler \
         that has one of these",
        linker = crate::LINKER_VERSION,
        known = linker::known_llvms()
    )]
    UnknownLlvm {
        /// The compiler's version.
        release: String,
        /// The version of its LLVM.
        llvm: String,
    },
    /// The compiler's LLVM is not in a shared library that was found.
    #[error(
        "the shared library of LLVM {llvm}, which rustc {release} uses, is not in {searched}: use a compiler from rustup, or put a \
         bpf-linker {linker} for this LLVM on PATH",
        linker = crate::LINKER_VERSION
    )]
    NoLlvm {
        /// The compiler's version.
        release: String,
        /// The version of its LLVM.
        llvm: String,
        /// The directories that were looked through.
        searched: String,
    },
    /// Building a host program needs the system's linker.
    #[error(
        "there is no program `cc`, which Rust needs to link: on Debian, `sudo apt-get install gcc libc6-dev` brings it"
    )]
    NoCc,
    /// A program could not be started.
    #[error("cannot start {program} for {step}: {reason}", program = program.display())]
    Start {
        /// What was being done.
        step: &'static str,
        /// The program.
        program: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// A program failed.
    #[error("{step} failed ({status}); its messages are in {log} and end with:\n{tail}", log = log.display())]
    Step {
        /// What was being done.
        step: &'static str,
        /// How the program ended.
        status: ExitStatus,
        /// What it said.
        log: PathBuf,
        /// The end of that.
        tail: String,
    },
    /// A program took too long and was ended.
    #[error("{step} was ended after {seconds} seconds")]
    Late {
        /// What was being done.
        step: &'static str,
        /// The time it was given.
        seconds: u64,
    },
    /// What the linker wrote is not what the kernel loads.
    #[error("{step} gave no error, but {object} is not a BPF object with type information", object = object.display())]
    NotBpf {
        /// What was being done.
        step: &'static str,
        /// What came out.
        object: PathBuf,
    },
}

impl Toolchain {
    /// Makes what is missing, and tells each step to `say` in a sentence. Where nothing is missing it says nothing and
    /// costs what [`Toolchain::locate`] costs. Several processes may do this at once: one works, the others wait.
    ///
    /// Needs the network, but no root; changes nothing outside of the workspace, except that rustup may add the
    /// component `rust-src` to the compiler.
    ///
    /// # Errors
    ///
    /// See [`SetUpError`].
    pub fn set_up(say: &mut dyn FnMut(&str)) -> Result<Self, SetUpError> {
        let toolchain = Self::of(Compiler::detect()?);
        if toolchain.is_complete() {
            return Ok(toolchain);
        }
        make_dir(&toolchain.dir)?;
        let lock_path = workspace().join(".toolchain/lock");
        let handle = lock_file(&lock_path)?;
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say("another set-up is at work in this directory: waiting for its end");
                lock(&handle, &lock_path)?;
                if toolchain.is_complete() {
                    return Ok(toolchain);
                }
            }
            Err(TryLockError::Error(reason)) => {
                return Err(failed("lock", &lock_path)(reason).into());
            }
        }
        toolchain.make(say)?;
        Ok(toolchain)
    }

    fn make(&self, say: &mut dyn FnMut(&str)) -> Result<(), SetUpError> {
        let started = Instant::now();
        let compiler = self.compiler();
        say(&format!(
            "rustc {} (LLVM {}) has no BPF toolchain here yet: making it in {}",
            compiler.release(),
            compiler.llvm(),
            self.dir.display()
        ));
        if !run::is_on_path("cc") {
            return Err(SetUpError::NoCc);
        }
        remove_old_work(&self.dir);
        // A name of its own: what a killed set-up had started may still be writing.
        let work = self.dir.join(format!("{WORK}{}", std::process::id()));
        make_dir(&work)?;
        if self.sysroot().exists() {
            say("core for BPF: there already, from an earlier set-up that did not end");
        } else {
            let source = source::find(compiler, &work, say)?;
            say("core for BPF: building it, about half a minute");
            sysroot::build(self, &source, &work)?;
        }
        linker::install(self, &work, say)?;
        let stamp = work.join("stamp");
        fs::write(&stamp, "").map_err(failed("write", &stamp))?;
        fs::rename(&stamp, self.stamp()).map_err(failed("write", &self.stamp()))?;
        remove_dir(&work)?;
        for log in [linker::LOG, sysroot::LOG, trial::LOG] {
            // It tells of nothing that anybody could want to mend.
            let _ = fs::remove_file(self.dir.join(log));
        }
        say(&format!("done in {} s", started.elapsed().as_secs()));
        Ok(())
    }
}

/// Best effort: what cannot be removed is in nobody's way.
fn remove_old_work(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(WORK) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn remove_dir(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}
