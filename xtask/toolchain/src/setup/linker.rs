//! The linker: a released one from `PATH` if it does the work, or else one built against the compiler's own LLVM.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::run::{find_on_path, logged};
use super::trial::try_out;
use super::{SetUpError, make_dir, remove_dir};
use crate::files::failed;
use crate::{Compiler, LINKER_VERSION, Toolchain, environment};

/// The first numbers of the LLVM versions that this release of bpf-linker can be built for.
const LLVMS: [&str; 3] = ["21", "22", "23"];

/// The messages of its build. In the toolchain's directory, so that they are still there after a failure.
pub const LOG: &str = "linker.log";

/// For messages.
pub fn known_llvms() -> String {
    LLVMS.join(", ")
}

/// Puts a linker in its place that has linked a program of this compiler.
pub fn install(
    toolchain: &Toolchain,
    work: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<(), SetUpError> {
    let place = toolchain.linker();
    // A copy: a later upgrade of the one on PATH must not change what is built here.
    let candidate = work.join("bpf-linker");
    if let Some(found) = find_on_path("bpf-linker") {
        match take(toolchain, &found, &candidate, work) {
            Ok(()) => {
                say(&format!("linker: taking {}", found.display()));
                fs::rename(&candidate, &place).map_err(failed("make", &place))?;
                return Ok(());
            }
            Err(reason) => say(&format!("linker: not {}, {reason}", found.display())),
        }
    }
    say(&format!(
        "linker: building bpf-linker {LINKER_VERSION} against LLVM {} of the compiler, about a minute",
        toolchain.compiler().llvm()
    ));
    let built = build(toolchain, work)?;
    say("linker: trying it on a small program");
    try_out(toolchain, &built, work)?;
    fs::rename(&built, &place).map_err(failed("make", &place))?;
    Ok(())
}

/// Copies a linker that somebody else installed, if it is the right release and works. The error is the reason, for a
/// message: it decides nothing but whether one is built.
fn take(toolchain: &Toolchain, found: &Path, candidate: &Path, work: &Path) -> Result<(), String> {
    let output = environment::program(toolchain.compiler(), found.to_owned())
        .arg("--version")
        .output()
        .map_err(|error| format!("which does not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim().strip_prefix("bpf-linker ") {
        Some(LINKER_VERSION) => {}
        Some(other) => return Err(format!("which is {other}")),
        None => return Err("which does not tell its version".to_owned()),
    }
    fs::copy(found, candidate).map_err(|error| format!("which cannot be copied: {error}"))?;
    try_out(toolchain, candidate, work)
        .map_err(|error| format!("which cannot link for this compiler: {}", first_line(&error)))
}

fn first_line(error: &SetUpError) -> String {
    match error {
        SetUpError::Step { tail, .. } => {
            let mut lines = tail.lines();
            lines.find(|line| line.starts_with("error")).unwrap_or("it failed").to_owned()
        }
        other => other.to_string(),
    }
}

fn build(toolchain: &Toolchain, work: &Path) -> Result<PathBuf, SetUpError> {
    let compiler = toolchain.compiler();
    let major = compiler.llvm_major();
    if !LLVMS.contains(&major) {
        return Err(SetUpError::UnknownLlvm {
            release: compiler.release().to_owned(),
            llvm: compiler.llvm().to_owned(),
        });
    }
    // Outside of `work`: the linker remembers where it was linked, so that it also runs without our environment.
    let prefix = toolchain.dir.join("llvm");
    link_llvm(compiler, &prefix)?;
    let root = work.join("root");
    let mut command = environment::cargo(compiler);
    command
        .args(["install", "bpf-linker", "--version", LINKER_VERSION])
        .args(["--locked", "--no-default-features", "--features"])
        .arg(format!("llvm-{major}"))
        .arg("--root")
        .arg(&root)
        .arg("--target-dir")
        .arg(work.join("target"))
        .current_dir(work)
        .env("LLVM_PREFIX", &prefix)
        // Its own profile asks for full debug information: 40 MB that nobody reads.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    logged("building bpf-linker", &mut command, &toolchain.dir.join(LOG))?;
    Ok(root.join("bin/bpf-linker"))
}

/// Fills `prefix/lib` with the two names that linking and starting look for: `libLLVM.so` and the library's own.
fn link_llvm(compiler: &Compiler, prefix: &Path) -> Result<(), SetUpError> {
    let dirs = llvm_dirs(compiler);
    let library =
        dirs.iter().find_map(|dir| find_llvm(dir, compiler.llvm_major())).ok_or_else(|| {
            SetUpError::NoLlvm {
                release: compiler.release().to_owned(),
                llvm: compiler.llvm().to_owned(),
                searched: dirs
                    .iter()
                    .map(|dir| dir.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            }
        })?;
    remove_dir(prefix)?;
    let lib = prefix.join("lib");
    make_dir(&lib)?;
    let own_name = library.file_name().unwrap_or_default();
    for name in [Path::new("libLLVM.so"), Path::new(own_name)] {
        let link = lib.join(name);
        if !link.exists() {
            symlink(&library, &link).map_err(failed("make", &link))?;
        }
    }
    Ok(())
}

/// Where the compiler's LLVM may be: with it, or where a distribution keeps it that built the compiler.
fn llvm_dirs(compiler: &Compiler) -> Vec<PathBuf> {
    let multiarch = compiler.host().replacen("-unknown", "", 1);
    vec![
        compiler.libraries(),
        compiler.libraries().join(multiarch),
        compiler.sysroot().join("lib64"),
        PathBuf::from(format!("/usr/lib/llvm-{}/lib", compiler.llvm_major())),
    ]
}

/// The shared library of LLVM of this version in `dir`. A linker script of that name, as rustup's toolchains have one
/// too, will not do.
fn find_llvm(dir: &Path, major: &str) -> Option<PathBuf> {
    let is_llvm = |name: &str| {
        name.strip_prefix("libLLVM")
            .map(|rest| rest.strip_prefix(".so").unwrap_or(rest))
            .and_then(|rest| rest.strip_prefix(['.', '-']))
            .and_then(|rest| rest.strip_prefix(major))
            .is_some_and(|rest| rest.starts_with(['.', '-']))
    };
    let mut found: Vec<_> = fs::read_dir(dir)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_llvm))
        .map(|entry| entry.path())
        .filter(|path| is_elf(path))
        .collect();
    found.sort();
    found.into_iter().next()
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut magic))
        .is_ok_and(|()| magic == *b"\x7fELF")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, body) in files {
            fs::write(dir.path().join(name), body).expect("a file");
        }
        dir
    }

    fn name(dir: &tempfile::TempDir, major: &str) -> Option<String> {
        let found = find_llvm(dir.path(), major)?;
        Some(found.file_name()?.to_str()?.to_owned())
    }

    #[test]
    fn the_library_of_rustups_toolchain_is_found_and_its_script_is_not() {
        let dir = dir(&[
            ("libLLVM-22-rust-1.95.0-stable.so", b"INPUT(libLLVM.so.22.1-rust-1.95.0-stable)"),
            ("libLLVM.so.22.1-rust-1.95.0-stable", b"\x7fELF..."),
            ("librustc_driver-6108105cd7e839cf.so", b"\x7fELF..."),
        ]);
        assert_eq!(name(&dir, "22").as_deref(), Some("libLLVM.so.22.1-rust-1.95.0-stable"));
        assert_eq!(name(&dir, "2"), None);
    }

    #[test]
    fn of_a_distributions_libraries_the_right_version_is_found() {
        let dir = dir(&[
            ("libLLVM-14.so.1", b"\x7fELF..."),
            ("libLLVM.so.19.1", b"\x7fELF..."),
            ("libLLVM.so.22.1", b"\x7fELF..."),
            ("libLLVM-22.so.1.txt", b"text"),
        ]);
        assert_eq!(name(&dir, "22").as_deref(), Some("libLLVM.so.22.1"));
        assert_eq!(name(&dir, "14").as_deref(), Some("libLLVM-14.so.1"));
        assert_eq!(name(&dir, "23"), None);
    }
}
