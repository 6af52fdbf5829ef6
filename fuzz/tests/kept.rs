//! Every input that the tree keeps, on stable Rust and without a fuzzer: the
//! corpus, and what was found once.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use fuzz::TARGETS;

/// The inputs of a target in one of the two directories.
fn inputs(kind: &str, target: &str) -> io::Result<Vec<PathBuf>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target);
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut files =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

#[test]
fn what_is_kept_is_read_without_a_finding() -> io::Result<()> {
    for (name, target) in TARGETS {
        let corpus = inputs("corpus", name)?;
        assert!(!corpus.is_empty(), "{name} has no corpus");
        for file in corpus.into_iter().chain(inputs("regressions", name)?) {
            // Shown where the test fails.
            println!("{}", file.display());
            target(&fs::read(file)?);
        }
    }
    Ok(())
}

#[test]
fn every_fuzzer_has_a_target() -> io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut files = Vec::new();
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        files.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    let mut names = TARGETS.map(|(name, _)| name);
    names.sort_unstable();
    files.sort();
    assert_eq!(files, names);
    Ok(())
}
