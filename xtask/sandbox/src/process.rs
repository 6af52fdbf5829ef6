//! Processes whose output is kept, and that never wait for ever.

use std::{
    io::{self, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{Error, Namespace, Result};

/// How often a process is asked whether it has ended: short against its start.
pub(crate) const POLL: Duration = Duration::from_millis(2);

/// How long the rest of the output of a process that has ended may take.
const FINISH: Duration = Duration::from_secs(1);

/// What a program wrote, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// One stream of a process, read by a thread into memory.
pub(crate) struct Captured {
    shared: Arc<Stream>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Stream {
    bytes: Mutex<Vec<u8>>,
    grown: Condvar,
}

impl Stream {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Captured {
    fn start(mut from: impl Read + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Stream::default());
        let theirs = Arc::clone(&shared);
        let body = move || {
            let mut buffer = [0; 4096];
            // An error ends it as the end of the stream does.
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                theirs.bytes().extend_from_slice(&buffer[..length]);
                theirs.grown.notify_all();
            }
        };
        let thread = thread::Builder::new().name("output".to_owned()).spawn(body)?;
        Ok(Self { shared, thread })
    }

    /// What there is so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.bytes()).into_owned()
    }

    /// Waits until `text` occurs in it; `false` when the time is over.
    pub(crate) fn wait_for(&self, text: &str, timeout: Duration) -> bool {
        let missing = |bytes: &mut Vec<u8>| !String::from_utf8_lossy(bytes).contains(text);
        let bytes = self.shared.bytes();
        let waited = self.shared.grown.wait_timeout_while(bytes, timeout, missing);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// All of it, after the process has ended. A process that it left behind
    /// may hold the stream open: that one is not waited for.
    pub(crate) fn finish(&self) -> String {
        let until = Instant::now() + FINISH;
        while !self.thread.is_finished() && Instant::now() < until {
            thread::sleep(POLL);
        }
        self.text()
    }
}

/// A process with captured output. Dropped, it is killed and reaped.
pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
}

impl Process {
    pub(crate) fn start(namespace: &Namespace, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = namespace.spawn(command)?;
        match (capture(child.stdout.take()), capture(child.stderr.take())) {
            (Ok(stdout), Ok(stderr)) => Ok(Self { child, stdout, stderr }),
            (Err(source), _) | (_, Err(source)) => {
                kill(&mut child);
                Err(Error::Thread { namespace: namespace.tag().to_owned(), source })
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let pid = self.id();
        self.child.try_wait().map_err(|source| Error::Process { pid, source })
    }

    /// Waits for its end; `None` when the time is over.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }

    pub(crate) fn kill(&mut self) {
        kill(&mut self.child);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn capture(stream: Option<impl Read + Send + 'static>) -> io::Result<Captured> {
    Captured::start(stream.ok_or(io::ErrorKind::BrokenPipe)?)
}

fn kill(child: &mut Child) {
    // Both fail only for a process that has ended and was reaped.
    let _ended = child.kill();
    let _reaped = child.wait();
}

/// Runs a program to its end.
pub(crate) fn run(namespace: &Namespace, command: Command, timeout: Duration) -> Result<Output> {
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let mut process = Process::start(namespace, command)?;
    match process.wait(timeout)? {
        Some(status) => Ok(Output {
            code: status.code(),
            stdout: process.stdout.finish(),
            stderr: process.stderr.finish(),
        }),
        None => {
            process.kill();
            Err(Error::Hung { command: line, after: timeout, stderr: process.stderr.text() })
        }
    }
}
