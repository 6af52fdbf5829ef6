//! Packages of a Debian suite that is not this machine's own: found and fetched by apt with lists and state of its own,
//! unpacked without being installed. Needs no root and changes nothing of the system.

mod sources;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sources::Entry;

/// Why a package could not be had.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// No source of this machine is a mirror of Debian.
    #[error(
        "no apt source of this machine (/etc/apt/sources.list, /etc/apt/sources.list.d) is a Debian mirror that could have the \
         suite {suite}: add one"
    )]
    NoMirror {
        /// The suite that was asked for.
        suite: String,
    },
    /// A file of apt's configuration or of ours.
    #[error("cannot use {path}: {reason}", path = path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// The program is not there.
    #[error("cannot start {program} ({reason}): fetching Debian packages needs apt and dpkg")]
    Start {
        /// Its name.
        program: &'static str,
        /// The reason.
        reason: io::Error,
    },
    /// The program ran and failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// What it said on standard error.
        said: String,
    },
    /// The suite does not have it.
    #[error("{suite} has no package {package}")]
    NoPackage {
        /// The suite that was asked.
        suite: String,
        /// What was asked for.
        package: String,
    },
}

/// A package of the suite: what matters of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The version that the suite offers.
    pub version: String,
    /// The names it depends on; of alternatives the first.
    pub depends: Vec<String>,
}

/// One suite, with lists of its own.
#[derive(Debug)]
pub struct Apt {
    suite: String,
    configuration: PathBuf,
    list: PathBuf,
}

impl Apt {
    /// Takes the mirror and its key from the machine's own apt sources; keeps lists and cache below `dir`, which is made.
    ///
    /// # Errors
    ///
    /// [`AptError::NoMirror`], and [`AptError::File`] where sources cannot be read or `dir` cannot be written.
    pub fn of_suite(suite: &str, dir: &Path) -> Result<Self, AptError> {
        let entry = sources::mirror(&machine_sources()?, suite)
            .ok_or_else(|| AptError::NoMirror { suite: suite.to_owned() })?;
        for sub in ["lists/partial", "cache/archives/partial"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).map_err(file(&sub))?;
        }
        let dir = dir.canonicalize().map_err(file(dir))?;
        let list = dir.join("suite.sources");
        fs::write(&list, entry.stanza(suite)).map_err(file(&list))?;
        let configuration = dir.join("apt.conf");
        fs::write(&configuration, configure(&dir, &list)).map_err(file(&configuration))?;
        Ok(Self { suite: suite.to_owned(), configuration, list })
    }

    /// The list of its sources: one entry, in the stanza form.
    #[must_use]
    pub fn list(&self) -> &Path {
        &self.list
    }

    /// Fetches the suite's lists.
    ///
    /// # Errors
    ///
    /// [`AptError::Start`] and [`AptError::Failed`], as of every call that runs a program.
    pub fn update(&self) -> Result<(), AptError> {
        self.run("apt-get", None, ["update", "--error-on=any"]).map(drop)
    }

    /// The record of a package in the version that the suite offers.
    ///
    /// # Errors
    ///
    /// [`AptError::NoPackage`] where the suite does not have it.
    pub fn package(&self, name: &str) -> Result<Package, AptError> {
        let missing =
            || AptError::NoPackage { suite: self.suite.clone(), package: name.to_owned() };
        let output =
            self.run("apt-cache", None, ["show", "--no-all-versions", name]).map_err(|error| {
                match error {
                    AptError::Failed { .. } => missing(),
                    other => other,
                }
            })?;
        let record = String::from_utf8_lossy(&output.stdout).into_owned();
        let field = |key| record.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let version = field("Version:").ok_or_else(missing)?.to_owned();
        let depends = field("Depends:").unwrap_or_default().split(',');
        let depends =
            depends.filter_map(|one| one.split_whitespace().next()).map(str::to_owned).collect();
        Ok(Package { name: name.to_owned(), version, depends })
    }

    /// Every version of a package that the suite still carries, the newest first; none where there is no such package.
    ///
    /// # Errors
    ///
    /// As [`Apt::update`].
    pub fn versions(&self, name: &str) -> Result<Vec<String>, AptError> {
        let output = self.run("apt-cache", None, ["madison", name])?;
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(table
            .lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(|version| version.trim().to_owned())
            .collect())
    }

    /// Fetches the packages (`NAME` or `NAME=VERSION`) into `dir`, which holds nothing else; apt checks them against the
    /// signed lists.
    ///
    /// # Errors
    ///
    /// As [`Apt::update`], and [`AptError::File`] where `dir` cannot be read.
    pub fn download(&self, names: &[&str], dir: &Path) -> Result<Vec<PathBuf>, AptError> {
        self.run("apt-get", Some(dir), ["download"].iter().chain(names))?;
        fs::read_dir(dir)
            .map_err(file(dir))?
            .map(|entry| entry.map(|entry| entry.path()).map_err(file(dir)))
            .collect()
    }

    /// Unpacks the files of a package into `dir`, which is made.
    ///
    /// # Errors
    ///
    /// As [`Apt::update`].
    pub fn unpack(deb: &Path, dir: &Path) -> Result<(), AptError> {
        let mut command = Command::new("dpkg-deb");
        command.arg("-x").arg(deb).arg(dir);
        output("dpkg-deb", command).map(drop)
    }

    fn run<I>(
        &self,
        program: &'static str,
        dir: Option<&Path>,
        arguments: I,
    ) -> Result<Output, AptError>
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        let mut command = Command::new(program);
        command
            .arg("-q")
            .arg("-c")
            .arg(&self.configuration)
            .args(arguments)
            .env("LC_ALL", "C.UTF-8");
        if let Some(dir) = dir {
            command.current_dir(dir);
        }
        output(program, command)
    }
}

/// A configuration that apt reads after the machine's own, whose proxies and certificates thus stay in force.
fn configure(dir: &Path, list: &Path) -> String {
    let at = |name: &str| dir.join(name).display().to_string();
    format!(
        r#"Dir::Etc::SourceList "{list}";
Dir::Etc::SourceParts "/nonexistent";
Dir::State::Lists "{lists}";
Dir::State::Status "/dev/null";
Dir::Cache "{cache}";
// As root, apt would fetch as a user of its own, who cannot write here.
APT::Sandbox::User "root";
APT::Default-Release "";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
// What the machine does after an update of its own lists.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"#,
        list = list.display(),
        lists = at("lists"),
        cache = at("cache"),
    )
}

fn output(program: &'static str, mut command: Command) -> Result<Output, AptError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|reason| AptError::Start { program, reason })?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let (errors, rest): (Vec<_>, Vec<_>) =
        said.lines().map(str::trim).partition(|line| line.starts_with("E:"));
    let said = if errors.is_empty() { rest } else { errors };
    Err(AptError::Failed { program, said: said.join(" ") })
}

fn machine_sources() -> Result<Vec<Entry>, AptError> {
    let apt = Path::new("/etc/apt");
    let mut files = vec![apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(apt.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut entries = Vec::new();
    for path in files.into_iter().filter(|path| path.is_file()) {
        let text = fs::read_to_string(&path).map_err(file(&path))?;
        match path.extension().and_then(OsStr::to_str) {
            Some("sources") => entries.extend(sources::stanzas(&text)),
            Some("list") => entries.extend(text.lines().filter_map(sources::one_line)),
            _ => {}
        }
    }
    Ok(entries)
}

/// For `map_err`: names the file.
fn file(path: &Path) -> impl FnOnce(io::Error) -> AptError + use<> {
    let path = path.to_owned();
    |reason| AptError::File { path, reason }
}
