//! What may be written on the command line.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::{ArgGroup, Parser, Subcommand};
use clap_complete::Shell;

use super::ban_list::{self, Network};
use crate::{
    control::{DEFAULT_CONFIG, DEFAULT_SOCKET},
    daemon,
    dataplane::{DEFAULT_PINS, NO_PINS},
    state,
};

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  it failed
  2  usage, or a policy that is not valid
  3  the daemon is not running
  4  refused, or no permission";

/// A network filter in the XDP hook, and its controller.
#[derive(Debug, Parser)]
#[command(name = "nodewall", version, about, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(super) struct Args {
    /// Where the daemon listens
    #[arg(long, global = true, env = "NODEWALL_SOCKET", value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon, in the foreground
    Run(Run),
    /// Validate a policy: what would be loaded, or what is wrong and where
    Check(Check),
    /// Validate a policy, show the difference, and switch to it in one step
    Apply(Apply),
    /// Keep what was applied last
    Confirm(Json),
    /// Take back what was applied last
    Rollback(Rollback),
    /// Apply the file that the daemon was started with
    Reload(Reload),
    /// Compare the running policy with a file
    Diff(Diff),
    /// Show interfaces, totals by reason, and tables
    Status(Status),
    /// Show each rule with its counters
    Rules(Json),
    /// Show who is here: connections held and packets refused, by source
    Sources(Sources),
    /// Show current flows
    Flows(Flows),
    /// Show dropped packets, one by one
    Log(Log),
    /// Drop everything from an address or prefix
    Ban(Ban),
    /// Take a ban back
    Unban(Unban),
    /// List the bans
    Bans(Bans),
    /// Ask the kernel's own program what would become of a packet, and why
    Explain(Explain),
    /// Have the kernel's own program judge a capture
    Replay(Replay),
    /// Tell whether this host can run the filter, how well, and what to do about it
    Doctor(Doctor),
    /// Take the filter off every interface, unpin everything, and end the daemon
    Detach(Detach),
    /// Have an interface guarded that has just appeared; what the udev rule calls
    #[command(hide = true)]
    Guard(Guard),
    /// Print the completions of a shell
    #[command(
        after_help = "Example:\n  nodewall completions bash > /usr/share/bash-completion/completions/nodewall"
    )]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  nodewall man | man -l -")]
    Man,
}

