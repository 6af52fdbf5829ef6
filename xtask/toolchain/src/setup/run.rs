//! Running a program whose messages matter only if it fails.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::SetUpError;
use crate::files::failed;

/// How many of a program's last lines an error shows.
const TAIL: usize = 15;

/// Runs `command`, which does `step` (a noun phrase), with its messages in the file `log`.
pub fn logged(step: &'static str, command: &mut Command, log: &Path) -> Result<(), SetUpError> {
    logged_within(step, command, log, Duration::MAX)
}

/// As [`logged`], but ends the program where it takes longer than `limit`.
pub fn logged_within(
    step: &'static str,
    command: &mut Command,
    log: &Path,
    limit: Duration,
) -> Result<(), SetUpError> {
    let file = File::create(log).map_err(failed("write", log))?;
    let same = file.try_clone().map_err(failed("write", log))?;
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(same)
        .spawn()
        .map_err(|reason| start(step, command, reason))?;
    let status = loop {
        let ended = child.try_wait().map_err(|reason| start(step, command, reason))?;
        if let Some(status) = ended {
            break status;
        }
        if started.elapsed() >= limit {
            // It may have ended by itself meanwhile.
            let _ = child.kill();
            let _ = child.wait();
            let seconds = limit.as_secs();
            return Err(SetUpError::Late { step, seconds });
        }
        thread::sleep(Duration::from_millis(20));
    };
    if status.success() {
        return Ok(());
    }
    Err(SetUpError::Step {
        step,
        status,
        log: log.to_owned(),
        tail: tail(&fs::read(log).map_err(failed("read", log))?),
    })
}

fn start(step: &'static str, command: &Command, reason: std::io::Error) -> SetUpError {
    let program = PathBuf::from(command.get_program());
    SetUpError::Start { step, program, reason }
}

fn tail(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// Whether a program of this name can be started.
pub fn is_on_path(name: &str) -> bool {
    find_on_path(name).is_some()
}

/// The file that the shell would start for this name.
pub fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let log: String = (0..40).map(|n| format!("line {n}\n\n")).collect();
        let tail = tail(log.as_bytes());
        assert!(tail.starts_with("line 25\n"), "{tail}");
        assert!(tail.ends_with("\nline 39"), "{tail}");
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let error = logged("the trial", &mut command, &log).expect_err("it fails");
        let text = error.to_string();
        assert!(text.starts_with("the trial failed (exit status: 3)"), "{text}");
        assert!(text.ends_with("out\nerr"), "{text}");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("sleep");
        command.arg("100");
        let limit = Duration::from_millis(50);
        let ended = logged_within("the wait", &mut command, &dir.path().join("log"), limit);
        assert!(matches!(ended, Err(SetUpError::Late { step: "the wait", .. })));
    }

    #[test]
    fn programs_are_found_as_the_shell_finds_them() {
        assert!(is_on_path("sh"));
        assert!(!is_on_path("no such program"));
    }
}
