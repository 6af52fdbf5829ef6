//! The environment of an inner cargo or rustc.
//!
//! Both run below an outer cargo (a build script, `cargo run`, clippy, rust-analyzer), whose variables mean the host's
//! build: its flags, its wrappers, its profile, its target directory. None of them may reach the build for BPF.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::Compiler;

/// Variables of cargo that say how to reach registries, where its home is and how much to run at once.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_TERM_",
];

/// Variables of other names that would change a build: those of rustc and clippy, and what cargo tells build scripts.
const REMOVED: [&str; 13] = [
    "CLIPPY_ARGS",
    "DEBUG",
    "HOST",
    "LLVM_PREFIX",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "TARGET",
];

/// Prefixes of more such variables.
const REMOVED_PREFIXES: [&str; 4] = ["CARGO", "DEP_", "RUSTC_", "__CARGO_"];

/// A cargo that knows nothing of the one outside.
pub(crate) fn cargo(compiler: &Compiler) -> Command {
    program(compiler, compiler.cargo())
}

/// Any program that is part of a build, in the same environment.
pub(crate) fn program(compiler: &Compiler, path: PathBuf) -> Command {
    let mut command = Command::new(path);
    clean(&mut command, compiler);
    command
}

fn clean(command: &mut Command, compiler: &Compiler) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_outer_build) {
            command.env_remove(name);
        }
    }
    command
        // The very compiler that the toolchain was made for.
        .env("RUSTC", compiler.rustc())
        // Empty: none, even if a configuration file names one.
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
        // A stable compiler takes unstable features: aya-ebpf's assembler, and what builds `core`.
        .env("RUSTC_BOOTSTRAP", "1")
        // Subcommands of the same version.
        .env("PATH", before("PATH", compiler.programs()))
        // A linker that was built here finds the compiler's LLVM, wherever the compiler lies now.
        .env("LD_LIBRARY_PATH", before("LD_LIBRARY_PATH", compiler.libraries()));
}

fn is_of_outer_build(name: &str) -> bool {
    let starts_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    !starts_with(&KEPT) && (REMOVED.contains(&name) || starts_with(&REMOVED_PREFIXES))
}

/// The list of directories in the variable `name`, with `first` before the others.
fn before(name: &str, first: PathBuf) -> OsString {
    let others = env::var_os(name).unwrap_or_default();
    let others = env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
    let all: Vec<_> = std::iter::once(first.clone()).chain(others).collect();
    // A directory with a colon in its name cannot stand in such a list.
    env::join_paths(all).unwrap_or(first.into_os_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_build_does_not_show() {
        for name in [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "CARGO_MANIFEST_DIR",
            "DEP_Z_ROOT",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "TARGET",
            "__CARGO_DEFAULT_LIB_METADATA",
        ] {
            assert!(is_of_outer_build(name), "{name}");
        }
    }

    #[test]
    fn the_way_to_the_registry_stays() {
        for name in [
            "CARGO_HOME",
            "CARGO_HTTP_CAINFO",
            "CARGO_MAKEFLAGS",
            "CARGO_NET_OFFLINE",
            "HOME",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
            "SSL_CERT_FILE",
        ] {
            assert!(!is_of_outer_build(name), "{name}");
        }
    }
}
