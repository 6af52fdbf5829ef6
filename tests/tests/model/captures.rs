//! The captures that are kept as files: what is in them, and what becomes of it.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use filter_common::{Reason, Scope};
use nix::unistd::geteuid;
use nodewall_tests::{
    captures::{Capture, captures},
    model::{Host, Kernel, Played, Prepared, play},
};

use crate::common::{START, in_guest};

/// Set: write the files anew.
const WRITE: &str = "NODEWALL_WRITE_CAPTURES";

fn files(capture: &Capture) -> [(PathBuf, Vec<u8>); 3] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let path = |extension: &str| folder.join(format!("{}.{extension}", capture.name));
    [
        (path("pcap"), capture.pcap()),
        (path("toml"), capture.case.policies[0].clone().into_bytes()),
        (path("expected"), capture.expected().into_bytes()),
    ]
}

#[test]
fn the_files_are_what_is_made_here() {
    if in_guest() {
        println!("not here: a guest has no files of the repository");
        return;
    }
    for (path, bytes) in captures().iter().flat_map(files) {
        if env::var_os(WRITE).is_some() {
            fs::write(&path, &bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            found == bytes,
            "{} is not what is made here: run this test with {WRITE}=1",
            path.display()
        );
    }
}

#[test]
fn every_reason_is_in_them() {
    let captures = captures();
    let expected = captures.iter().flat_map(|capture| &capture.expected);
    let seen: BTreeSet<&str> = expected.map(|[reason, ..]| *reason).collect();
    let all: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(seen, all);
}

/// What became of each packet, as the files say it.
fn told(played: &Played, prepared: &Prepared) -> Vec<[String; 3]> {
    let of = |outcome: &filter_common::Outcome| {
        let named = |number| prepared.rules.iter().find(|(_, other)| *other == number);
        let rule = outcome.rule.and_then(|rule| named(rule.get())).map_or("-", |(name, _)| name);
        let scope = outcome.scope.map_or("-", Scope::name);
        [outcome.reason.name(), rule, scope].map(str::to_owned)
    };
    played.outcomes.iter().map(|(_, outcome)| of(outcome)).collect()
}

#[test]
fn they_are_judged_as_expected() {
    let mut kernel = geteuid().is_root().then(|| Kernel::new(None));
    if kernel.is_none() {
        println!("by the model alone: loading a BPF program needs root");
    }
    for capture in captures() {
        let Capture { name, case, expected } = &capture;
        let prepared = case.prepare().unwrap_or_else(|error| panic!("{name}: {error}"));
        let model = play(case, &prepared, &mut Host::default(), START);
        assert_eq!(told(&model, &prepared), *expected, "{name}, by the model");
        if let Some(kernel) = &mut kernel {
            let (start, _) = kernel.next_case();
            let program = play(case, &prepared, kernel, start);
            assert_eq!(told(&program, &prepared), *expected, "{name}, by the program");
        }
    }
}
