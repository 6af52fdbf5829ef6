//! `cargo xtask run`: the filter at work, in a sandbox or on a real interface.

mod counters;
mod demonstration;
mod display;
mod guard;
mod scenes;
mod world;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Parser;
use nix::unistd::geteuid;

use crate::{program, setup};

/// The policy to start from, which the sandbox runs.
const POLICY: &str = include_str!("../../assets/policy.toml");

/// Shows the filter at work in a sandbox; with `-- --interface IF` guards an interface of this machine.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// See `cargo xtask run -- --help`.
    // Parsed once more, so that it makes no difference whether `--` stands before them.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// Shows the filter at work: without options in a sandbox of two network namespaces, which touches nothing of this
/// machine; with --interface on an interface of it.
#[derive(Parser)]
#[command(name = "cargo xtask run --", bin_name = "cargo xtask run --")]
struct Options {
    /// Guard this interface, until Ctrl-C. Without --config nothing is dropped: the packets are only judged and counted.
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// The policy for it.
    #[arg(long, value_name = "FILE", requires = "interface")]
    config: Option<PathBuf>,
    /// This program instead of one that is built now.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// More options for `nodewall run`.
    #[arg(value_name = "OPTION", last = true, requires = "interface")]
    more: Vec<OsString>,
}

/// Builds, then shows.
pub fn run(args: &Args) -> Result<()> {
    let name = OsString::from("cargo xtask run --");
    let options = Options::parse_from(std::iter::once(name).chain(args.options.iter().cloned()));
    let binary = match &options.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => {
            setup::ensure()?;
            // A daemon that stays is worth the wait for an optimised one.
            program::build(options.interface.is_some())?
        }
    };
    if !geteuid().is_root() {
        bail!(
            "the filter and its sandbox need root, which building does not: run `{}`",
            as_root(&binary, &args.options)?
        );
    }
    match &options.interface {
        Some(interface) => {
            let config = options.config.as_deref();
            guard::exec(&binary, interface, config, &options.more)
        }
        None => demonstration::run(&binary),
    }
}

/// The command that does as root what is left to do. It needs no cargo, which root may not find, and leaves no file of
/// root's in the target directory.
fn as_root(binary: &Path, options: &[OsString]) -> Result<String> {
    let mut words = vec!["sudo".to_owned(), quoted(&std::env::current_exe()?.to_string_lossy())];
    words.push("run".to_owned());
    if !options.iter().any(|word| word.to_string_lossy().starts_with("--binary")) {
        words.push("--binary".to_owned());
        words.push(quoted(&binary.to_string_lossy()));
    }
    words.extend(options.iter().map(|word| quoted(&word.to_string_lossy())));
    Ok(words.join(" "))
}

/// The word as a shell takes it for itself.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        Options::parse_from(std::iter::once("x").chain(words.iter().copied()))
    }

    #[test]
    fn options_reach_the_daemon() {
        let options = options(&["--interface", "eth0", "--", "--state", "/tmp/s"]);
        assert_eq!(options.interface.as_deref(), Some("eth0"));
        assert_eq!(options.more, ["--state", "/tmp/s"]);
    }

    #[test]
    fn a_policy_alone_would_guard_nothing() {
        assert!(Options::try_parse_from(["x", "--config", "a.toml"]).is_err());
    }

    #[test]
    fn words_stay_whole() {
        assert_eq!(quoted("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
