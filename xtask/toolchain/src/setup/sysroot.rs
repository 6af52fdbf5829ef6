//! `core` for BPF, in a sysroot of the project's own: the compiler's stays as it is.

use std::fs;
use std::path::Path;

use rustc_build_sysroot::{BuildMode, SysrootBuilder, SysrootConfig};

use super::SetUpError;
use crate::files::failed;
use crate::{TARGET, Toolchain, environment};

/// The messages of a build that failed. In the toolchain's directory, so that they are still there afterwards.
pub const LOG: &str = "sysroot.log";

/// Builds from the `library` directory `source`, and puts the result in its place.
pub fn build(toolchain: &Toolchain, source: &Path, work: &Path) -> Result<(), SetUpError> {
    let unfinished = work.join("sysroot");
    let built = SysrootBuilder::new(&unfinished, TARGET)
        .build_mode(BuildMode::Build)
        .sysroot_config(SysrootConfig::NoStd)
        .cargo(environment::cargo(toolchain.compiler()))
        // The linker makes type information for the kernel out of it.
        .rustflag("-Cdebuginfo=2")
        .build_from_source(source);
    if let Err(error) = built {
        let messages = format!("{error:#}");
        let log = toolchain.dir.join(LOG);
        fs::write(&log, &messages).map_err(failed("write", &log))?;
        let reason = first_error(&messages).to_owned();
        return Err(SetUpError::Sysroot { reason, log });
    }
    let place = toolchain.sysroot();
    fs::rename(&unfinished, &place).map_err(failed("make", &place))?;
    Ok(())
}

/// The messages hold the compiler's command lines, which are pages long.
fn first_error(messages: &str) -> &str {
    messages
        .lines()
        .find(|line| line.starts_with("error"))
        .or_else(|| messages.lines().next())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_stands_for_all() {
        let messages =
            "sysroot build failed\nstderr:\nwarning: old\nerror: no core\nerror: no alloc";
        assert_eq!(first_error(messages), "error: no core");
        assert_eq!(first_error("cannot make a directory"), "cannot make a directory");
        assert_eq!(first_error(""), "");
    }
}
