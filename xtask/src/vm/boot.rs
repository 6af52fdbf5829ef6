//! One boot: QEMU, the console, how it ended.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::console::Transcript;
use super::lines::Lines;

/// How long a guest that has said its result may take to power off.
const POWER_OFF: Duration = Duration::from_secs(10);

/// The machine that is emulated.
#[derive(Debug, Clone)]
pub struct Machine {
    qemu: PathBuf,
    /// Its processors.
    pub processors: u32,
    /// Its memory, in MB.
    pub memory: u32,
    /// How long the start of a guest may take, and then each of its commands and tests.
    pub limit: Duration,
    /// The image of its disk, which it writes to.
    pub disk: Option<PathBuf>,
    /// What its kernel is told besides what all are.
    pub parameters: &'static str,
}

/// How a boot ended.
#[derive(Debug)]
pub enum Outcome {
    /// The guest said `VMRESULT=0`.
    Passed,
    /// The guest said another result, and why.
    Failed(String),
    /// The kernel gave up.
    Panicked {
        /// Its own words.
        message: String,
        /// What went on then.
        during: String,
    },
    /// It did not end in time.
    Hung {
        /// The limit that it went over.
        limit: Duration,
        /// What went on then.
        during: String,
    },
    /// QEMU ended, and the guest had not said anything of a result.
    Ended {
        /// As QEMU ended.
        status: ExitStatus,
        /// What QEMU said to its standard error.
        said: String,
        /// What went on then.
        during: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => write!(f, "passed"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Panicked { message, during } => {
                write!(f, "the kernel panicked {during}: {message}")
            }
            Self::Hung { limit, during } => {
                write!(f, "hung {during}: it was stopped after {} s", limit.as_secs())
            }
            Self::Ended { status, said, during } => {
                write!(f, "QEMU ended {during} without a result ({status})")?;
                if said.is_empty() { Ok(()) } else { write!(f, " and said: {said}") }
            }
        }
    }
}

/// What is known of a guest after its end.
#[derive(Debug)]
pub struct Boot {
    /// How it ended.
    pub outcome: Outcome,
    /// What its console said.
    pub transcript: Transcript,
    /// From QEMU's start to its end.
    pub took: Duration,
    /// The last lines of its console: until its first command failed, or its kernel panicked, or it ended.
    pub tail: Vec<String>,
}

impl Machine {
    /// A machine of one processor and 512 MB, if QEMU is there.
    pub fn new() -> Result<Self> {
        const QEMU: &str = "qemu-system-x86_64";
        let Some(qemu) = on_path(QEMU) else {
            bail!(
                "{QEMU} is not on the PATH, so no kernel can be booted: run `cargo xtask setup --all`, which installs it"
            );
        };
        Ok(Self {
            qemu,
            processors: 1,
            memory: 512,
            limit: Duration::from_secs(300),
            disk: None,
            parameters: "",
        })
    }

    /// Boots `kernel` with the archive `initrd` and waits for its end. The console goes to the file `log` as it comes;
    /// `show` gets the lines of it that a person who waits should see.
    ///
    /// # Errors
    /// When QEMU cannot be started or the log cannot be written. What goes wrong in the guest is an [`Outcome`].
    pub fn boot(
        &self,
        kernel: &Path,
        initrd: &Path,
        log: &Path,
        mut show: impl FnMut(String),
    ) -> Result<Boot> {
        let mut file =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let started = Instant::now();
        let mut qemu = Running(
            self.command(kernel, initrd)
                .spawn()
                .with_context(|| format!("cannot start {}", self.qemu.display()))?,
        );
        let (console, errors) = qemu.streams();

        let mut transcript = Transcript::default();
        let mut lines = Lines::default();
        let mut at_failure = None;
        let mut deadline = started + self.limit;
        let mut in_time = true;
        loop {
            match console.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    file.write_all(&bytes)
                        .with_context(|| format!("cannot write {}", log.display()))?;
                    lines.push(&bytes);
                    while let Some(line) = lines.next() {
                        let step = transcript.step();
                        if let Some(shown) = transcript.line(&line) {
                            show(shown);
                        }
                        // What follows is a stack; what came before says more.
                        if transcript.panic.is_some() {
                            lines.freeze();
                        }
                        let ended = transcript.commands.last().and_then(|command| command.exit);
                        if ended.is_some_and(|code| code != 0) && at_failure.is_none() {
                            at_failure = Some(lines.last());
                        }
                        if transcript.step() != step {
                            let is_done = transcript.result.is_some();
                            deadline =
                                Instant::now() + if is_done { POWER_OFF } else { self.limit };
                        }
                    }
                }
                // The console is closed: QEMU has ended.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    in_time = false;
                    break;
                }
            }
        }
        // The harness ends its line only when the test does.
        transcript.line(&lines.unfinished());
        let status = qemu.end(in_time)?;
        let took = started.elapsed();
        let said = errors.join().unwrap_or_default();
        let outcome = outcome(&transcript, in_time, self.limit, status, said.trim());
        let tail = match &outcome {
            Outcome::Failed(_) => at_failure.unwrap_or_else(|| lines.tail()),
            _ => lines.tail(),
        };
        Ok(Boot { outcome, transcript, took, tail })
    }

    fn command(&self, kernel: &Path, initrd: &Path) -> Command {
        // A guest must not outlive the one who waits for it, however that one ends: util-linux' setpriv arranges it.
        let mut command = match on_path("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(&self.qemu);
                command
            }
            None => Command::new(&self.qemu),
        };
        // All processors by one thread: with one each, QEMU 7.2's emulation now and then crashes a kernel that is sound.
        let accelerator = if has_kvm() {
            ["-accel", "kvm", "-cpu", "host"]
        } else {
            ["-accel", "tcg,thread=single", "-cpu", "Nehalem"]
        };
        command
            .args(["-M", "q35"])
            .args(accelerator)
            .args(["-smp", &self.processors.to_string(), "-m", &self.memory.to_string()])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-nographic",
                "-no-reboot",
                "-serial",
                "stdio",
                "-monitor",
                "none",
            ])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", &format!("{PARAMETERS} {}", self.parameters)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(disk) = &self.disk {
            let drive = format!("if=none,id=disk,format=raw,file={}", disk.display());
            command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"]);
        }
        command
    }
}

