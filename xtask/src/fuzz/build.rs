//! Building the fuzzers.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use toolchain::{Compiler, Toolchain};

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

/// Of what cargo says, the programs.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
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
        .args(["--message-format=json-render-diagnostics", "--config", &flags])
        // The flags are not stable ones.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo's output is piped")?;
    let mut built = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo says")?;
        if let Ok(Artifact { target: Target { name }, executable: Some(program) }) =
            serde_json::from_str(&line)
            && known.contains(&name)
        {
            built.push(Fuzzer { name, program });
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!(
            "the fuzzers did not build ({status}): what cargo said is above; if it lacks a compiler for C++, `cargo xtask setup --all` installs one"
        );
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
