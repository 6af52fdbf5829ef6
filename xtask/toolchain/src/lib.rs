//! The BPF toolchain of this project: a stable compiler, `core` built for the BPF target, and a linker that speaks the
//! compiler's LLVM.
//!
//! Rust ships neither `core` for `bpfel-unknown-none` nor a linker for it. `Toolchain::set_up` makes both, in a
//! directory of their own below the workspace root (`.toolchain/`, which outlives `cargo clean`), and leaves the
//! compiler and the system alone; the one thing it may add to the compiler is the component `rust-src`. Everything is
//! keyed by the compiler: a new compiler gets a new directory.
//!
//! [`Toolchain::locate`] finds what set-up made, in milliseconds and without the network, and
//! [`Toolchain::build_object`] compiles a kernel-side crate with it. These two are all that build scripts get; the rest
//! is the feature `setup`.

#![forbid(unsafe_code)]

#[cfg(feature = "setup")]
pub mod apt;
mod compiler;
mod environment;
mod error;
mod files;
mod object;
#[cfg(feature = "setup")]
mod setup;

use std::path::{Path, PathBuf};

pub use compiler::Compiler;
pub use error::Error;
#[cfg(feature = "setup")]
pub use setup::SetUpError;

/// The target that the kernel side is compiled for. The kernels that this project supports are little-endian.
pub const TARGET: &str = "bpfel-unknown-none";

/// The release of `bpf-linker` that links the kernel side. One release, so that every machine makes the same object.
pub const LINKER_VERSION: &str = "0.13.0";

/// Counts changes of what set-up makes from the same compiler and linker: a new number makes it do its work again.
const RECIPE: u32 = 1;

/// A compiler together with what it lacks for BPF. Exists only where set-up has done its work.
#[derive(Debug, Clone)]
pub struct Toolchain {
    compiler: Compiler,
    dir: PathBuf,
}

impl Toolchain {
    /// Finds what set-up made for the compiler that is in force here: `$RUSTC`, or `rustc` on `PATH`.
    ///
    /// # Errors
    ///
    /// [`Error::NotSetUp`] where set-up has not run for this compiler, [`Error::Compiler`] or
    /// [`Error::CompilerOutput`] where there is no compiler to be understood.
    pub fn locate() -> Result<Self, Error> {
        let toolchain = Self::of(Compiler::detect()?);
        if toolchain.is_complete() {
            Ok(toolchain)
        } else {
            Err(Error::NotSetUp { release: toolchain.compiler.release().to_owned() })
        }
    }

    /// The compiler that this toolchain is for.
    #[must_use]
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// The linker, an executable file.
    #[must_use]
    pub fn linker(&self) -> PathBuf {
        self.dir.join("bpf-linker")
    }

    /// The directory for rustc's `--sysroot`, with `core` for [`TARGET`] and nothing else.
    #[must_use]
    pub fn sysroot(&self) -> PathBuf {
        self.dir.join("sysroot")
    }

    /// A file that is written when set-up has ended well, and again when it has made something anew: what a build
    /// script watches.
    #[must_use]
    pub fn stamp(&self) -> PathBuf {
        self.dir.join("complete")
    }

    fn of(compiler: Compiler) -> Self {
        let key = format!("{}-linker-{LINKER_VERSION}-r{RECIPE}", compiler.fingerprint());
        let dir = workspace().join(".toolchain").join(key);
        Self { compiler, dir }
    }

    /// The parts are looked at too: somebody may have removed one by hand.
    fn is_complete(&self) -> bool {
        [self.stamp(), self.linker(), self.sysroot()].iter().all(|part| part.exists())
    }
}

/// The root of the workspace that this crate was compiled in.
fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}
