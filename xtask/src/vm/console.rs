//! What a guest's console says: the lines of its first process, of the test harness and of the tests.

use std::collections::BTreeMap;

/// Everything of interest that a console has said so far.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Seconds from the kernel's start to its first process.
    pub user_space: Option<f64>,
    /// The commands that began, in order.
    pub commands: Vec<Command>,
    /// What the guest found wrong, in its own words.
    pub problems: Vec<String>,
    /// What the kernel made of each program, as the tests printed it; the largest where it was said several times.
    pub programs: BTreeMap<String, Measures>,
    /// The message of a kernel that gave up.
    pub panic: Option<String>,
    /// The first line of the kernel's report on a fault of its own.
    pub oops: Option<String>,
    /// The code that the guest ended with.
    pub result: Option<i32>,
    in_failures: bool,
    /// How many more lines tell what a test failed by.
    explaining: u8,
}

/// A command of the payload.
#[derive(Debug, Default)]
pub struct Command {
    /// The last part of its program's path.
    pub name: String,
    /// Its exit code, once it has ended.
    pub exit: Option<i32>,
    /// Tests that passed, by its own summary.
    pub passed: u64,
    /// Tests that failed, by its own summary.
    pub failed: u64,
    /// Tests that passed by leaving out what they are for, and the reason that they gave.
    pub skipped: Vec<(String, String)>,
    /// The names of those that failed.
    pub failures: Vec<String>,
    /// The test that runs now.
    pub test: Option<String>,
    must_panic: bool,
    /// Why the test that runs now left out what it is for, if it said so.
    skips: Option<String>,
}

impl Command {
    /// `ok. 53 passed; 1 failed; …`: the last word, whatever was counted line by line.
    fn summary(&mut self, counts: &str) {
        self.test = None;
        for part in counts.split(['.', ';']) {
            let Some((number, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse() else { continue };
            match what {
                "passed" => {
                    let skipped = u64::try_from(self.skipped.len()).unwrap_or(u64::MAX);
                    self.passed = u64::saturating_sub(number, skipped);
                }
                "failed" => self.failed = number,
                _ => {}
            }
        }
    }

    /// `test NAME ... ok`, with what the test prints between the two, and lines of it.
    fn test(&mut self, line: &str) {
        let begun = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ..."));
        let end = match begun {
            Some((name, end)) => {
                let (name, kind) = name.split_once(" - ").unwrap_or((name, ""));
                self.must_panic = kind.starts_with("should panic");
                self.test = Some(name.to_owned());
                self.skips = None;
                end
            }
            None => line,
        };
        let Some(name) = &self.test else { return };
        let end = end.trim();
        if let Some(reason) = end.strip_prefix("skipped: ") {
            self.skips.get_or_insert_with(|| reason.to_owned());
            return;
        }
        match end.split(',').next() {
            Some("ok") => match self.skips.take() {
                Some(reason) => self.skipped.push((name.clone(), reason)),
                None => self.passed += 1,
            },
            Some("FAILED") => self.failed += 1,
            // By its own attribute: no kernel has a part in it.
            Some("ignored") => {}
            _ => return,
        }
        self.test = None;
    }
}

/// What a kernel made of a program.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Measures {
    /// Instructions that its verifier went through.
    pub insns: u64,
    /// Bytes of the program as the verifier left it.
    pub xlated: u64,
    /// Bytes of it as machine code.
    pub jited: u64,
    /// Bytes of stack: of the deepest chain of calls where the kernel tells it (7.3), else of the largest function.
    pub stack: u64,
}

impl Measures {
    /// Each with its name.
    pub fn all(&self) -> [(&'static str, u64); 4] {
        let Self { insns, xlated, jited, stack } = *self;
        [("insns", insns), ("xlated", xlated), ("jited", jited), ("stack", stack)]
    }

    /// The larger of each.
    fn max(self, other: Self) -> Self {
        Self {
            insns: self.insns.max(other.insns),
            xlated: self.xlated.max(other.xlated),
            jited: self.jited.max(other.jited),
            stack: self.stack.max(other.stack),
        }
    }
}

/// How the kernel's report on a fault begins, after the time in brackets.
const FAULTS: [&str; 4] =
    ["] BUG: ", "] kernel BUG at ", "] general protection fault, ", "] Oops: "];

impl Transcript {
    /// Takes the next line, without its line end. Gives back what a person who watches should see of it.
    pub fn line(&mut self, line: &str) -> Option<String> {
        if let Some(rest) = line.strip_prefix("VMUSERSPACE ") {
            self.user_space = rest.trim().parse().ok();
        } else if let Some(rest) = line.strip_prefix("VMPROBLEM ") {
            self.problems.push(rest.to_owned());
            return Some(rest.to_owned());
        } else if let Some(rest) = line.strip_prefix("VMCOMMAND ") {
            self.in_failures = false;
            self.commands.push(Command { name: rest.trim().to_owned(), ..Command::default() });
        } else if let Some(rest) = line.strip_prefix("VMEXIT ") {
            if let Some(command) = self.commands.last_mut() {
                command.exit = rest.trim().parse().ok();
            }
        } else if let Some(rest) = line.strip_prefix("VMRESULT=") {
            self.result = rest.trim().parse().ok();
        } else if let Some((_, message)) = line.split_once("Kernel panic - not syncing: ") {
            // The same words come again at the end of the kernel's report.
            self.panic.get_or_insert_with(|| message.trim().to_owned());
        } else if let Some((_, rest)) = FAULTS.iter().find_map(|fault| line.split_once(fault)) {
            self.oops.get_or_insert_with(|| rest.trim().to_owned());
        } else if let Some(sentence) = line.strip_prefix("REFUSED ") {
            return Some(format!("refused: {sentence}"));
        } else {
            if let Some((_, rest)) = line.split_once("VERIFIED ") {
                self.verified(rest);
            }
            return self.harness(line);
        }
        None
    }

