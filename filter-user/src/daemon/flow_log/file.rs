//! The file of the flow log.
//!
//! It is opened for each minute, so that whoever rotates it (logrotate) need
//! not tell; and it is rotated here, so that it never fills the disk. Crates
//! that rotate files name them by the date, or keep to themselves what the disk
//! says.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::libc;

/// A file of so many bytes gives way to a new one.
const LARGEST: u64 = 64 << 20;
/// Older files that are kept: `flows.log.1` is the youngest.
const KEPT: u32 = 7;

/// Appends lines, all or none.
pub(super) fn append(path: &Path, lines: &str) -> io::Result<()> {
    append_below(path, lines, LARGEST)
}

fn append_below(path: &Path, lines: &str, largest: u64) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.is_dir()) {
        DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
    }
    if fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() >= largest) {
        rotate(path)?;
    }
    // Not to wait where it is no file but a pipe that nobody reads.
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let before = file.metadata()?.len();
    file.write_all(lines.as_bytes()).inspect_err(|_| {
        // Half a line would be read as something else.
        let _ = file.set_len(before);
    })
}

/// Moves each file to the next number; the oldest goes.
fn rotate(path: &Path) -> io::Result<()> {
    for number in (0..KEPT).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// `flows.log`, `flows.log.1`, and so on.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_of_its_own_and_a_new_file_when_one_is_full() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("new/flows.log");
        let mode = |path: &Path| fs::metadata(path).map(|file| file.permissions().mode() & 0o777);
        for minute in 0..20 {
            append_below(&path, &format!("{minute}\n{minute}\n"), 4)?;
        }
        assert_eq!(mode(&root.path().join("new"))? & !0o750, 0);
        assert_eq!(mode(&path)? & !0o640, 0);
        assert_eq!(fs::read_to_string(&path)?, "19\n19\n");
        assert_eq!(fs::read_to_string(numbered(&path, 1))?, "18\n18\n");
        assert_eq!(fs::read_to_string(numbered(&path, KEPT))?, "12\n12\n");
        assert!(!numbered(&path, KEPT + 1).exists());
        append_below(&path, "more\n", 1000)?;
        assert_eq!(fs::read_to_string(&path)?, "19\n19\nmore\n");
        Ok(())
    }

    #[test]
    fn a_full_disk_is_told() {
        // It refuses every byte.
        let Err(error) = append(Path::new("/dev/full"), "line\n") else { panic!("it was written") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let Err(_) = append(Path::new("/proc/nowhere/flows.log"), "line\n") else {
            panic!("a directory was made in /proc")
        };
    }
}
