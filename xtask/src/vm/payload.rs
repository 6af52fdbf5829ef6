//! What a guest is given and what it runs.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files and commands for a guest.
///
/// The guest has busybox and no shared library but those among the files: what is built for it must be linked statically.
#[derive(Debug, Default, Clone)]
pub struct Payload {
    /// What is put into the guest.
    pub files: Vec<GuestFile>,
    /// What is run, in order, each with its words; a later one runs also when an earlier one failed.
    pub commands: Vec<Vec<String>>,
    /// The environment of every command.
    pub env: Vec<(String, String)>,
}

/// One file of a guest.
#[derive(Debug, Clone)]
pub struct GuestFile {
    /// Its absolute path there.
    pub guest: String,
    content: Content,
    /// Whether its shared libraries are among the files, too.
    pub has_libraries: bool,
}

#[derive(Debug, Clone)]
enum Content {
    Copy(PathBuf),
    Text { mode: u32, text: String },
}

impl GuestFile {
    /// A copy of a file of the host, its permission bits too.
    pub fn copy(host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        Self { guest: guest.into(), content: Content::Copy(host.into()), has_libraries: false }
    }

    /// Likewise a program, or a library, of this machine, whose libraries are copied with it.
    pub fn tool(host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        Self { has_libraries: true, ..Self::copy(host, guest) }
    }

    /// A file with this text and these permission bits.
    pub fn text(guest: impl Into<String>, mode: u32, text: impl Into<String>) -> Self {
        let content = Content::Text { mode, text: text.into() };
        Self { guest: guest.into(), content, has_libraries: false }
    }

    /// Its permission bits and its bytes.
    pub fn read(&self) -> io::Result<(u32, Vec<u8>)> {
        match &self.content {
            Content::Copy(host) => {
                Ok((fs::metadata(host)?.permissions().mode() & 0o7777, fs::read(host)?))
            }
            Content::Text { mode, text } => Ok((*mode, text.clone().into_bytes())),
        }
    }

    /// Where it comes from, for messages.
    pub fn origin(&self) -> &Path {
        match &self.content {
            Content::Copy(host) => host,
            Content::Text { .. } => Path::new(&self.guest),
        }
    }
}

impl Payload {
    /// The shell script that the guest's first process reads: the environment, then each command through its function
    /// `run`, under the last part of its program's path.
    pub fn script(&self) -> String {
        let mut script = String::new();
        for (name, value) in &self.env {
            script.push_str(&format!("export {name}={}\n", quoted(value)));
        }
        for words in &self.commands {
            let program = words.first().map_or("", String::as_str);
            let name = program.rsplit('/').next().unwrap_or(program);
            let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
            script.push_str(&format!("run {} {}\n", quoted(name), words.join(" ")));
        }
        script
    }
}

/// The word as a shell takes it for itself, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_gets_each_word_as_it_is() {
        let payload = Payload {
            files: vec![],
            commands: vec![
                vec!["/bin/sh".into(), "-c".into(), "echo 'a  b' $X\nexit 3".into()],
                vec!["true".into()],
            ],
            env: vec![("X".into(), "it's".into())],
        };
        let script =
            format!("run() {{ printf '<%s>' \"$@\"; shift; \"$@\"; }}\n{}", payload.script());
        let output =
            std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said, "<sh></bin/sh><-c><echo 'a  b' $X\nexit 3>a  b it's\n<true><true>");
    }
}
