//! The interfaces that were guarded for their default routes, kept in the state
//! directory: a start before the network finds no default route yet.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use tracing::warn;

use crate::{
    policy::is_valid_interface,
    state::{StateError, sync_directory},
};

const FILE: &str = "interfaces";

const HEADER: &str = "\
# The interfaces that nodewall guards because they have, or once had, a default
# route; written by the daemon. To have one forgotten, take its line out while
# the daemon is stopped, or name those you mean in `interfaces` of the policy.
";

/// The names, and where they are kept.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    directory: Option<PathBuf>,
    names: BTreeSet<String>,
}

impl Remembered {
    /// What an earlier start has kept in the state directory; `None`: nothing is kept.
    pub(super) fn load(directory: Option<&Path>) -> Self {
        let mut names = BTreeSet::new();
        if let Some(path) = directory.map(|directory| directory.join(FILE)) {
            match fs::read(&path) {
                Ok(bytes) => names = parse(&String::from_utf8_lossy(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => warn!(
                    "{} cannot be read ({error}): interfaces that have no default route yet are guarded once they have one; see who owns the file",
                    path.display()
                ),
            }
        }
        Self { directory: directory.map(Path::to_owned), names }
    }

    /// Their names.
    pub(super) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Keeps these, and no others.
    pub(super) fn replace(&mut self, names: &BTreeSet<String>) {
        if *names == self.names {
            return;
        }
        self.names.clone_from(names);
        let Some(directory) = &self.directory else { return };
        if let Err(error) = write(directory, names) {
            warn!(
                "after a reboot these interfaces are guarded once they have a default route, not before: {}; for {error}",
                names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            );
        }
    }
}

/// Names of interfaces, one a line; what can be none is passed over.
pub(crate) fn parse(text: &str) -> BTreeSet<String> {
    // What was not UTF-8 is damaged.
    let is_whole = |line: &&str| !line.contains(char::REPLACEMENT_CHARACTER);
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter(is_whole);
    lines.filter(|line| is_valid_interface(line)).map(str::to_owned).collect()
}

/// Whole or not at all, also where the power fails.
fn write(directory: &Path, names: &BTreeSet<String>) -> Result<(), StateError> {
    let mut text = HEADER.to_owned();
    for name in names {
        text += name;
        text.push('\n');
    }
    let new = directory.join(format!("{FILE}.new"));
    let mut options = OpenOptions::new();
    let mut write = || -> io::Result<()> {
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, directory.join(FILE))
    };
    write().map_err(StateError::of(&new, "written"))?;
    sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_next_start_knows_them() -> io::Result<()> {
        let state = tempfile::tempdir()?;
        let directory = state.path();
        let mut first = Remembered::load(Some(directory));
        assert!(first.names().is_empty());
        first.replace(&set(&["eth0", "wg0"]));
        assert_eq!(Remembered::load(Some(directory)).names(), &set(&["eth0", "wg0"]));
        first.replace(&set(&["eth0"]));
        assert_eq!(Remembered::load(Some(directory)).names(), &set(&["eth0"]));
        assert!(fs::read_dir(directory)?.count() == 1, "nothing else is left there");
        Ok(())
    }

    #[test]
    fn a_damaged_file_costs_what_is_damaged() -> io::Result<()> {
        let state = tempfile::tempdir()?;
        let text =
            b"# a comment\neth0\n\xff\xfe\nname-too-long-for-an-interface\na/b\n\0\n..\nn:\nwg0";
        fs::write(state.path().join(FILE), text)?;
        assert_eq!(Remembered::load(Some(state.path())).names(), &set(&["eth0", "wg0"]));
        Ok(())
    }

    #[test]
    fn what_cannot_be_kept_is_known_until_the_end() -> io::Result<()> {
        let state = tempfile::tempdir()?;
        let file = state.path().join("file");
        fs::write(&file, "")?;
        let mut remembered = Remembered::load(Some(&file));
        remembered.replace(&set(&["eth0"]));
        assert_eq!(remembered.names(), &set(&["eth0"]));
        Ok(())
    }
}
