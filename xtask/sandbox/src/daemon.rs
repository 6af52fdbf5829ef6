//! `nodewall` inside a namespace: the daemon and the command line that talks to it.

use std::{
    fs, io,
    os::unix::net::UnixStream,
    path::{self, Path, PathBuf},
    process::{Command, ExitStatus},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Error, Namespace, Output, Result,
    process::{self, POLL, Process},
};

/// For the daemon's start: long, because an emulated machine may be slow.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// For its end after SIGTERM.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// For a command to end.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

/// Commands that take `--state` and `--pins` besides `--socket`.
const WITH_DIRECTORIES: [&str; 3] = ["run", "detach", "status"];

/// One installation of `nodewall` in a namespace: the binary, and directories
/// for its socket, state and pins that belong to nobody else. It outlives its
/// daemons, so that a test can start another one on what the last one left.
///
/// Its directories are removed when it is dropped, and with the namespace at
/// the latest. Clones are the same installation.
#[derive(Debug, Clone)]
pub struct Instance {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    namespace: Namespace,
    binary: PathBuf,
    directory: PathBuf,
    pins: PathBuf,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for directory in [&self.directory, &self.pins] {
            // Never made, or gone with the namespace in any case.
            let _gone = fs::remove_dir_all(self.namespace.outside(directory));
        }
    }
}

/// The policy that a daemon is started with.
#[derive(Debug, Clone, Copy)]
pub enum Policy<'a> {
    /// Its text; written to `nodewall.toml` in the instance's directory.
    Text(&'a str),
    /// A file, by the path that processes of the namespace see.
    File(&'a Path),
    /// None: the daemon gets no `--config`.
    None,
}

impl Instance {
    /// An installation of `binary` (a path, not searched for) in `namespace`.
    ///
    /// # Errors
    /// [`Error::File`] if the binary is not there or no directory can be made.
    pub fn new(namespace: &Namespace, binary: impl AsRef<Path>) -> Result<Self> {
        let binary = binary.as_ref();
        // Not resolved further: it may lie on a mount that only its path leads to.
        let binary = path::absolute(binary)
            .and_then(|absolute| fs::metadata(&absolute).map(|_| absolute))
            .map_err(|source| file_error(binary, source))?;
        let number = namespace.next_number();
        let directory = namespace.files().join(format!("instance-{number}"));
        let outside = namespace.outside(&directory);
        fs::create_dir(&outside).map_err(|source| file_error(&outside, source))?;
        // The daemon makes its own directory for pins.
        let pins = namespace.bpffs().join(format!("pins-{number}"));
        Ok(Self {
            inner: Arc::new(Inner { namespace: namespace.clone(), binary, directory, pins }),
        })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.inner.namespace
    }

    /// Path of a file in the instance's directory, as its processes see it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.inner.directory.join(name)
    }

    /// Path of the same file for this process.
    #[must_use]
    pub fn outside(&self, name: &str) -> PathBuf {
        self.namespace().outside(&self.path(name))
    }

    /// The control socket, as its processes see it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("control.sock")
    }

    /// The state directory, as its processes see it. The daemon makes it.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The directory for pins on the namespace's bpffs, as its processes see
    /// it. The daemon makes it. [`Namespace::outside`] translates.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.inner.pins.clone()
    }

    /// Writes (or replaces, in one step) a file in the instance's directory;
    /// returns its path as its processes see it.
    ///
    /// # Errors
    /// [`Error::File`]
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let (new, path) = (self.outside(&format!("{name}.new")), self.outside(name));
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|source| file_error(&path, source))?;
        Ok(self.path(name))
    }

    /// The command line of `nodewall` with the instance's socket and
    /// directories: the subcommand is the first of `arguments`.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.inner.binary);
        command.env_remove("NODEWALL_SOCKET");
        let (subcommand, rest) = arguments.split_at(arguments.len().min(1));
        command.args(subcommand).arg("--socket").arg(self.socket());
        if subcommand.iter().any(|name| WITH_DIRECTORIES.contains(name)) {
            command.arg("--state").arg(self.state()).arg("--pins").arg(self.pins());
        }
        command.args(rest);
        command
    }

    /// Runs a command of `nodewall` to its end, such as `["status", "--json"]`.
    ///
    /// # Errors
    /// [`Error::Spawn`], [`Error::Hung`] after a minute. An exit code other
    /// than 0 is no error of the sandbox.
    pub fn ctl(&self, arguments: &[&str]) -> Result<Output> {
        self.ctl_within(arguments, COMMAND_WITHIN)
    }

    /// As [`Instance::ctl`], with another time limit.
    ///
    /// # Errors
    /// [`Error::Spawn`], [`Error::Hung`]
    pub fn ctl_within(&self, arguments: &[&str], timeout: Duration) -> Result<Output> {
        process::run(self.namespace(), self.command(arguments), timeout)
    }

    /// Starts `nodewall run` and waits until it listens on its control socket.
    ///
    /// # Errors
    /// [`Error::DaemonExited`] with what it wrote if it ended before;
    /// [`Error::DaemonNotReady`] after two minutes, when it is killed.
    pub fn start(&self, policy: Policy<'_>, arguments: &[&str]) -> Result<Daemon> {
        self.start_with(policy, arguments, |_| {})
    }

    /// As [`Instance::start`], with something changed at the command: its
    /// environment, or the user that it runs as.
    ///
    /// # Errors
    /// As [`Instance::start`].
    pub fn start_with(
        &self,
        policy: Policy<'_>,
        arguments: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Result<Daemon> {
        let mut command = self.command(&["run"]);
        match policy {
            Policy::Text(text) => {
                command.arg("--config").arg(self.write("nodewall.toml", text)?);
            }
            Policy::File(path) => {
                command.arg("--config").arg(path);
            }
            Policy::None => {}
        }
        command.args(arguments);
        change(&mut command);
        let process = Process::start(self.namespace(), command)?;
        Daemon { process, instance: self.clone() }.when_ready()
    }
}