    /// Lines of Rust's test harness.
    fn harness(&mut self, line: &str) -> Option<String> {
        let command = self.commands.last_mut()?;
        if let Some((_, counts)) = line.split_once("test result: ") {
            command.summary(counts);
            return Some(format!("{}: test result: {}", command.name, counts.trim()));
        }
        command.test(line);

        // `thread 'NAME' (ID) panicked at FILE:LINE:COLUMN:`, then the message.
        if line.starts_with("thread '") && line.contains(" panicked at ") && !command.must_panic {
            self.explaining = 4;
        }
        if line.is_empty() || line.starts_with("note: ") || line.starts_with("stack backtrace:") {
            self.explaining = 0;
        }
        if self.explaining > 0 {
            self.explaining -= 1;
            return Some(format!("{}: {line}", command.name));
        }

        // The list of names at the end: `failures:`, an empty line where output was shown, names indented by four.
        if line == "failures:" {
            self.in_failures = true;
        } else if self.in_failures
            && let Some(name) = line.strip_prefix("    ")
            && !name.contains(' ')
        {
            command.failures.push(name.to_owned());
            return Some(format!("{}: FAILED {name}", command.name));
        }
        None
    }

    /// `program=NAME insns=N xlated=N jited=N stack=N`, in any order, other fields ignored.
    fn verified(&mut self, fields: &str) {
        let value = |key: &str| fields.split_whitespace().find_map(|field| field.strip_prefix(key));
        let number = |key: &str| value(key).and_then(|value| value.parse().ok()).unwrap_or(0);
        if let Some(program) = value("program=") {
            let measures = Measures {
                insns: number("insns="),
                xlated: number("xlated="),
                jited: number("jited="),
                stack: number("stack="),
            };
            let largest = self.programs.entry(program.to_owned()).or_default();
            *largest = largest.max(measures);
        }
    }

    /// What goes on now, for "it hung …".
    pub fn during(&self) -> String {
        let running = self.commands.last().filter(|command| command.exit.is_none());
        match (running, self.user_space) {
            (Some(Command { name, test: Some(test), .. }), _) => {
                format!("while `{name}` ran its test {test}")
            }
            (Some(Command { name, .. }), _) => format!("while `{name}` ran"),
            (None, None) => "before its first process was ready".to_owned(),
            (None, Some(_)) if self.result.is_some() => "while it powered off".to_owned(),
            (None, Some(_)) => "between two commands".to_owned(),
        }
    }

    /// Changes as the guest gets on: when its first process is ready, with each command and each test that ends, at the end.
    pub fn step(&self) -> (bool, usize, u64, bool) {
        let [passed, failed] = self.totals();
        let skipped = self.skipped().count() as u64;
        let ended = passed + failed + skipped;
        (self.user_space.is_some(), self.commands.len(), ended, self.result.is_some())
    }

    /// Tests that passed and failed, over all commands.
    pub fn totals(&self) -> [u64; 2] {
        let sum = |count: fn(&Command) -> u64| self.commands.iter().map(count).sum();
        [sum(|command| command.passed), sum(|command| command.failed)]
    }

