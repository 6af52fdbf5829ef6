//! Policies kept whole, sets included: the last confirmed one, the one before
//! it, and which one must not come back with a restart.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::{StateError, sync_directory};

const CONFIRMED: &str = "confirmed.json";
const PREVIOUS: &str = "previous.json";
const DOUBTED: &str = "doubted.json";
/// So many are noted; more than anybody tries in a row.
const DOUBTS: usize = 64;

/// A policy, with all that it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The policy file.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// What its set files held.
    pub sets: BTreeMap<PathBuf, String>,
}

impl Kept {
    /// Tells one policy from another: SHA-256 over all of it, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(self.text.as_bytes());
        for (path, content) in &self.sets {
            add(path.as_os_str().as_encoded_bytes());
            add(content.as_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A policy that a start must not load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// Of [`Kept::digest`].
    pub digest: String,
    /// What became of it: `was rolled back`, `was never confirmed`.
    pub why: String,
}

/// The files of the state directory that hold policies.
#[derive(Debug, Clone)]
pub struct Policies {
    directory: PathBuf,
}

impl Policies {
    /// Those in a directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The last policy that was confirmed.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read.
    pub fn confirmed(&self) -> Result<Option<Kept>, StateError> {
        self.read(CONFIRMED)
    }

    /// The one before it, to which a rollback leads.
    ///
    /// # Errors
    ///
    /// As of [`confirmed`](Self::confirmed).
    pub fn previous(&self) -> Result<Option<Kept>, StateError> {
        self.read(PREVIOUS)
    }

    /// Those that a start must not load, the last one last.
    ///
    /// # Errors
    ///
    /// As of [`confirmed`](Self::confirmed).
    pub fn doubted(&self) -> Result<Vec<Doubt>, StateError> {
        Ok(self.read(DOUBTED)?.unwrap_or_default())
    }

    /// Keeps a policy as the last that was confirmed, and what a rollback leads
    /// to. It is not doubted any more.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn confirm(&self, policy: &Kept, previous: Option<&Kept>) -> Result<(), StateError> {
        match previous {
            Some(previous) => self.write(PREVIOUS, previous)?,
            None => self.remove(PREVIOUS)?,
        }
        self.write(CONFIRMED, policy)?;
        let mut doubted = self.doubted().unwrap_or_default();
        let (digest, before) = (policy.digest(), doubted.len());
        doubted.retain(|doubt| doubt.digest != digest);
        if doubted.len() == before { Ok(()) } else { self.set_doubted(&doubted) }
    }

    /// Notes that a start must not load a policy. Gives what was noted before.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn doubt(&self, policy: &Kept, why: &str) -> Result<Vec<Doubt>, StateError> {
        // One that cannot be read says nothing any more.
        let before = self.doubted().unwrap_or_default();
        let new = Doubt { digest: policy.digest(), why: why.to_owned() };
        let others = before.iter().filter(|doubt| doubt.digest != new.digest).cloned();
        let mut doubted: Vec<Doubt> = others.chain([new.clone()]).collect();
        doubted.drain(..doubted.len().saturating_sub(DOUBTS));
        self.set_doubted(&doubted)?;
        Ok(before)
    }

    /// Notes these, and no others.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn set_doubted(&self, doubted: &[Doubt]) -> Result<(), StateError> {
        if doubted.is_empty() { self.remove(DOUBTED) } else { self.write(DOUBTED, &doubted) }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let path = self.directory.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::of(&path, "read")(error)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| StateError::of(&path, "read")(io::Error::other(error)))
    }

    /// Whole or not at all, whenever the power goes.
    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.directory.join(name);
        let new = self.directory.join(format!("{name}.new"));
        let written = (|| {
            let options = &mut OpenOptions::new();
            let options = options.create(true).truncate(true).write(true).mode(0o600);
            let mut file = options.open(&new)?;
            file.write_all(&serde_json::to_vec(value).map_err(io::Error::other)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        })();
        written.map_err(StateError::of(&path, "written"))?;
        sync_directory(&self.directory)
    }

    fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.directory.join(name);
        match fs::remove_file(&path) {
            Ok(()) => sync_directory(&self.directory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StateError::of(&path, "removed")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, set: &str) -> Kept {
        let sets = [(PathBuf::from("/etc/peers.txt"), set.to_owned())].into();
        Kept { file: "/etc/nodewall.toml".into(), text: text.to_owned(), sets }
    }

    #[test]
    fn what_is_kept_comes_back() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let policies = Policies::new(directory.path());
        assert_eq!((policies.confirmed()?, policies.previous()?), (None, None));
        let (first, second) = (kept("a", "x"), kept("b", "x"));
        policies.confirm(&first, None)?;
        policies.confirm(&second, Some(&first))?;
        assert_eq!(policies.confirmed()?.as_ref(), Some(&second));
        assert_eq!(policies.previous()?.as_ref(), Some(&first));
        policies.confirm(&first, None)?;
        assert_eq!(policies.previous()?, None);
        Ok(())
    }

    #[test]
    fn a_doubt_ends_when_that_very_policy_is_confirmed() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let policies = Policies::new(directory.path());
        policies.doubt(&kept("a", "x"), "was rolled back")?;
        policies.confirm(&kept("a", "y"), None)?;
        let before = policies.doubt(&kept("b", "x"), "was never confirmed")?;
        let digests = |doubts: &[Doubt]| -> Vec<String> {
            doubts.iter().map(|doubt| doubt.digest.clone()).collect()
        };
        let [a, b] = ["a", "b"].map(|text| kept(text, "x").digest());
        assert_eq!(digests(&before), std::slice::from_ref(&a));
        assert_eq!(digests(&policies.doubted()?), [a.clone(), b.clone()]);
        // Another one's confirmation is none of its business.
        policies.confirm(&kept("b", "x"), None)?;
        assert_eq!(digests(&policies.doubted()?), [a]);
        policies.confirm(&kept("a", "x"), None)?;
        assert_eq!(policies.doubted()?, []);
        policies.set_doubted(&before)?;
        assert_eq!(policies.doubted()?, before);
        Ok(())
    }

    #[test]
    fn a_set_makes_another_policy() {
        assert_ne!(kept("a", "x").digest(), kept("a", "y").digest());
        assert_ne!(kept("a", "x").digest(), kept("ax", "").digest());
    }

    #[test]
    fn what_cannot_be_read_is_named() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join(CONFIRMED), "{\"file\":")?;
        let error = Policies::new(directory.path()).confirmed().err().ok_or("no error")?;
        assert!(error.to_string().contains(CONFIRMED), "{error}");
        Ok(())
    }
}