fn file_error(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}

/// A daemon that is running. Dropped, it is killed (SIGKILL) and reaped.
pub struct Daemon {
    // In this order: the process ends before its directories do.
    process: Process,
    instance: Instance,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Daemon")
            .field("pid", &self.pid())
            .field("instance", &self.instance)
            .finish()
    }
}

impl Daemon {
    /// Starts a daemon in a fresh [`Instance`]: the short form for tests that
    /// need no second one.
    ///
    /// # Errors
    /// Those of [`Instance::new`] and [`Instance::start`].
    pub fn start(
        namespace: &Namespace,
        binary: impl AsRef<Path>,
        policy: Policy<'_>,
        arguments: &[&str],
    ) -> Result<Self> {
        Instance::new(namespace, binary)?.start(policy, arguments)
    }

    fn when_ready(mut self) -> Result<Self> {
        let socket = self.instance.outside("control.sock");
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.process.ended()? {
                let (stdout, stderr) = (self.process.stdout.finish(), self.process.stderr.finish());
                return Err(Error::DaemonExited { status, stdout, stderr });
            }
            if UnixStream::connect(&socket).is_ok() {
                return Ok(self);
            }
            if Instant::now() >= until {
                self.process.kill();
                let (socket, stderr) = (self.instance.socket(), self.process.stderr.text());
                return Err(Error::DaemonNotReady { socket, after: READY_WITHIN, stderr });
            }
            thread::sleep(POLL);
        }
    }

    /// Its installation.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Runs a command of `nodewall` against it; see [`Instance::ctl`].
    ///
    /// # Errors
    /// Those of [`Instance::ctl`].
    pub fn ctl(&self, arguments: &[&str]) -> Result<Output> {
        self.instance.ctl(arguments)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.process.stderr.text()
    }

    /// Its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.process.stdout.text()
    }

    /// Waits until `text` occurs in its standard error; `false` when the time
    /// is over.
    #[must_use]
    pub fn wait_for_stderr(&self, text: &str, timeout: Duration) -> bool {
        self.process.stderr.wait_for(text, timeout)
    }

    /// Sends it a signal, such as SIGHUP.
    ///
    /// # Errors
    /// [`Error::Process`] if it has ended and was reaped.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid();
        // A process id is positive and fits.
        let raw = i32::try_from(pid)
            .map_err(|_| Error::Process { pid, source: io::ErrorKind::NotFound.into() })?;
        kill(Pid::from_raw(raw), signal)
            .map_err(|errno| Error::Process { pid, source: errno.into() })
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    /// [`Error::Process`]
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_none())
    }

    /// Waits for it to end by itself; `None` when the time is over.
    ///
    /// # Errors
    /// [`Error::Process`]
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        self.process.wait(timeout)
    }

    /// Stops it as a service manager does (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// [`Error::Hung`] if it does not end within 10 seconds; it is killed then.
    pub fn stop(mut self) -> Result<Output> {
        if self.is_running()? {
            self.signal(Signal::SIGTERM)?;
        }
        let Some(status) = self.process.wait(STOP_WITHIN)? else {
            self.process.kill();
            let stderr = self.process.stderr.text();
            return Err(Error::Hung {
                command: "nodewall run".to_owned(),
                after: STOP_WITHIN,
                stderr,
            });
        };
        Ok(Output {
            code: status.code(),
            stdout: self.process.stdout.finish(),
            stderr: self.process.stderr.finish(),
        })
    }

    /// Kills it (SIGKILL), as a crash would end it, and reaps it.
    pub fn kill(mut self) {
        self.process.kill();
    }
}
