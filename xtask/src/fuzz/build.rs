//! Building the fuzzers.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use toolchain::{Compiler, Toolchain};

use crate::artifacts;
use crate::outer::{self, workspace};

/// Where the targets are, below the workspace: a file each.
const TARGETS: &str = "fuzz/fuzz_targets";

/// What tells libFuzzer how far an input gets, and which comparisons it fails.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// What sees an access that is none of its business.
const ADDRESS: &str = "-Zsanitizer=address";

/// A target, built.
pub struct Fuzzer {
    /// Its name.
    pub name: String,
    /// The program.
    pub program: PathBuf,
}

/// Builds those of that name, or all.
pub fn fuzzers(toolchain: &Toolchain, wanted: &[String], planted: bool) -> Result<Vec<Fuzzer>> {
    let known = targets()?;
    if let Some(wrong) = wanted.iter().find(|name| !known.contains(name)) {
        bail!("there is no target `{wrong}`; there are: {}", known.join(", "));
    }
    let compiler = toolchain.compiler();
    let mut flags = COVERAGE.to_vec();
    if has_address_sanitizer(compiler) {
        flags.push(ADDRESS);
    } else {
        eprintln!("fuzz: this compiler has no AddressSanitizer; going without");
    }
    // As an argument, because a variable would reach the build of the kernel side.
    let host = compiler.host();
    let flags = format!("target.{host}.rustflags={flags:?}");
    let mut command = outer::cargo();
    command
        .args(["build", "--package", "fuzz", "--bins", "--profile", "fuzz", "--target", host])
        .args(["--features", if planted { "planted" } else { "libfuzzer" }])
        .args(["--config", &flags])
        // The flags are not stable ones.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let remedy = "; if it lacks a compiler for C++, `cargo xtask setup --all` installs one";
    let mut built = Vec::new();
    for artifact in artifacts::built(&mut command, "the fuzzers", remedy)? {
        let name = artifact.target.name;
        if let (true, Some(program)) = (known.contains(&name), artifact.executable) {
            built.push(Fuzzer { name, program });
        }
    }
    built.retain(|fuzzer| wanted.is_empty() || wanted.contains(&fuzzer.name));
    built.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(built)
}

/// The names of all.
fn targets() -> Result<Vec<String>> {
    let dir = workspace().join(TARGETS);
    let unreadable = || format!("cannot read {}", dir.display());
    let mut names = Vec::new();
    for file in fs::read_dir(&dir).with_context(unreadable)? {
        let path = file.with_context(unreadable)?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Whether its runtime lies beside the standard library: compilers of distributions may lack it.
fn has_address_sanitizer(compiler: &Compiler) -> bool {
    let libraries = compiler.sysroot().join("lib/rustlib").join(compiler.host()).join("lib");
    fs::read_dir(libraries).is_ok_and(|files| {
        files.flatten().any(|file| file.file_name().to_string_lossy().ends_with("_rt.asan.a"))
    })
}
