//! Watches the directories of set files, and waits until they have settled.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{sync::Notify, time::timeout};
use tracing::warn;

/// A file that is being written has settled after so long without an event.
const SETTLED: Duration = Duration::from_millis(200);
/// One that never settles is looked at all the same.
const AT_LATEST: u32 = 10;

/// The watched directories. Directories, for a file is most often replaced by
/// another one of its name.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// With device and inode, as they were when the watch began.
    directories: BTreeMap<PathBuf, Option<(u64, u64)>>,
}

impl Watch {
    /// Notifies `changed` of every event.
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        let handler = move |event: notify::Result<Event>| {
            // Reading a file is an event too, and an error may hide one.
            if event
                .is_ok_and(|event| matches!(event.kind, EventKind::Access(kind) if !wrote(kind)))
            {
                return;
            }
            changed.notify_one();
        };
        let watcher = notify::recommended_watcher(handler);
        if let Err(error) = &watcher {
            warn!(
                "set files cannot be watched ({error}): they are looked at every few seconds instead"
            );
        }
        Self { watcher: watcher.ok(), directories: BTreeMap::new() }
    }

    /// Watches the directories of `files`, and no others. A directory that was
    /// replaced by another one of its name is watched anew.
    pub(super) fn set<'a>(&mut self, files: impl Iterator<Item = &'a Path>) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeMap<PathBuf, _> = files
            .filter_map(Path::parent)
            .map(|directory| (directory.to_owned(), identity(directory)))
            .collect();
        for (directory, was) in &self.directories {
            if wanted.get(directory) != Some(was) {
                // It may be gone, and its watch with it.
                let _ = watcher.unwatch(directory);
            }
        }
        for (directory, is) in &wanted {
            if is.is_some()
                && self.directories.get(directory) != Some(is)
                && let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive)
            {
                warn!(
                    "{} cannot be watched ({error}): the set files in it are looked at every few seconds instead",
                    directory.display()
                );
            }
        }
        self.directories = wanted;
    }
}

fn wrote(kind: notify::event::AccessKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    kind == AccessKind::Close(AccessMode::Write)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Waits for an event, and until no more follow.
pub(super) async fn settled(changed: &Notify) {
    changed.notified().await;
    for _ in 0..AT_LATEST {
        if timeout(SETTLED, changed.notified()).await.is_err() {
            return;
        }
    }
}

/// What tells one content of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    /// `None`: there is no such file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
