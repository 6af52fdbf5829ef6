//! Those that nodewall is measured beside, each in a namespace of its own.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{Map, MapData, PerCpuHashMap, PerCpuValues},
    programs::Xdp,
    util::nr_cpus,
};
use aya_obj::programs::XdpAttachType;
use sandbox::{Namespace, Sandbox};

/// Another filter, and what it is told.
#[derive(Clone)]
pub struct Peer {
    /// What the row says.
    pub name: &'static str,
    job: Job,
    parameters: Vec<(&'static str, &'static str)>,
}

#[derive(Clone)]
enum Job {
    Nft(String),
    Iptables { ipset: String, rules: String },
    XdpFilter(XdpFilter),
}

/// What xdp-filter is to do.
#[derive(Clone)]
pub enum XdpFilter {
    /// Let the open ports pass and drop all else.
    OpenPorts,
    /// Drop these sources and let all else pass.
    Denied(Vec<Ipv4Addr>),
}

/// Of nftables: named sets, and the rules of the one chain.
pub struct Rules {
    /// `set NAME { … }`.
    pub sets: String,
    /// One a line.
    pub rules: String,
}

/// Where a chain of nftables hangs: the family, and what its chain says.
pub type Hook = (&'static str, &'static str);

/// As early as nftables can be: before a packet is anybody's.
pub const INGRESS: Hook = ("netdev", "type filter hook ingress device \"nw0\" priority filter");
/// Before connection tracking.
pub const RAW: Hook = ("inet", "type filter hook prerouting priority raw");
/// After it.
pub const MANGLE: Hook = ("inet", "type filter hook prerouting priority mangle");
/// Where most rule sets stand: after routing.
pub const INPUT: Hook = ("inet", "type filter hook input priority filter");

impl Peer {
    /// nftables with one chain on a hook.
    pub fn nft(name: &'static str, (family, hook): Hook, Rules { sets, rules }: &Rules) -> Self {
        let text = format!(
            "table {family} bench {{\n{sets}\nchain only {{\n{hook}; policy accept;\n{rules}\n}}\n}}\n"
        );
        Self { name, job: Job::Nft(text), parameters: Vec::new() }
    }

    /// iptables with sets of ipset. Both are the input of their `restore`.
    pub fn iptables(name: &'static str, ipset: &str, rules: &str) -> Self {
        let job = Job::Iptables { ipset: ipset.to_owned(), rules: rules.to_owned() };
        Self { name, job, parameters: Vec::new() }
    }

    /// xdp-filter of xdp-tools.
    pub fn xdp_filter(job: XdpFilter) -> Self {
        Self { name: "xdp-filter", job: Job::XdpFilter(job), parameters: Vec::new() }
    }

    /// With a parameter below `/proc/sys`, of the namespace, set.
    #[must_use]
    pub fn with_parameter(mut self, name: &'static str, value: &'static str) -> Self {
        self.parameters.push((name, value));
        self
    }

    /// Whether it is an XDP program.
    pub const fn is_xdp(&self) -> bool {
        matches!(self.job, Job::XdpFilter(_))
    }

    /// Puts it to work in the sandbox's host. Its program, if it is XDP.
    pub fn set_up(&self, sandbox: &Sandbox, scratch: &Path) -> Result<Option<Xdp>> {
        let host = &sandbox.host;
        match &self.job {
            Job::Nft(text) => restore(host, scratch, &["nft", "-f"], text)?,
            Job::Iptables { ipset, rules } => {
                restore(host, scratch, &["ipset", "restore", "-file"], ipset)?;
                restore(host, scratch, &["iptables-restore"], rules)?;
            }
            Job::XdpFilter(job) => return job.set_up(host).map(Some),
        }
        for (name, value) in &self.parameters {
            host.set_parameter(name, value)?;
        }
        Ok(None)
    }
}

impl XdpFilter {
    fn set_up(&self, host: &Namespace) -> Result<Xdp> {
        let load = ["xdp-filter", "load", "-m", "native"];
        match self {
            Self::OpenPorts => {
                run(
                    host,
                    &[&load[..], &["-p", "deny", "-f", "tcp,udp", sandbox::HOST_LINK]].concat(),
                )?;
                for (port, protocol) in [("22", "tcp"), ("15600", "tcp"), ("14626", "udp")] {
                    run(host, &["xdp-filter", "port", port, "-p", protocol, "-m", "dst"])?;
                }
            }
            Self::Denied(addresses) => {
                run(
                    host,
                    &[&load[..], &["-p", "allow", "-f", "ipv4", sandbox::HOST_LINK]].concat(),
                )?;
                deny(host, addresses)?;
            }
        }
        let dir = format!("{PINS}/programs/{}", sandbox::HOST_LINK);
        let dir = host.outside(Path::new(&dir));
        let entry = fs::read_dir(&dir)?.next().context("xdp-filter pinned no program")??;
        Ok(Xdp::from_pin(entry.path(), XdpAttachType::Interface)?)
    }
}

/// Where xdp-filter pins what is its.
const PINS: &str = "/sys/fs/bpf/xdp-filter";
/// Of an address in its table: as a source (`MAP_FLAG_SRC` of xdp-tools).
const AS_SOURCE: u64 = 1;

/// As `xdp-filter ip ADDR -m src` does, but 10,000 of them at once.
fn deny(host: &Namespace, addresses: &[Ipv4Addr]) -> Result<()> {
    let pin = host.outside(Path::new(&format!("{PINS}/filter_ipv4")));
    let map = Map::PerCpuHashMap(MapData::from_pin(pin)?);
    let mut map: PerCpuHashMap<MapData, u32, u64> = PerCpuHashMap::try_from(map)?;
    let processors = nr_cpus().map_err(|(_, error)| error).context("how many processors")?;
    for address in addresses {
        let value = PerCpuValues::try_from(vec![AS_SOURCE; processors])?;
        map.insert(u32::from(*address).to_be(), value, 0)?;
    }
    Ok(())
}

fn restore(host: &Namespace, scratch: &Path, command: &[&str], text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let file = scratch.join("rules");
    fs::write(&file, text)?;
    let mut words = command.to_vec();
    let file = file.to_string_lossy();
    words.push(&file);
    run(host, &words)
}

fn run(host: &Namespace, words: &[&str]) -> Result<()> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = host
        .spawn(command)
        .with_context(|| format!("is {} installed? `cargo xtask setup --all`", words[0]))?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "`{}` failed: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
