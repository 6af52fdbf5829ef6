//! The policy file and its set files.

use std::path::{Path, PathBuf};

use filter_user::{
    compile::{Numbers, compile},
    control::{Note, Problem},
    policy::{Loaded, PolicyError, ReadError, diff, parse_with},
};

use crate::{PLANTED, sentence::is_one_line};

const FILE: &str = "/etc/nodewall/nodewall.toml";

/// Stands between the policy and its set files, which follow in the order in
/// which they are asked for. TOML knows no such byte.
const NEXT_FILE: u8 = 0;

/// Reads a policy, and puts it into tables.
pub fn policy(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == NEXT_FILE);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let files: Vec<&[u8]> = parts.collect();
    match read(&text, &files) {
        Ok((loaded, read)) => valid(&text, &files, &loaded, &read),
        Err((errors, read)) => {
            assert!(!errors.is_empty(), "refused without a reason");
            for error in &errors {
                place_is_there(&text, &files, &read, error);
                let problem = Problem::from(error);
                is_one_line(&problem.to_string());
                let json = serde_json::to_string(&problem).unwrap_or_default();
                assert_eq!(serde_json::from_str(&json).ok(), Some(problem), "{json}");
            }
        }
    }
}

type Refused = (Vec<PolicyError>, Vec<PathBuf>);

/// The policy, and which files were asked for.
fn read(text: &str, files: &[&[u8]]) -> Result<(Loaded, Vec<PathBuf>), Refused> {
    let mut asked: Vec<PathBuf> = Vec::new();
    let read = &mut |path: &Path| {
        assert!(path.is_absolute(), "{}", path.display());
        let index = asked.iter().position(|before| before == path).unwrap_or(asked.len());
        if index == asked.len() {
            asked.push(path.to_owned());
        }
        files.get(index).map(|bytes| bytes.to_vec()).ok_or(ReadError::Missing)
    };
    match parse_with(text, Path::new(FILE), read) {
        Ok(loaded) => Ok((loaded, asked)),
        Err(errors) => Err((errors.0, asked)),
    }
}

fn valid(text: &str, files: &[&[u8]], loaded: &Loaded, asked: &[PathBuf]) {
    let Loaded { policy, warnings, set_files } = loaded;
    for warning in warnings {
        is_one_line(&Note::from(warning).to_string());
    }
    for file in set_files {
        assert!(asked.contains(&file.path), "{} was not read", file.path.display());
    }
    assert_eq!(diff(policy, policy), [], "it differs from itself");
    for change in diff(&Default::default(), policy) {
        is_one_line(&change.to_string());
    }

    let (mut rules, mut interfaces) = (Numbers::of_rules(), Numbers::of_interfaces());
    match compile(policy, &mut rules, &mut interfaces) {
        Ok(tables) => assert_eq!(tables.rules.len(), policy.rules.len() + 1),
        Err(error) => is_one_line(&error.to_string()),
    }

    // What is no part of it changes nothing.
    let commented = format!("# first\n{}\n# last\n", text.strip_prefix('\u{feff}').unwrap_or(text));
    match read(&commented, files) {
        Ok((again, _)) => assert_eq!(&again.policy, policy, "a comment makes another policy"),
        Err((errors, _)) => panic!("a comment makes it wrong: {errors:?}"),
    }
}

/// Whether the place that an error names is one in its file.
fn place_is_there(text: &str, files: &[&[u8]], asked: &[PathBuf], error: &PolicyError) {
    let Some(line) = error.line else {
        assert_eq!(error.column, None, "a column of no line: {error}");
        return;
    };
    let content = match asked.iter().position(|path| *path == error.file) {
        _ if error.file == Path::new(FILE) => text.to_owned(),
        Some(index) => {
            String::from_utf8_lossy(files.get(index).copied().unwrap_or_default()).into()
        }
        None => panic!("it names a file that was not read: {error}"),
    };
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    let in_line = content.split('\n').nth((line as usize).wrapping_sub(1));
    let Some(in_line) = in_line else { panic!("there is no such line: {error}") };
    let mut column = error.column.unwrap_or(1) as usize;
    if PLANTED {
        // Counted in bytes.
        column += in_line.chars().take(column).map(|c| c.len_utf8() - 1).sum::<usize>();
    }
    let columns = in_line.chars().count() + 1;
    assert!((1..=columns).contains(&column), "there is no such column: {error}");
}
