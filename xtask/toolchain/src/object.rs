//! Compiling the kernel side.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::files::{failed, lock, lock_file, make_dir};
use crate::{Error, TARGET, Toolchain, environment, workspace};

/// The instruction set: v3 has the atomics and needs Linux 5.12, v4 would need 6.6.
const CPU: &str = "v3";

/// The profile, by cargo's variables: the host's own release profile stays apart.
const PROFILE: [(&str, &str); 9] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
    // A check that panics is a path that the verifier refuses.
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "false"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    // Stripping would take the type information that the kernel wants.
    ("CARGO_PROFILE_RELEASE_STRIP", "none"),
];

impl Toolchain {
    /// Compiles the binary `bin` of the crate in `manifest_dir` for BPF and puts the object file, named `bin`, into
    /// `out_dir`. An object that is the same as before is not written again, so its time stands still.
    ///
    /// Cargo's and rustc's messages go to standard error. The architecture that tracing structures are laid out for is
    /// that of the build (`CARGO_CFG_TARGET_ARCH`, which build scripts have), or else this machine's.
    ///
    /// # Errors
    ///
    /// [`Error::Build`] where cargo fails, [`Error::File`] and [`Error::Cargo`] where it cannot be run or used.
    pub fn build_object(
        &self,
        manifest_dir: &Path,
        bin: &str,
        features: &[&str],
        out_dir: &Path,
    ) -> Result<PathBuf, Error> {
        let target_dir = target_dir();
        make_dir(&target_dir)?;
        make_dir(out_dir)?;
        // Cargo puts objects of all feature sets under one name: none may be built between this build and its copy.
        let lock_path = target_dir.join("object.lock");
        let lock_handle = lock_file(&lock_path)?;
        lock(&lock_handle, &lock_path)?;

        let mut command = self.cargo("build", manifest_dir, features, &target_dir);
        command.args(["--bin", bin]);
        run("build", manifest_dir, command)?;

        let built = target_dir.join(TARGET).join("release").join(bin);
        let wanted = out_dir.join(bin);
        let object = fs::read(&built).map_err(failed("read", &built))?;
        if fs::read(&wanted).is_ok_and(|before| before == object) {
            return Ok(wanted);
        }
        fs::write(&wanted, object).map_err(failed("write", &wanted))?;
        Ok(wanted)
    }

    /// Runs clippy over the binaries of the crate in `manifest_dir`, as they are compiled for BPF. A warning is an
    /// error.
    ///
    /// # Errors
    ///
    /// As [`Toolchain::build_object`].
    pub fn clippy_object(&self, manifest_dir: &Path, features: &[&str]) -> Result<(), Error> {
        let target_dir = target_dir();
        make_dir(&target_dir)?;
        let mut command = self.cargo("clippy", manifest_dir, features, &target_dir);
        command.args(["--bins", "--", "-D", "warnings"]);
        run("clippy", manifest_dir, command)
    }

    /// What rustc is told for every object.
    pub(crate) fn rustflags(&self, linker: &Path) -> Vec<String> {
        // aya-ebpf's name for the machine that tracing structures are laid out for.
        let arch = env::var("CARGO_CFG_TARGET_ARCH");
        let arch = arch.as_deref().unwrap_or(env::consts::ARCH);
        flags(&self.sysroot(), linker, arch)
    }

    fn cargo(
        &self,
        subcommand: &str,
        manifest_dir: &Path,
        features: &[&str],
        target_dir: &Path,
    ) -> Command {
        let mut command = environment::cargo(self.compiler());
        command
            .arg(subcommand)
            .args(["--release", "--target", TARGET])
            .arg("--manifest-path")
            .arg(manifest_dir.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags(&self.linker()).join("\x1f"))
            .envs(PROFILE);
        if !features.is_empty() {
            command.args(["--features", &features.join(",")]);
        }
        command
    }
}

fn run(subcommand: &'static str, manifest_dir: &Path, mut command: Command) -> Result<(), Error> {
    let status = command
        .current_dir(workspace())
        .stdin(Stdio::null())
        // What a build script writes to standard output are orders to the outer cargo.
        .stdout(Stdio::null())
        .status()
        .map_err(|reason| Error::Cargo { program: command.get_program().into(), reason })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Build { command: subcommand, manifest: manifest_dir.join("Cargo.toml"), status })
}

fn flags(sysroot: &Path, linker: &Path, arch: &str) -> Vec<String> {
    vec![
        "--sysroot".into(),
        sysroot.display().to_string(),
        format!("-Clinker={}", linker.display()),
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        format!("-Ctarget-cpu={CPU}"),
        "-Clink-arg=--btf".into(),
        // Else clearing and copying of structures are byte loops: four to seven times slower.
        "-Clink-arg=--disable-expand-memcpy-in-order".into(),
    ]
}

/// A target directory apart from the outer cargo's, which holds the lock of its own while a build script runs. One for
/// all outer builds: they compile the same.
fn target_dir() -> PathBuf {
    let outer =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    workspace().join(outer).join("bpf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_told_all() {
        let flags = flags(Path::new("/s"), Path::new("/l"), "aarch64");
        assert_eq!(
            flags,
            [
                "--sysroot",
                "/s",
                "-Clinker=/l",
                "--cfg=bpf_target_arch=\"aarch64\"",
                "-Ctarget-cpu=v3",
                "-Clink-arg=--btf",
                "-Clink-arg=--disable-expand-memcpy-in-order",
            ]
        );
    }
}
