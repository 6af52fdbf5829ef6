//! What can be wrong with a policy, and where.

use std::fmt;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::address::AddressError;
use super::model::PortRange;
use super::ports::PortError;
use super::rate::RateError;
use super::read::ReadError;

/// Everything that is wrong with a policy, in the order of its file; never
/// empty. Beyond the first hundred they are only counted. Displays one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors(pub Vec<PolicyError>);

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong. Displays as ``FILE:LINE:COLUMN: field `rule[2].ports[0]`: SENTENCE``;
/// serializes as `{error, file, line, column, field}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The policy file, or the set file that holds the fault.
    pub file: PathBuf,
    /// From 1; `None` where it is about the whole file.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    /// The path of the field, such as `rule[2].ports[0]`, counted from 0.
    pub field: Option<String>,
    /// The set whose file is at fault, where one is: missing, unreadable or with a bad line.
    pub set: Option<String>,
    /// What is wrong.
    pub kind: ErrorKind,
}

impl std::error::Error for PolicyError {}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, field, set: _, kind } = self;
        write_place(f, file, *line, *column, field.as_deref())?;
        write!(f, "{kind}")
    }
}

impl Serialize for PolicyError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("PolicyError", 5)?;
        out.serialize_field("error", &self.kind.to_string())?;
        out.serialize_field("file", &self.file.to_string_lossy())?;
        out.serialize_field("line", &self.line)?;
        out.serialize_field("column", &self.column)?;
        out.serialize_field("field", &self.field)?;
        out.end()
    }
}

/// ``FILE:LINE:COLUMN: field `FIELD`: ``, as far as the parts are known.
pub(super) fn write_place(
    f: &mut fmt::Formatter<'_>,
    file: &std::path::Path,
    line: Option<u32>,
    column: Option<u32>,
    field: Option<&str>,
) -> fmt::Result {
    write!(f, "{}:", file.display())?;
    if let Some(line) = line {
        write!(f, "{line}:")?;
    }
    if let Some(column) = column {
        write!(f, "{column}:")?;
    }
    if let Some(field) = field {
        write!(f, " field `{field}`:")?;
    }
    f.write_str(" ")
}

