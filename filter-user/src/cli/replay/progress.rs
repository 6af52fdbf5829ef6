//! How far a long replay has come, on a terminal.

use std::{
    cell::Cell,
    io::{self, IsTerminal as _, Read, Write as _},
    rc::Rc,
    time::{Duration, Instant},
};

/// Replays that take less are not talked about.
const LONG: Duration = Duration::from_secs(1);
/// How often it is told.
const EVERY: Duration = Duration::from_millis(250);
/// How many records are read between looks at the clock.
const LOOK: u64 = 1 << 10;

/// How far it has come.
pub(super) struct Progress {
    /// Bytes, where they are known.
    length: Option<u64>,
    read: Rc<Cell<u64>>,
    /// When to tell; `None`: nobody looks.
    next: Option<Instant>,
    told: bool,
}

impl Progress {
    pub(super) fn new(length: Option<u64>) -> Self {
        let next = io::stderr().is_terminal().then(|| Instant::now() + LONG);
        Self { length, read: Rc::default(), next, told: false }
    }

    /// Counts what is read of an input.
    pub(super) fn count<R>(&self, input: R) -> Counting<R> {
        Counting { input, read: Rc::clone(&self.read) }
    }

    /// So many records are judged.
    pub(super) fn at(&mut self, records: u64) {
        if !records.is_multiple_of(LOOK) || self.next.is_none_or(|next| Instant::now() < next) {
            return;
        }
        let percent = self.length.filter(|length| *length > 0).map_or(String::new(), |length| {
            format!(", {} %", u128::from(self.read.get()) * 100 / u128::from(length))
        });
        // There is nowhere left to say that this failed.
        let _ = write!(io::stderr(), "\r{records} records{percent}");
        self.next = Some(Instant::now() + EVERY);
        self.told = true;
    }

    /// Takes away what was told.
    pub(super) fn clear(&self) {
        if self.told {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// An input whose bytes are counted.
pub(super) struct Counting<R> {
    input: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}
