//! What the command line asks.

use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{ReplayOptions, VERSION};

/// A request with the version that its sender speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// What is to be done.
    #[serde(flatten)]
    pub command: Command,
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self { v: VERSION, command }
    }
}

/// What is to be done. Each names the result that it is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// How the daemon fares: [`Status`](super::Status).
    Status,
    /// The rules and their counters: [`Rules`](super::Rules).
    Rules,
    /// Who is here: [`Sources`](super::Sources).
    Sources {
        /// How many at most; `None`: all.
        #[serde(default)]
        top: Option<u32>,
    },
    /// The flows that there are: [`Flows`](super::Flows).
    Flows {
        /// How many at most; `None`: all.
        #[serde(default)]
        top: Option<u32>,
    },
    /// The last drops that were shown: [`Log`](super::Log).
    Log {
        /// How many at most; `None`: all that are kept.
        #[serde(default)]
        last: Option<u32>,
        /// Goes on with those to come, until the client closes the connection.
        #[serde(default)]
        follow: bool,
    },
    /// What would become of a packet, and why: [`Explained`](super::Explained).
    Explain {
        /// As it is written on the command line.
        packet: String,
    },
    /// Judges a capture: [`ReplayBegun`](super::ReplayBegun). Then lines of
    /// [`ReplayRecords`](super::ReplayRecords) come, each of which is answered by
    /// [`Replayed`](super::Replayed), up to the first without a record.
    Replay(ReplayOptions),
    /// Puts a policy in force: [`Applied`](super::Applied).
    Apply {
        /// `None`: the file that the daemon was started with.
        policy: Option<PolicyText>,
        /// It is taken back after so many milliseconds, unless it is
        /// [confirmed](Self::Confirm) before; `None`: it is confirmed at once.
        #[serde(default)]
        confirm_ms: Option<u64>,
        /// Do it also where it locks out who is logged in.
        #[serde(default)]
        force: bool,
    },
    /// Keeps what was applied last: [`Applied`](super::Applied).
    Confirm,
    /// Takes back what was applied last: [`Applied`](super::Applied).
    Rollback {
        /// Do it also where it locks out who is logged in.
        #[serde(default)]
        force: bool,
    },
    /// What [`Apply`](Self::Apply) would change: [`Difference`](super::Difference).
    Diff {
        /// `None`: the file that the daemon was started with.
        policy: Option<PolicyText>,
    },
    /// Bans prefixes, all or none of them: [`Banned`](super::Banned).
    Ban {
        /// What to ban; bits beyond the length are cleared.
        prefixes: Vec<IpNet>,
        /// For how long, in milliseconds; `None`: until it is taken back.
        #[serde(default)]
        for_ms: Option<u64>,
        /// What to remember of it.
        #[serde(default)]
        reason: Option<String>,
        /// Ban trusted addresses too.
        #[serde(default)]
        force: bool,
        /// Only say whether it would be done.
        #[serde(default)]
        only_check: bool,
    },
    /// Takes a ban back: [`Unbanned`](super::Unbanned).
    Unban {
        /// Exactly what was banned.
        prefix: IpNet,
    },
    /// One page of the bans: [`BanPage`](super::BanPage).
    Bans {
        /// The last prefix of the page before; `None`: the first page.
        #[serde(default)]
        after: Option<IpNet>,
        /// How many at most, up to 10,000.
        #[serde(default)]
        limit: Option<u32>,
    },
    /// Looks at the interfaces now, and says what became of one:
    /// [`Looked`](super::Looked).
    Guard {
        /// Its name.
        interface: String,
    },
    /// Takes the filter off every interface, and ends the daemon:
    /// [`Detached`](super::Detached).
    Detach,
}

impl Command {
    /// Whether it changes nothing: for those who may only read. What is not
    /// known to change nothing does not belong here.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::Rules
                | Self::Sources { .. }
                | Self::Flows { .. }
                | Self::Log { .. }
                | Self::Diff { .. }
                | Self::Bans { .. }
                | Self::Explain { .. }
                | Self::Replay(_)
        )
    }
}

/// The text of a policy, and what it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText {
    /// Absolute. Errors name it, and set files are relative to its directory.
    pub file: PathBuf,
    /// The whole of it.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(line: &str) -> Request {
        let request: Request = match serde_json::from_str(line) {
            Ok(request) => request,
            Err(error) => panic!("{line}: {error}"),
        };
        let again = serde_json::to_string(&request).unwrap_or_default();
        assert_eq!(
            serde_json::from_str::<Request>(&again).ok().as_ref(),
            Some(&request),
            "{again}"
        );
        request
    }

    #[test]
    fn requests_read_as_the_protocol_page_writes_them() {
        assert_eq!(round(r#"{"v":1,"command":"status"}"#).command, Command::Status);
        assert_eq!(round(r#"{"v":1,"command":"rules"}"#).command, Command::Rules);
        assert_eq!(round(r#"{"v":1,"command":"detach"}"#).command, Command::Detach);
        let reload = Command::Apply { policy: None, confirm_ms: None, force: false };
        assert_eq!(round(r#"{"v":1,"command":"confirm"}"#).command, Command::Confirm);
        let rollback = Command::Rollback { force: false };
        assert_eq!(round(r#"{"v":1,"command":"rollback"}"#).command, rollback);
        assert_eq!(round(r#"{"v":1,"command":"apply","policy":null}"#).command, reload);
        let policy = PolicyText { file: "/p.toml".into(), text: "mode = \"monitor\"\n".to_owned() };
        let line =
            r#"{"v":1,"command":"diff","policy":{"file":"/p.toml","text":"mode = \"monitor\"\n"}}"#;
        assert_eq!(round(line).command, Command::Diff { policy: Some(policy) });
        let all = Command::Bans { after: None, limit: None };
        assert_eq!(round(r#"{"v":1,"command":"bans"}"#).command, all);
    }

    #[test]
    fn what_a_ban_does_not_say_is_left_out_and_more_is_passed_over() {
        let request = round(
            r#"{"v":1,"command":"ban","prefixes":["192.0.2.1/32","2001:db8::/32"],"colour":"red"}"#,
        );
        let Command::Ban { prefixes, for_ms, reason, force, only_check } = request.command else {
            panic!("not a ban");
        };
        assert_eq!(prefixes.len(), 2);
        assert_eq!((for_ms, reason, force, only_check), (None, None, false, false));
    }
}
