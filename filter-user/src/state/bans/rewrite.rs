//! Writing the file of the bans anew: beside the one in use, a part at a time,
//! so that a million bans keep nobody waiting.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    Log,
    record::{BootId, Change, encode},
};
use crate::{dataplane::Ban, state::StateError};

/// Bans that are written at a time.
const PART: usize = 50_000;

/// A new file that is being written. Changes meanwhile are added to it as they
/// are to the old one: each is later than all that was listed before it.
#[derive(Debug)]
pub(super) struct Rewrite {
    pub(super) log: Log,
    /// The last one that was listed.
    after: Option<IpNet>,
}

impl Rewrite {
    pub(super) fn begin(path: &Path) -> Result<Self, StateError> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(StateError::of(path, "made"))?;
        let log = Log { file, path: path.to_owned(), length: 0, entries: 0 };
        Ok(Self { log, after: None })
    }

    /// Lists the next bans. Whether these were the last ones.
    pub(super) fn go_on<'a, I>(
        &mut self,
        after: impl FnOnce(Option<IpNet>) -> I,
        boot_id: BootId,
    ) -> Result<bool, StateError>
    where
        I: Iterator<Item = (&'a IpNet, &'a Arc<Ban>)>,
    {
        let bans: Vec<_> = after(self.after).take(PART).collect();
        let mut records = Vec::new();
        // Neighbours of which the same is said go into one record.
        for run in bans.chunk_by(|(_, one), (_, other)| Arc::ptr_eq(one, other) || one == other) {
            let nets: Vec<IpNet> = run.iter().map(|(net, _)| **net).collect();
            encode(Change::Ban(&nets, run[0].1), boot_id, &mut records);
        }
        self.log.append(&records, bans.len())?;
        self.after = bans.last().map(|(net, _)| **net).or(self.after);
        Ok(bans.len() < PART)
    }

    /// Puts it in the old one's place.
    pub(super) fn finish(&mut self, path: &Path) -> Result<Log, StateError> {
        let Log { file, path: new, length, entries } = &self.log;
        let file = file.try_clone().map_err(StateError::of(new, "kept open"))?;
        fs::rename(new, path).map_err(StateError::of(new, "renamed"))?;
        Ok(Log { file, path: path.to_owned(), length: *length, entries: *entries })
    }
}
