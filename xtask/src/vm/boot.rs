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

/// How long a guest that has said its result may take to power off.
const POWER_OFF: Duration = Duration::from_secs(10);

/// How many of the console's last lines a failure shows.
const TAIL: usize = 15;

/// The machine that is emulated.
#[derive(Debug, Clone)]
pub struct Machine {
    qemu: PathBuf,
    /// Its processors. With more than one, QEMU 7.2's emulation now and then crashes a kernel that is sound.
    pub processors: u32,
    /// Its memory, in MB.
    pub memory: u32,
    /// Until when a guest must have powered off.
    pub limit: Duration,
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
        Ok(Self { qemu, processors: 1, memory: 512, limit: Duration::from_secs(300) })
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
                    lines.partial.extend_from_slice(&bytes);
                    while let Some(line) = lines.next() {
                        let had_result = transcript.result.is_some();
                        if let Some(shown) = transcript.line(&line) {
                            show(shown);
                        }
                        // What follows is a stack; what came before says more.
                        lines.frozen |= transcript.panic.is_some();
                        let ended = transcript.commands.last().and_then(|command| command.exit);
                        if ended.is_some_and(|code| code != 0) && at_failure.is_none() {
                            at_failure = Some(lines.last.clone().into());
                        }
                        if transcript.result.is_some() && !had_result {
                            deadline = deadline.min(Instant::now() + POWER_OFF);
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
        let accelerator = if has_kvm() {
            ["-accel", "kvm", "-cpu", "host"]
        } else {
            ["-accel", "tcg", "-cpu", "max"]
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
            // An oops is a failure, even one that the kernel could live with.
            .args(["-append", "console=ttyS0 panic=-1 oops=panic quiet"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

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

/// Splits what comes from the console into lines and keeps the last ones.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    frozen: bool,
    last: std::collections::VecDeque<String>,
}

impl Lines {
    /// Takes the next line out of what has come, if it is whole.
    fn next(&mut self) -> Option<String> {
        let end = self.partial.iter().position(|&byte| byte == b'\n')?;
        let line: Vec<u8> = self.partial.drain(..=end).collect();
        Some(self.keep(&line))
    }

    fn keep(&mut self, line: &[u8]) -> String {
        let line = without_escapes(&String::from_utf8_lossy(line)).trim_end().to_owned();
        if !line.is_empty() && !self.frozen {
            self.last.push_back(line.clone());
            if self.last.len() > TAIL {
                self.last.pop_front();
            }
        }
        line
    }

    /// The last lines that are not empty, one that was not ended too.
    fn tail(mut self) -> Vec<String> {
        let partial = std::mem::take(&mut self.partial);
        self.keep(&partial);
        self.last.into()
    }
}

/// Leaves out what moves cursors and clears terminals: the firmware does both.
fn without_escapes(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            text.push(character);
        } else if characters.next() == Some('[') {
            // A control sequence ends with its first letter.
            let _ = characters.find(char::is_ascii_alphabetic);
        }
    }
    text
}

fn outcome(
    transcript: &Transcript,
    in_time: bool,
    limit: Duration,
    status: ExitStatus,
    said: &str,
) -> Outcome {
    let during = match (transcript.running(), transcript.user_space) {
        (Some(command), _) => format!("while `{}` ran", command.name),
        (None, None) => "before its first process was ready".to_owned(),
        (None, Some(_)) => "between two commands".to_owned(),
    };
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

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clears_a_terminal_is_left_out() {
        let line = "\u{1b}c\u{1b}[?7l\u{1b}[2J\u{1b}[0mSeaBIOS (version 1)";
        assert_eq!(without_escapes(line), "SeaBIOS (version 1)");
    }

    #[test]
    fn lines_come_whole_and_the_last_are_kept() {
        let mut lines = Lines::default();
        let mut seen = 0;
        for n in 0..2 * TAIL {
            lines.partial.extend_from_slice(format!("line {n}\r\n\nha").as_bytes());
            while lines.next().is_some() {
                seen += 1;
            }
            assert_eq!(lines.next(), None);
            lines.partial.clear();
        }
        assert_eq!(seen, 4 * TAIL);
        lines.partial.extend_from_slice(b"not ended");
        let tail = lines.tail();
        assert_eq!(tail.len(), TAIL);
        assert_eq!(tail[TAIL - 2..], [format!("line {}", 2 * TAIL - 1), "not ended".to_owned()]);
    }
}
