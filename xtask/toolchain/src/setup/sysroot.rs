//! `core` for BPF, in a sysroot of the project's own: the compiler's stays as it is.

use std::fs;
use std::path::Path;

use rustc_build_sysroot::{BuildMode, SysrootBuilder, SysrootConfig};

use super::SetUpError;
use crate::files::failed;
use crate::{Compiler, TARGET, environment};

/// Builds from the `library` directory `source`, and puts the result at `place`.
pub fn build(
    compiler: &Compiler,
    source: &Path,
    work: &Path,
    place: &Path,
) -> Result<(), SetUpError> {
    let unfinished = work.join("sysroot");
    SysrootBuilder::new(&unfinished, TARGET)
        .build_mode(BuildMode::Build)
        .sysroot_config(SysrootConfig::NoStd)
        .cargo(environment::cargo(compiler))
        // The linker makes type information for the kernel out of it.
        .rustflag("-Cdebuginfo=2")
        .build_from_source(source)
        .map_err(|error| SetUpError::Sysroot(error.into()))?;
    fs::rename(&unfinished, place).map_err(failed("make", place))?;
    Ok(())
}
