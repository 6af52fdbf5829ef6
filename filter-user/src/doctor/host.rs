//! The files in which the kernel tells of itself.

use std::{fs, path::PathBuf};

/// A host, by the root of its file system: a test makes one of its own.
#[derive(Debug)]
pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    pub fn here() -> Self {
        Self { root: PathBuf::from("/") }
    }

    /// A path such as `proc/sys/net/core/bpf_jit_enable`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// What a file holds, without the line's end; `None` where there is none,
    /// or it cannot be read.
    pub fn read(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// A number in a file.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.trim().parse().ok()
    }

    /// The file name of what a link points to.
    pub fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
pub(super) mod fake {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A host that has only what a test gives it.
    pub struct Fake {
        pub host: Host,
        _directory: tempfile::TempDir,
    }

    impl Fake {
        pub fn new(files: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
            let fake =
                Self { host: Host { root: directory.path().to_owned() }, _directory: directory };
            for (path, text) in files {
                fake.write(path, text);
            }
            fake
        }

        pub fn write(&self, path: &str, text: &str) {
            let path = self.made(path);
            fs::write(path, text).unwrap_or_else(|error| panic!("{error}"));
        }

        pub fn link(&self, path: &str, target: &str) {
            symlink(target, self.made(path)).unwrap_or_else(|error| panic!("{error}"));
        }

        fn made(&self, path: &str) -> PathBuf {
            let path = self.host.path(path);
            let made = path.parent().map(fs::create_dir_all).transpose();
            made.unwrap_or_else(|error| panic!("{error}"));
            path
        }
    }
}
