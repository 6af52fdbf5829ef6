//! Which policy a start loads: the daemon's file, unless that is not valid, was
//! rolled back or never confirmed; then the last confirmed copy.

use std::path::Path;

use tracing::{error, warn};

use super::{DaemonError, owner::Contents};
use crate::{
    policy::{self, Errors, Loaded},
    state::policies::{Doubt, Kept, Policies},
};

/// A policy to start with.
pub(super) struct First {
    /// Its text and files.
    pub kept: Kept,
    /// What it means.
    pub loaded: Loaded,
    /// What its set files held, and when.
    pub contents: Contents,
    /// Why it is not the daemon's file.
    pub instead: Option<String>,
}

/// Chooses it.
///
/// # Errors
///
/// When the daemon's file will not do, and no copy is there in its place.
pub(super) fn choose(file: &Path, policies: Option<&Policies>) -> Result<First, DaemonError> {
    let doubts = policies
        .map_or_else(Vec::new, |policies| said(policies.doubted().map(Some)).unwrap_or_default());
    let own = read(file);
    let (why, errors) = match own {
        Ok(first) => match find(doubts, &first.kept.digest()) {
            None => return Ok(first),
            Some(doubt) => (format!("{} {}", file.display(), doubt.why), None),
        },
        Err(errors) => {
            let first = errors.0.first().map(ToString::to_string).unwrap_or_default();
            (format!("it is not valid: {first}"), Some(errors))
        }
    };
    let Some(kept) = policies.and_then(|policies| said(policies.confirmed())) else {
        return Err(errors.map_or(DaemonError::NothingConfirmed(why), DaemonError::Policy));
    };
    let mut contents = Contents::of(&kept.sets);
    let parsed = policy::parse_with(&kept.text, &kept.file, &mut |path| contents.read(path));
    match parsed {
        Ok(loaded) => {
            warn!("the last confirmed policy is loaded instead of the file: {why}");
            Ok(First { kept, loaded, contents, instead: Some(why) })
        }
        Err(of_copy) => {
            error!("the last confirmed policy is not valid for this version: {of_copy}");
            Err(errors.map_or(DaemonError::NothingConfirmed(why), DaemonError::Policy))
        }
    }
}

fn read(file: &Path) -> Result<First, Errors> {
    let text = policy::read_text(file)?;
    let mut contents = Contents::default();
    let loaded = policy::parse_with(&text, file, &mut |path| contents.read(path))?;
    let kept = contents.kept(file, &text);
    Ok(First { kept, loaded, contents, instead: None })
}

fn find(doubts: Vec<Doubt>, digest: &str) -> Option<Doubt> {
    doubts.into_iter().find(|doubt| doubt.digest == digest)
}

fn said<T>(read: Result<Option<T>, crate::state::StateError>) -> Option<T> {
    read.unwrap_or_else(|error| {
        error!("what was kept of policies is lost: {error}");
        None
    })
}
