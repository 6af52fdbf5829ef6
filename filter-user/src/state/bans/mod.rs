//! The file of the bans: a log of their changes, each durable before it is
//! answered, that is written anew when most of it has come to nothing.
//!
//! The bans in the kernel do not wait for the disk. What cannot be written
//! down holds all the same, is told, and is written later.

pub(crate) mod record;
mod rewrite;

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tracing::{info, warn};

pub use self::record::{BootId, Change, Clocks, Damage};
use self::{
    record::{Read, decode, encode},
    rewrite::Rewrite,
};
use super::{StateError, sync_directory};
use crate::dataplane::Ban;

/// The file's name in the state directory.
const NAME: &str = "bans";
/// The one that is to take its place.
const NEW: &str = "bans.new";
/// What was found damaged, kept for whoever wants to look.
const DAMAGED: &str = "bans.damaged";

/// Prefixes in the file that came to nothing, beyond as many as hold, before
/// it is written anew.
const SLACK: usize = 10_000;
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(30);

/// The file of the bans.
#[derive(Debug)]
pub struct BanFile {
    directory: PathBuf,
    boot_id: BootId,
    log: Option<Log>,
    rewrite: Option<Rewrite>,
    /// Something that holds is not in the file as it should be.
    must_rewrite: bool,
    /// Bans are in the file that do not hold, for another start.
    holds_more: bool,
    /// Why not everything is in the file.
    problem: Option<String>,
    /// What of it could not be read.
    lost: Option<String>,
    not_before: Option<Instant>,
}

/// A file that records are added to.
#[derive(Debug)]
struct Log {
    file: File,
    path: PathBuf,
    /// All before it are whole records.
    length: u64,
    /// Prefixes in them.
    entries: usize,
}

impl Log {
    fn open(path: PathBuf, entries: usize) -> Result<Self, StateError> {
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let opened = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.map_err(StateError::of(&path, "opened"))?;
        Ok(Self { file, path, length, entries })
    }

    /// Cuts off what is no whole record.
    fn cut(&mut self, length: u64) -> Result<(), StateError> {
        if length < self.length {
            let cut = self.file.set_len(length);
            cut.map_err(StateError::of(&self.path, "cut to what is whole of it"))?;
            self.length = length;
        }
        Ok(())
    }

    fn append(&mut self, records: &[u8], entries: usize) -> Result<(), StateError> {
        let written = self.file.write_all(records).map_err(StateError::of(&self.path, "written"));
        let synced = written.and_then(|()| self.sync());
        if synced.is_err() {
            // So that the next one does not follow on half of this one. Where this
            // fails too, a reader still finds what comes after.
            let _ = self.file.set_len(self.length);
        } else {
            self.length += records.len() as u64;
            self.entries += entries;
        }
        synced
    }

    fn sync(&self) -> Result<(), StateError> {
        self.file.sync_data().map_err(StateError::of(&self.path, "synced to its disk"))
    }
}

/// What [`BanFile::open`] found: the bans, by their prefixes.
pub type Saved = BTreeMap<IpNet, Arc<Ban>>;

impl BanFile {
    /// Reads the file in a state directory. It never fails: without a file
    /// that can be used there are no bans to come back, and [`problem`]
    /// or [`lost`] says so.
    ///
    /// [`problem`]: Self::problem
    /// [`lost`]: Self::lost
    #[must_use]
    pub fn open(directory: &Path, clocks: &Clocks) -> (Self, Saved) {
        let mut file = Self {
            directory: directory.to_owned(),
            boot_id: clocks.boot_id,
            log: None,
            rewrite: None,
            must_rewrite: false,
            holds_more: false,
            problem: None,
            lost: None,
            not_before: None,
        };
        // One that a crash left half done; the log says everything that it does.
        let _ = fs::remove_file(directory.join(NEW));
        let saved = match file.read(clocks) {
            Ok(saved) => saved,
            Err(error) => {
                file.fail(&error);
                Saved::new()
            }
        };
        (file, saved)
    }

