//! Links between programs and what they are attached to: held by this process,
//! or pinned so that they outlive it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::programs::{
    links::{FdLink, PinnedLink},
    tc::SchedClassifierLink,
};

/// A link. One that is not to outlive this process ends with this value.
#[derive(Debug)]
pub(super) struct Held {
    link: Link,
    outlives: Outlives,
    /// It was there before this process: only its program was replaced.
    pub taken_over: bool,
}

#[derive(Debug)]
enum Link {
    Fd(#[expect(dead_code, reason = "it is held, for the program is on as long as it is")] FdLink),
    /// A filter of a qdisc. The kernel keeps it; aya takes it off with the value.
    Filter(Option<SchedClassifierLink>),
}

#[derive(Debug)]
enum Outlives {
    Nothing,
    Pinned(PathBuf),
    ByItself,
}

impl Held {
    /// A link, pinned if there is a path for it. What is pinned there is replaced.
    pub(super) fn new(link: FdLink, pin: Option<PathBuf>) -> io::Result<Self> {
        let Some(path) = pin else {
            let (link, outlives) = (Link::Fd(link), Outlives::Nothing);
            return Ok(Self { link, outlives, taken_over: false });
        };
        // First beside it, then in its place: one of both is there all the time.
        let mut beside = path.as_os_str().to_owned();
        beside.push("-new");
        let beside = PathBuf::from(beside);
        remove(&beside)?;
        let pinned = link.pin(&beside).map_err(io::Error::other)?;
        fs::rename(&beside, &path)?;
        let (link, outlives) = (Link::Fd(pinned.into()), Outlives::Pinned(path));
        Ok(Self { link, outlives, taken_over: false })
    }

    /// A link that was pinned already.
    pub(super) fn pinned(link: FdLink, path: PathBuf) -> Self {
        Self { link: Link::Fd(link), outlives: Outlives::Pinned(path), taken_over: true }
    }

    /// A filter of a qdisc.
    pub(super) fn filter(link: SchedClassifierLink, outlives: bool, taken_over: bool) -> Self {
        let outlives = if outlives { Outlives::ByItself } else { Outlives::Nothing };
        Self { link: Link::Filter(Some(link)), outlives, taken_over }
    }

    /// It is another filter now: the one before it is gone.
    pub(super) fn put_back(&mut self, filter: SchedClassifierLink) {
        let before = std::mem::replace(&mut self.link, Link::Filter(Some(filter)));
        if let Link::Filter(before) = before {
            // It would take off the one that stands in its place.
            std::mem::forget(before);
        }
    }

    /// Takes the program off, unless an earlier one was there.
    pub(super) fn undo(self) -> io::Result<()> {
        if self.taken_over { Ok(()) } else { self.take_off() }
    }

    /// Takes the program off.
    pub(super) fn take_off(mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.outlives, Outlives::Nothing) {
            Outlives::Pinned(path) => remove(&path),
            Outlives::Nothing | Outlives::ByItself => Ok(()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let (Link::Filter(link), Outlives::ByItself) = (&mut self.link, &self.outlives) {
            std::mem::forget(link.take());
        }
    }
}

/// The link that is pinned at a path, if one is.
pub(super) fn open(path: &Path) -> Option<FdLink> {
    PinnedLink::from_pin(path).ok().map(Into::into)
}

/// Removes a pin; the program goes with it, unless the link is held elsewhere.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