/// What is wrong, as a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The policy file itself.
    #[error("the policy file {0}")]
    Policy(ReadError),
    /// A set's file.
    #[error("the set file `{}` {reason}", .path.display())]
    SetFile {
        /// Its absolute path.
        path: PathBuf,
        /// Why it could not be read.
        reason: ReadError,
    },
    /// A path that would garble every message that names it.
    #[error("`{path}` holds a control character; give the file another name")]
    SetPath {
        /// As written, with the control characters escaped.
        path: String,
    },
    /// Bytes that are no text.
    #[error("this is not UTF-8 text; save the file as UTF-8")]
    NotUtf8,
    /// Not TOML at all.
    #[error("this is not valid TOML: {message}")]
    Syntax {
        /// The TOML parser's words.
        message: String,
    },
    /// A key that does not exist.
    #[error("there is no key `{key}` here; {hint}")]
    UnknownKey {
        /// As written.
        key: String,
        /// What to write instead.
        hint: KeyHint,
    },
    /// A key that has no default.
    #[error("`{key}` is missing; write for example `{example}`")]
    MissingKey {
        /// Its name.
        key: &'static str,
        /// The line to write.
        example: &'static str,
    },
    /// A value of another type.
    #[error("this is {found}; write {expected}")]
    WrongType {
        /// With its article: "an integer".
        found: &'static str,
        /// With an example.
        expected: &'static str,
    },
    /// A word that is none of those allowed.
    #[error("`{found}` is none of the choices; write {}", choices(.valid))]
    Choice {
        /// As written.
        found: String,
        /// The words.
        valid: &'static [&'static str],
    },
    /// A list that must name something.
    #[error("this list is empty; {remedy}")]
    EmptyList {
        /// What to do.
        remedy: &'static str,
    },
    /// A number outside of its range.
    #[error("{found} is out of range; write a whole number from {least} to {most}")]
    OutOfRange {
        /// As written.
        found: String,
        /// The smallest allowed.
        least: u64,
        /// The largest allowed.
        most: u64,
    },
    /// No name of an interface.
    #[error(
        "`{name}` cannot be the name of an interface; write one of at most 15 bytes without spaces, `/` or `:`, as \
         `ip link` shows it"
    )]
    InterfaceName {
        /// As written.
        name: String,
    },
    /// A rule for an interface that the policy leaves alone.
    #[error(
        "`{name}` is not one of the interfaces that this policy guards; add it to `interfaces` at the top, or take it out here"
    )]
    NotGuarded {
        /// The interface.
        name: String,
    },
    /// No name of a rule or a set.
    #[error("`{name}` cannot be a name; write 1 to 63 letters, digits, `.`, `_` or `-`")]
    Name {
        /// As written.
        name: String,
    },
    /// Two rules of one name.
    #[error("the rule on line {line} is called `{name}` too; give each rule a name of its own")]
    DuplicateRule {
        /// The name.
        name: String,
        /// Where the first rule of that name begins.
        line: u32,
    },
    /// No port, or no range of ports.
    #[error(transparent)]
    Port(#[from] PortError),
    /// No address, or no prefix.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A set that is not defined.
    #[error("there is no set `{name}`; {}", set_hint(.nearest.as_deref()))]
    UnknownSet {
        /// As written, without `@`.
        name: String,
        /// The most similar name that exists.
        nearest: Option<String>,
    },
    /// A set named in a set file.
    #[error(
        "`{name}` names a set, and a set file holds addresses alone; refer to sets in the policy file"
    )]
    SetInFile {
        /// As written, with `@`.
        name: String,
    },
    /// Sets that contain themselves.
    #[error("these sets refer to each other in a circle: {}; take one of the references out", .circle.join(" -> "))]
    SetCircle {
        /// Names; the last is the first again.
        circle: Vec<String>,
    },
    /// Sets in sets in sets.
    #[error("sets are nested more than {deepest} deep here; name the addresses themselves")]
    SetDepth {
        /// How deep they may be.
        deepest: usize,
    },
    /// No rate.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// A limit of TCP on a rule that has no TCP.
    #[error(
        "`{key}` is about TCP connections, and this rule has only UDP ports; take it out, or limit `packets`"
    )]
    NoTcpPort {
        /// The limit.
        key: &'static str,
    },
    /// No time.
    #[error("`{found}` is no time from 1s to 1year; write one such as \"10m\" or \"1h 30m\"")]
    Duration {
        /// As written.
        found: String,
    },
    /// Two rules for the same packet.
    #[error(
        "{port} from {prefix} is claimed by two rules{}: `{first}` (line {first_line}) and `{second}` (line \
         {second_line}); take it out of one of them, or give them different `from` or `interfaces`",
        on_interface(.interface.as_deref())
    )]
    Claimed {
        /// The first port that both have.
        port: PortRange,
        /// A prefix that both have.
        prefix: IpNet,
        /// An interface that both have; `None`: all.
        interface: Option<String>,
        /// The rule that comes first in the file.
        first: String,
        /// Where it begins.
        first_line: u32,
        /// The other rule.
        second: String,
        /// Where it begins.
        second_line: u32,
    },
    /// No IP protocol.
    #[error(
        "`{found}` is no IP protocol that has a name here; {}write its number, 0 to 255",
        did_you_mean(*.nearest)
    )]
    ProtocolName {
        /// As written.
        found: String,
        /// The most similar name.
        nearest: Option<&'static str>,
    },
    /// A protocol that has its own place in the policy.
    #[error("{name} is not opened here; {place}")]
    ProtocolElsewhere {
        /// Its name.
        name: &'static str,
        /// Where it is opened.
        place: &'static str,
    },
    /// No address to listen on.
    #[error(
        "`{found}` is no address with a port from 1 to 65535; write one such as \"127.0.0.1:9551\" or \"[::1]:9551\", \
         or false to serve no metrics (host names are not looked up)"
    )]
    Listen {
        /// As written.
        found: String,
    },
    /// More errors than are worth listing.
    #[error("and {count} more errors; correct these first")]
    More {
        /// How many are not listed.
        count: usize,
    },
}

/// What to write instead of an unknown key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHint {
    /// A key of the same table that is spelt nearly so.
    Nearest(&'static str),
    /// The key exists in another table.
    Belongs(&'static str),
    /// The keys of the table.
    Valid(&'static [&'static str]),
}

impl fmt::Display for KeyHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest(key) => write!(f, "did you mean `{key}`?"),
            Self::Belongs(place) => write!(f, "it belongs {place}"),
            Self::Valid(keys) => write!(f, "valid keys are `{}`", keys.join("`, `")),
        }
    }
}

fn choices(valid: &[&str]) -> String {
    let quoted: Vec<_> = valid.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(" or ")
}

fn set_hint(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `@{nearest}`?"),
        None => "define it in `[sets]`".to_owned(),
    }
}

fn on_interface(interface: Option<&str>) -> String {
    interface.map(|name| format!(" on {name}")).unwrap_or_default()
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("did you mean \"{nearest}\"? If not, ")).unwrap_or_default()
}
