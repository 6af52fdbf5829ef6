//! Reading a policy or set file, whole.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// The largest file that is read, in bytes: a million addresses fit well.
const LARGEST: u64 = 64 << 20;

/// Why a file could not be read. Displays as the end of a sentence that begins with the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing has this path.
    #[error("does not exist; make it, or correct the path")]
    Missing,
    /// The permissions of the file, or of a folder above it, say no.
    #[error("cannot be read: permission denied; let the user that nodewall runs as read it")]
    Denied,
    /// A directory.
    #[error("is a directory; name a file")]
    Directory,
    /// A device, a pipe or a socket: reading it might never end.
    #[error("is not a regular file; name one")]
    Special,
    /// More than 64 MiB.
    #[error("is larger than 64 MiB; that is no list of addresses")]
    TooLarge,
    /// Anything else, in the operating system's words.
    #[error("cannot be read: {0}; correct that and try again")]
    Other(String),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::IsADirectory => Self::Directory,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// The bytes of the regular file at `path`, at most 64 MiB.
///
/// # Errors
///
/// See [`ReadError`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    // Asked before it is opened: the open itself would wait for a pipe's writer.
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(ReadError::Directory);
    }
    if !metadata.is_file() {
        return Err(ReadError::Special);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(LARGEST)).unwrap_or(0));
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(ReadError::TooLarge);
    }
    Ok(bytes)
}

/// `bytes` as text without its byte order mark, or what can be read of it
/// before the first byte that is not UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, &str> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => Err(std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()),
    }
}
