//! File system calls whose errors name the file.

use std::fs::{self, File};
use std::path::Path;

use crate::Error;

/// Makes a directory and those above it.
pub(crate) fn make_dir(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(failed("make", path))
}

/// Opens a file that serves as a lock, and makes it where it is not there.
pub(crate) fn lock_file(path: &Path) -> Result<File, Error> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed("open", path))
}

/// Waits until no other process holds the lock. It is held until the file is dropped.
pub(crate) fn lock(file: &File, path: &Path) -> Result<(), Error> {
    file.lock().map_err(failed("lock", path))
}

/// For `map_err`: names the act and the file.
pub(crate) fn failed(
    act: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |reason| Error::File { act, path, reason }
}