    /// Tests that left out what they are for, and why.
    pub fn skipped(&self) -> impl Iterator<Item = &(String, String)> {
        self.commands.iter().flat_map(|command| &command.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Transcript, Vec<String>) {
        let mut transcript = Transcript::default();
        let shown = text.lines().filter_map(|line| transcript.line(line)).collect();
        (transcript, shown)
    }

    const RUN: &str = "\
VMUSERSPACE 1.52
VMCOMMAND tables
running 4 tests
test first - should panic ...
thread 'first' (16) panicked at tests/tables.rs:9:9:
as it should
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
ok
test second ... VERIFIED program=nodewall insns=7512 xlated=9 jited=8 stack=7
ok
test fourth ... skipped: this kernel has none
ok
test third ...
thread 'third' (17) panicked at tests/tables.rs:3:5:
assertion `left == right` failed
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
FAILED

failures:

failures:
    third

test result: FAILED. 3 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.01s

VMEXIT 101
VMCOMMAND live
VERIFIED insns=7600 program=nodewall stack=96
test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 3.20s
VMEXIT 0
VMRESULT=101";

    #[test]
    fn a_run_is_counted_by_command() {
        let (transcript, shown) = read(RUN);
        assert_eq!(transcript.user_space, Some(1.52));
        assert_eq!(transcript.totals(), [7, 1]);
        let skipped: Vec<_> = transcript.skipped().cloned().collect();
        assert_eq!(skipped, [("fourth".to_owned(), "this kernel has none".to_owned())]);
        assert_eq!(transcript.commands[0].failures, ["third"]);
        assert_eq!(
            transcript.commands.iter().map(|command| command.exit).collect::<Vec<_>>(),
            [Some(101), Some(0)]
        );
        let largest = Measures { insns: 7600, xlated: 9, jited: 8, stack: 96 };
        assert_eq!(transcript.programs, BTreeMap::from([("nodewall".to_owned(), largest)]));
        assert_eq!(transcript.result, Some(101));
        assert_eq!(transcript.during(), "while it powered off");
        let starts = [
            "tables: thread 'third' (17) panicked at tests/tables.rs:3:5:",
            "tables: assertion `left == right` failed",
            "tables: FAILED third",
            "tables: test result: FAILED. 3 passed;",
            "live: test result: ok. 5 passed;",
        ];
        assert_eq!(shown.len(), starts.len(), "{shown:#?}");
        for (line, start) in shown.iter().zip(starts) {
            assert!(line.starts_with(start), "{shown:#?}");
        }
    }

    #[test]
    fn a_kernel_that_gives_up_says_why_once() {
        let (transcript, _) = read(
            "VMCOMMAND live\n[    2.0] BUG: unable to handle page fault\n[    2.0] Oops: 0002\n[    2.1] Kernel panic - not syncing: Fatal exception\n[    2.2] ---[ end Kernel panic - not syncing: Fatal exception ]---",
        );
        assert_eq!(transcript.panic.as_deref(), Some("Fatal exception"));
        assert_eq!(transcript.oops.as_deref(), Some("unable to handle page fault"));
        assert_eq!(transcript.during(), "while `live` ran");
        assert_eq!(transcript.result, None);
    }

    #[test]
    fn what_ran_before_an_end_without_a_summary_is_counted() {
        let (transcript, _) = read(
            "VMUSERSPACE 1\nVMCOMMAND live\nok\ntest a ... ok\ntest b - should panic ...\nok\ntest c ... ignored, why\n\
             test d ... so much\nFAILED\ntest e ... words\nmore words",
        );
        assert_eq!(transcript.totals(), [2, 1]);
        assert_eq!(transcript.during(), "while `live` ran its test e");
    }

    #[test]
    fn each_test_that_ends_is_a_step() {
        let (mut transcript, _) = read("VMCOMMAND live\ntest a ... so much");
        let before = transcript.step();
        transcript.line("and more");
        assert_eq!(transcript.step(), before);
        for line in ["ok", "test b ... skipped: no clock", "ok", "test c ... FAILED"] {
            let before = transcript.step();
            transcript.line(line);
            assert_eq!(transcript.step() == before, line.contains("skipped"), "{line}");
        }
    }

    #[test]
    fn a_result_counts_only_as_a_line() {
        let (transcript, _) = read("VMCOMMAND sh\nhe said VMRESULT=0\nVMRESULT=0 not really");
        assert_eq!(transcript.result, None);
    }
}