impl Command {
    /// Whether it is to print JSON, errors included.
    pub(super) fn is_json(&self) -> bool {
        match self {
            Self::Check(args) => args.json.json,
            Self::Apply(args) => args.json.json,
            Self::Confirm(args) => args.json,
            Self::Rollback(args) => args.json.json,
            Self::Reload(args) => args.json.json,
            Self::Diff(args) => args.json.json,
            Self::Status(args) => args.json.json,
            Self::Rules(args) => args.json,
            Self::Sources(args) => args.json.json,
            Self::Flows(args) => args.json.json,
            Self::Log(args) => args.json.json,
            Self::Ban(args) => args.json.json,
            Self::Unban(args) => args.json.json,
            Self::Bans(args) => args.json.json,
            Self::Explain(args) => args.json.json,
            Self::Replay(args) => args.json.json,
            Self::Doctor(args) => args.json.json,
            Self::Run(_)
            | Self::Detach(_)
            | Self::Guard(_)
            | Self::Completions { .. }
            | Self::Man => false,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nodewall sources --top 20")]
pub(super) struct Sources {
    /// Show so many, those that hold the most connections first
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub top: u32,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  nodewall flows --top 20
  nodewall flows --json | jq '.flows[] | select(.verdict == \"drop\")'

Where the policy has `[log] flows`, these are the inbound flows of this minute and the one before,
accepted and refused, with packets and bytes. Without it they are what the kernel knows: connections
of sockets, and UDP, echoes and forwarded connections that this host or a container sent something to.")]
pub(super) struct Flows {
    /// Show so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub top: u32,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  nodewall log
  nodewall log --follow
  nodewall log --last 1000 --json | jq -r .source | sort | uniq -c | sort -n

It shows a sample: as many drops a second as `[log] drops` says (default: 50). Each line tells how
many were not shown since the one before; the counters of `status` and `rules` have them all. What
monitor mode let through has the verdict `pass` and the reason that it would have been dropped for.
With --json every line is one object.")]
pub(super) struct Log {
    /// Go on with those to come, until interrupted
    #[arg(long, short)]
    pub follow: bool,
    /// Show so many of the last ones (default: 100, with --follow 10; 4096 are kept)
    #[arg(long, short = 'n', value_name = "N")]
    pub last: Option<u32>,
    #[command(flatten)]
    pub json: Json,
}

/// For commands that print something to read.
#[derive(Debug, clap::Args)]
pub(super) struct Json {
    /// Print JSON, errors included
    #[arg(long)]
    pub json: bool,
}

/// Where an instance keeps what outlives it.
#[derive(Debug, clap::Args)]
pub(super) struct Directories {
    /// Where the daemon keeps what must survive a reboot
    #[arg(long, value_name = "DIR", default_value = state::DEFAULT, overrides_with = "state")]
    pub state: PathBuf,
    /// Where programs and tables are pinned, on a bpffs (`none`: the filter ends with the daemon)
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS, overrides_with = "pins")]
    pub pins: PathBuf,
}

impl Directories {
    /// `None`: nothing is pinned.
    pub(super) fn pins(&self) -> Option<&Path> {
        Some(self.pins.as_path()).filter(|path| *path != Path::new(NO_PINS))
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  nodewall run --config ./nodewall.toml
  nodewall run --interface eth0 --interface wg0

The log goes to standard error; RUST_LOG says how much of it (default: info).
SIGHUP reloads the policy file. SIGTERM and SIGINT end the daemon; the filter stays on, unless the
policy says `on_stop = \"detach\"` in `[service]`. `nodewall detach` takes it off.")]
pub(super) struct Run {
    /// The policy file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Guard this interface instead of those that the policy names (may be repeated)
    #[arg(long, value_name = "IF")]
    pub interface: Vec<String>,
    /// Do it also where nobody who is logged in by SSH could do so again
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub directories: Directories,
}

impl Run {
    pub(super) fn into_options(self, socket: PathBuf, began: Instant) -> daemon::Options {
        daemon::Options {
            began,
            config: self.config,
            force: self.force,
            interfaces: self.interface,
            socket,
            pins: self.directories.pins().map(Path::to_owned),
            state: self.directories.state,
            object: None,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nodewall check ./nodewall.toml\n\nNo daemon is needed.")]
pub(super) struct Check {
    /// The policy file
    #[arg(default_value = DEFAULT_CONFIG)]
    pub file: PathBuf,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  nodewall apply ./new.toml
  nodewall apply ./new.toml --confirm 60s && nodewall confirm

What is applied from another file than the daemon's own holds until the next reload or start.")]
pub(super) struct Apply {
    /// The policy file; without it, the one that the daemon was started with
    pub file: Option<PathBuf>,
    /// Take it back after this time, unless `nodewall confirm` comes before
    #[arg(long, value_name = "TIME", value_parser = parse_patience)]
    pub confirm: Option<Duration>,
    /// Do it also where nobody who is logged in by SSH could do so again
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub json: Json,
}

/// How long there is for a confirmation.
fn parse_patience(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  nodewall rollback

One step back: to the policy before the last change. It stays so after a restart.")]
pub(super) struct Rollback {
    /// Do it also where nobody who is logged in by SSH could do so again
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  nodewall reload\n  kill -HUP $(pidof nodewall)")]
pub(super) struct Reload {
    /// Do it also where nobody who is logged in by SSH could do so again
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  nodewall diff\n  nodewall diff ./new.toml --json")]
pub(super) struct Diff {
    /// The policy file; without it, the one that the daemon was started with
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  nodewall status\n  nodewall status --json | jq .totals")]
pub(super) struct Status {
    #[command(flatten)]
    pub json: Json,
    #[command(flatten)]
    pub directories: Directories,
}

#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("whom").required(true).args(["prefix", "from"]),
    after_help = "Examples:
  nodewall ban 198.51.100.7 --for 1h --reason \"port scan\"
  nodewall ban 2001:db8:bad::/48
  nodewall ban --from addresses.txt --for 1d
  zcat list.gz | nodewall ban --from -

Without --for a ban holds until it is taken back. Bans survive restarts and reboots.

A file is checked whole before anything is banned. What comes by a pipe is banned as it is
read, so that a list may be of any length or never end: where a line is wrong, what was read
before it is banned, and the error says how much."
)]
pub(super) struct Ban {
    /// An address or prefix
    #[arg(value_name = "ADDR|PREFIX", value_parser = ban_list::parse_argument)]
    pub prefix: Option<Network>,
    /// Read addresses and prefixes from a file, one a line (- for standard input; # starts a comment)
    #[arg(long, value_name = "FILE|-")]
    pub from: Option<PathBuf>,
    /// For how long, such as 90s, 10m, 1h, 7days
    #[arg(long = "for", value_name = "TIME", value_parser = ban_list::parse_duration)]
    pub duration: Option<Duration>,
    /// What to remember of it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Ban trusted addresses too (which has no effect for as long as they are trusted)
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  nodewall unban 198.51.100.7")]
pub(super) struct Unban {
    /// Exactly what was banned
    #[arg(value_name = "ADDR|PREFIX", value_parser = ban_list::parse_argument)]
    pub prefix: Network,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  nodewall bans
  nodewall bans --json --limit 100
  nodewall bans --json --limit 100 --after 198.51.100.7

With --limit, `next` of the JSON is what to give to --after for the ones that follow.")]
pub(super) struct Bans {
    /// List so many at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// List those that come after this one
    #[arg(long, value_name = "ADDR|PREFIX", value_parser = ban_list::parse_argument)]
    pub after: Option<Network>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  nodewall explain \"tcp 198.51.100.9:4000 > 203.0.113.5:22 syn\"
  nodewall explain \"wg0: udp [2001:db8::1]:4000 > [2001:db8::2]:14626 len 1400\"
  sudo nodewall explain \"icmp 198.51.100.9 > 203.0.113.5 echo\" --config ./new.toml

A packet: [IF:] tcp|udp|icmp|icmp6 SRC[:PORT] > DST[:PORT] [WORDS]
It is written as `nodewall log` shows it. Without IF it comes in on the first guarded interface; without
the sender's port it is from 49152. The words:
  syn ack fin rst psh urg ece cwr   TCP's flags; without any: syn (`none`: no flag)
  echo echo-reply unreachable too-big time-exceeded, type N, code N   ICMP's message; without: echo
  len N                             bytes of the frame, link layer included; without: as few as it takes
  frag ID,OFFSET,MF                 a fragment: its identification, its offset in bytes, and mf or 1 where
                                    more follow. One with an offset carries no ports, so these may be left out

Without --config the packet is judged by the running policy, as bans, rates, connections, sockets and what
was sent stand now; nothing of it changes. With --config it is judged in a private copy, where nothing has
happened and no socket is; that takes root, and no daemon.")]
pub(super) struct Explain {
    /// The packet, in quotes
    pub packet: String,
    /// Judge by this policy file instead of the running policy
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  nodewall replay dump.pcap
  nodewall replay dump.pcapng --local 203.0.113.5 --json | jq '.summary'
  zcat dump.pcap.gz | sudo nodewall replay - --config ./new.toml

It reads pcap and pcapng with Ethernet or raw IP links, of any length. Rates go by the capture's clock and
begin empty. Bans and connections held count as they stand now; what is running is not changed. All records
are taken as received, unless --local names this host: what it sent is not judged, but answers to it, and the
TCP connections that the capture shows it to have, are known. A record that the capture has not all of, or
that has less than 14 bytes, is not judged. With --config the capture is judged in a private copy under that
policy, without bans and connections; that takes root, and no daemon.")]
pub(super) struct Replay {
    /// The capture (- for standard input)
    pub file: PathBuf,
    /// Judge by this policy file instead of the running policy
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// An address of this host in the capture (may be repeated)
    #[arg(long, value_name = "ADDR")]
    pub local: Vec<std::net::IpAddr>,
    /// Where all of it comes in; without it, the first guarded interface
    #[arg(long, value_name = "IF")]
    pub interface: Option<String>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo nodewall doctor
  sudo nodewall doctor --config ./new.toml
  nodewall doctor --json | jq '.findings[] | select(.level != \"ok\")'

No daemon is needed, and nothing is changed. The exit code is 1 where there is a failure.")]
pub(super) struct Doctor {
    /// The policy file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  nodewall detach --yes\n\nWithout --yes it asks, and where there is no terminal to ask on it does nothing."
)]
pub(super) struct Detach {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub directories: Directories,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  nodewall guard eth1\n\nIt waits for a daemon that is being restarted."
)]
pub(super) struct Guard {
    /// Its name
    #[arg(value_name = "IF", env = "INTERFACE")]
    pub interface: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_socket_may_stand_before_and_after_the_command() {
        for line in
            [["nodewall", "--socket", "/s", "status"], ["nodewall", "status", "--socket", "/s"]]
        {
            let socket = Args::try_parse_from(line).map(|args| args.socket).ok();
            assert_eq!(socket.as_deref(), Some(std::path::Path::new("/s")));
        }
    }

    #[test]
    fn what_is_asked_about_must_be_named() {
        for name in ["explain", "replay"] {
            assert!(Args::try_parse_from(["nodewall", name]).is_err(), "{name}");
            assert!(Args::try_parse_from(["nodewall", name, "x", "--json"]).is_ok(), "{name}");
        }
        assert!(Args::try_parse_from(["nodewall", "replay", "f", "--local", "here"]).is_err());
    }

    #[test]
    fn a_confirmation_has_a_time() {
        assert!(Args::try_parse_from(["nodewall", "apply", "f", "--confirm", "60s"]).is_ok());
        assert!(Args::try_parse_from(["nodewall", "apply", "f", "--confirm", "soon"]).is_err());
    }

    #[test]
    fn a_ban_names_a_prefix_or_a_file() {
        assert!(Args::try_parse_from(["nodewall", "ban"]).is_err());
        assert!(Args::try_parse_from(["nodewall", "ban", "192.0.2.1", "--from", "f"]).is_err());
        assert!(Args::try_parse_from(["nodewall", "ban", "192.0.2.1"]).is_ok());
        assert!(Args::try_parse_from(["nodewall", "ban", "example.org"]).is_err());
        assert!(Args::try_parse_from(["nodewall", "ban", "192.0.2.1", "--for", "soon"]).is_err());
    }
}