    fn read(&mut self, clocks: &Clocks) -> Result<Saved, StateError> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(StateError::of(&path, "read"))?,
        };
        let Read { bans, entries, reckoned, damage } = decode(&bytes, clocks);
        if let Some(damage) = damage {
            let lost = self.tell_damage(damage, bans.len(), bytes.len());
            warn!("{lost}");
            self.lost = Some(lost);
            if !damage.is_cut {
                self.keep_damaged();
                self.must_rewrite = true;
            }
        }
        self.must_rewrite |= reckoned;
        let whole = damage.filter(|damage| damage.is_cut).map_or(bytes.len(), |damage| damage.at);
        let log = Log::open(path, entries).and_then(|mut log| log.cut(whole as u64).map(|()| log));
        match log.and_then(|log| sync_directory(&self.directory).map(|()| log)) {
            Ok(log) => self.log = Some(log),
            Err(error) => self.fail(&error),
        }
        Ok(bans)
    }

    fn tell_damage(&self, damage: Damage, bans: usize, length: usize) -> String {
        let Damage { at, bytes, is_cut } = damage;
        let path = self.path();
        let path = path.display();
        if is_cut {
            format!(
                "the last write to {path} was cut off ({bytes} bytes at {at}), as by a crash: what it said is lost, the {bans} bans before it are back"
            )
        } else {
            format!(
                "{bytes} of the {length} bytes of {path} are damaged, from {at} on: what they said is lost, the {bans} bans in the rest are back; the damaged file is kept as {DAMAGED} beside it"
            )
        }
    }

    fn keep_damaged(&self) {
        let kept = self.directory.join(DAMAGED);
        let _ = fs::remove_file(&kept);
        if let Err(error) = fs::copy(self.path(), &kept) {
            warn!(
                "{} could not be written ({error}): the damaged file is not kept",
                kept.display()
            );
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// Why not everything that holds is in the file, while that is so.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// What could not be read at the start.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Something holds that the file does not know.
    pub fn catch_up(&mut self) {
        self.must_rewrite = true;
    }

    /// The file has bans for which there was no room: it is not written anew
    /// without need, so that they come back when there is.
    pub fn spare(&mut self) {
        (self.holds_more, self.must_rewrite) = (true, false);
    }

    /// Writes changes down, in their order. They are on the disk when this returns.
    ///
    /// # Errors
    ///
    /// When they are not. [`problem`](Self::problem) says so from now on, and
    /// [`tend`](Self::tend) will try again.
    pub fn save(&mut self, changes: &[Change<'_>]) -> Result<(), StateError> {
        let (mut records, mut entries) = (Vec::new(), 0);
        for change in changes {
            encode(*change, self.boot_id, &mut records);
            entries += match change {
                Change::Ban(nets, _) => nets.len(),
                Change::Unban(_) => 1,
            };
        }
        if let Some(rewrite) = &mut self.rewrite
            && let Err(error) = rewrite.log.append(&records, entries)
        {
            self.give_up_rewrite(&error);
        }
        let saved = match self.log.take().map_or_else(|| Log::open(self.path(), 0), Ok) {
            Ok(log) => self.log.insert(log).append(&records, entries),
            Err(error) => Err(error),
        };
        saved.inspect_err(|error| self.fail(error))
    }

    /// Not everything is in the file any more.
    fn fail(&mut self, error: &StateError) {
        if self.problem.is_none() {
            warn!("bans are not saved any more: {error}");
            // The first try comes soon.
            self.not_before = None;
        }
        self.problem = Some(error.to_string());
        self.must_rewrite = true;
    }

    /// Does a part of what there is to do without haste: writes the file anew
    /// where that is due. To be called every second, with how many bans there
    /// are, and what lists those after one.
    pub fn tend<'a, I>(&mut self, count: usize, after: impl FnOnce(Option<IpNet>) -> I)
    where
        I: Iterator<Item = (&'a IpNet, &'a Arc<Ban>)>,
    {
        if let Err(error) = self.tend_some(count, after) {
            self.give_up_rewrite(&error);
        }
    }

    fn tend_some<'a, I>(
        &mut self,
        count: usize,
        after: impl FnOnce(Option<IpNet>) -> I,
    ) -> Result<(), StateError>
    where
        I: Iterator<Item = (&'a IpNet, &'a Arc<Ban>)>,
    {
        let path = self.path();
        let Some(rewrite) = &mut self.rewrite else {
            let entries = self.log.as_ref().map_or(0, |log| log.entries);
            let has_grown = entries > 2 * count + SLACK && !self.holds_more;
            let is_due = self.must_rewrite || has_grown;
            if is_due && self.not_before.is_none_or(|time| Instant::now() >= time) {
                self.rewrite = Some(Rewrite::begin(&self.directory.join(NEW))?);
                self.must_rewrite = false;
            }
            return Ok(());
        };
        if !rewrite.go_on(after, self.boot_id)? {
            return Ok(());
        }
        let log = rewrite.finish(&path)?;
        self.rewrite = None;
        self.log = Some(log);
        // It has the file's name already, whatever comes of this.
        sync_directory(&self.directory)?;
        if !self.must_rewrite && self.problem.take().is_some() {
            info!("all bans are saved again in {}", path.display());
        }
        Ok(())
    }

    /// Nothing is lost by it: the log goes on.
    fn give_up_rewrite(&mut self, error: &StateError) {
        self.rewrite = None;
        let _ = fs::remove_file(self.directory.join(NEW));
        if self.problem.is_none() {
            warn!("the file of the bans could not be written anew, and is tried again: {error}");
        }
        self.must_rewrite = true;
        self.not_before = Instant::now().checked_add(RETRY);
    }
}

#[cfg(test)]
mod tests;