/// Of the guest's kernel. An oops is a failure, even one that the kernel could
/// live with. Guards against other tenants are of no use there, and cost an
/// emulated processor a quarter of its time.
const PARAMETERS: &str = "console=ttyS0 panic=-1 oops=panic quiet mitigations=off init_on_alloc=0";

/// A QEMU that is killed, and waited for, when nobody holds it any more.
struct Running(Child);

impl Running {
    /// Threads that read the console, in pieces as they come, and the standard error, whole.
    fn streams(&mut self) -> (Receiver<Vec<u8>>, thread::JoinHandle<String>) {
        let (sender, console) = mpsc::channel();
        let (mut out, mut err) = (self.0.stdout.take(), self.0.stderr.take());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Some(Ok(n @ 1..)) = out.as_mut().map(|out| out.read(&mut buffer)) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut said = Vec::new();
            // What came before a failure is worth having all the same.
            let _ = err.as_mut().map(|err| err.read_to_end(&mut said));
            String::from_utf8_lossy(&said).into_owned()
        });
        (console, errors)
    }

    /// Waits for the end of one that has closed its console, or makes an end.
    fn end(&mut self, by_itself: bool) -> Result<ExitStatus> {
        if !by_itself {
            self.0.kill().context("cannot kill QEMU")?;
        }
        self.0.wait().context("cannot wait for QEMU")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn outcome(
    transcript: &Transcript,
    in_time: bool,
    limit: Duration,
    status: ExitStatus,
    said: &str,
) -> Outcome {
    let during = transcript.during();
    match (transcript.result, &transcript.panic) {
        (Some(0), None) => Outcome::Passed,
        // A panic while powering off is one all the same.
        (_, Some(message)) => {
            let fault = transcript.oops.iter().map(|fault| format!(" ({fault})"));
            Outcome::Panicked { message: message.clone() + &fault.collect::<String>(), during }
        }
        (Some(code), None) => Outcome::Failed(reason(transcript, code)),
        (None, None) if !in_time => Outcome::Hung { limit, during },
        (None, None) => Outcome::Ended { status, said: said.replace('\n', "; "), during },
    }
}

/// What made the result other than 0, in words.
fn reason(transcript: &Transcript, code: i32) -> String {
    let mut reasons = transcript.problems.clone();
    for command in &transcript.commands {
        match (command.exit, command.failed) {
            (Some(0), _) => {}
            (_, 0) => reasons.push(format!(
                "`{}` ended with exit code {}",
                command.name,
                command.exit.unwrap_or(code)
            )),
            (_, failed) => reasons.push(format!(
                "{failed} of the tests of `{}` failed: {}",
                command.name,
                command.failures.join(", ")
            )),
        }
    }
    reasons.join("; ")
}

/// Whether this processor virtualises. The device alone does not say so: in some virtual machines it is there, and a
/// guest under it dies early.
fn has_kvm() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    flags.split_whitespace().any(|word| word == "vmx" || word == "svm")
        && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Where a program is.
pub fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}
