//! Packets a second: each case against the bare drop, round by round.

use std::{net::IpAddr, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::XdpMode;
use filter_common::{Reason, Verdict};
use filter_user::{
    compile::{Numbers, compile},
    dataplane::{Ban, DataPlane, Half, Interface, Marks, Options},
    policy::{self, Attach},
    sockets::Sockets,
};
use ipnet::IpNet;
use sandbox::{Namespace, Sandbox};

use crate::{
    cases::{self, Case, Segment},
    report::{Goal, Report, Row, median},
};
use bench::flood::{Instruments, nanoseconds, pin};

/// The interface's number in the tables; any will do.
const NUMBER: u32 = 1;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// What is measured, and how often.
pub struct Floods<'a> {
    /// Rounds.
    pub rounds: u32,
    /// Frames in each flood.
    pub frames: u32,
    /// Whether other programs are measured too.
    pub peers: bool,
    /// Another object than the embedded one.
    pub object: Option<&'a [u8]>,
    /// Only cases whose name holds this.
    pub only: Option<&'a str>,
    /// Whether flows are counted.
    pub flow_log: bool,
}

impl Floods<'_> {
    /// Runs every case, round by round, the bare drop before each.
    pub fn measure(&self, report: &mut Report) -> Result<()> {
        let Self { rounds, frames, peers, object, only, flow_log } = *self;
        let sandbox = Sandbox::silent_pair()?;
        let (host, peer) = (sandbox.host.clone(), sandbox.peer.clone());
        let (receiver, sender) = (sandbox.veth.a.index()?, sandbox.veth.b.index()?);
        // As a node has one to its peers: so one of its ports is spoken from.
        let server = sandbox::tcp_listen(&peer, (sandbox::PEER_IPV4, 0).into())?;
        let outcome = sandbox::tcp_connect(&host, None, server.address(), CONNECT_WITHIN)?;
        let sandbox::Outcome::Connected(connection) = outcome else {
            bail!("the host does not reach its peer");
        };
        let own_port = connection.local_addr()?.port();
        let mut bench = Bench {
            sandbox: &sandbox,
            host,
            peer,
            receiver,
            sender,
            frames,
            object,
            own_port,
            flow_log,
        };
        let mut instruments = Instruments::load()?;
        let mut ceiling = Vec::new();
        let mut filter_of_xdp_tools = peers;
        let wanted = |case: &Case| only.is_none_or(|text| case.name.contains(text));
        for case in cases::all().into_iter().filter(wanted) {
            let frame = bench.frame(case.segment, "203.0.113.9");
            instruments.set_sources(&case.sources)?;
            let mut plane = bench.plane(&case)?;
            let (mut rates, mut ratios, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                let bare = bench.bare(&mut instruments, &frame)?;
                let ours = bench.ours(&mut instruments, &mut plane, &frame, case.reason)?;
                ceiling.push(bare);
                rates.push(ours);
                ratios.push(ours / bare);
                if case.xdp_filter && filter_of_xdp_tools {
                    match bench.xdp_filter(&mut instruments, &frame) {
                        Ok(rate) => theirs.push((ours / rate, rate)),
                        Err(error) => {
                            report.leave_out(format!("xdp-filter: {error:#}"));
                            filter_of_xdp_tools = false;
                        }
                    }
                }
            }
            let (ours, bare) = bench.nanoseconds(&mut instruments, &mut plane, &case)?;
            report.add(Row {
                name: format!("  nanoseconds by BPF_PROG_TEST_RUN; the bare drop takes {bare:.0}"),
                value: ours,
                spread: (ours, ours),
                unit: "ns",
                ratio: None,
                against: None,
                goal: None,
            });
            let (value, spread) = median(rates);
            report.add(Row {
                name: case.name.to_owned(),
                value,
                spread,
                unit: "Mpps",
                ratio: Some(median(ratios).0),
                against: Some("the bare drop"),
                goal: case.goal.map(Goal::RatioAtLeast),
            });
            if !theirs.is_empty() {
                let (ratios, rates): (Vec<f64>, Vec<f64>) = theirs.into_iter().unzip();
                let (value, spread) = median(rates);
                report.add(Row {
                    name: "  xdp-filter in deny mode, the same flood (ratio: nodewall to it)"
                        .to_owned(),
                    value,
                    spread,
                    unit: "Mpps",
                    ratio: Some(median(ratios).0),
                    against: Some("xdp-filter"),
                    goal: Some(Goal::RatioAtLeast(1.3)),
                });
            }
        }
        let (value, spread) = median(ceiling);
        report.add(Row {
            name: "bare XDP_DROP, the ceiling of this set-up".to_owned(),
            value,
            spread,
            unit: "Mpps",
            ratio: None,
            against: None,
            goal: None,
        });
        Ok(())
    }
}

struct Bench<'a> {
    sandbox: &'a Sandbox,
    host: Namespace,
    peer: Namespace,
    /// The host's end of the link, which receives.
    receiver: u32,
    /// The peer's end, which sends.
    sender: u32,
    frames: u32,
    object: Option<&'a [u8]>,
    /// A port from which the host has a connection.
    own_port: u16,
    /// Whether flows are counted.
    flow_log: bool,
}

impl Bench<'_> {
    /// What the programs alone take for a frame of the case's first source.
    fn nanoseconds(
        &self,
        instruments: &mut Instruments,
        plane: &mut DataPlane,
        case: &Case,
    ) -> Result<(f64, f64)> {
        let source = case.sources.first().context("a case has sources")?.to_string();
        let (frame, index) = (self.frame(case.segment, &source), self.receiver);
        self.host.enter(|| -> Result<(f64, f64)> {
            pin(0)?;
            plane.guard(index, NUMBER, false)?;
            let ours = nanoseconds(plane.program()?, &frame, index)?;
            Ok((ours, instruments.nanoseconds("bare_drop", &frame, index)?))
        })?
    }

    fn frame(&self, segment: Segment, source: &str) -> Vec<u8> {
        let ip = self.sandbox.frame_to_host().ipv4(source, sandbox::HOST_IPV4);
        match segment {
            Segment::Syn(port) => ip.tcp(40_000, port).syn().pad_to(60).build(),
            Segment::Ack(port) => ip.tcp(40_000, port).ack().pad_to(60).build(),
            Segment::AckToOwnPort => ip.tcp(40_000, self.own_port).ack().pad_to(60).build(),
            Segment::Udp(port) => ip.udp(40_000, port).checksum(0).pad_to(60).build(),
        }
    }

    /// The filter under a case's policy, attached to no interface. As in the
    /// daemon, it is known from which ports this host speaks.
    fn plane(&self, case: &Case) -> Result<DataPlane> {
        let options = Options { object: self.object, ..Options::default() };
        let mut plane = self.host.enter(|| -> Result<DataPlane> {
            let mut plane = DataPlane::load(&options)?;
            plane.count_connections(None)?;
            if self.flow_log
                && let Some(mut flows) = plane.take_flow_counts()
            {
                flows.count_in(Some((Half::First, 1)))?;
            }
            plane.settle_ports(&Marks::default(), &Sockets::open()?.ports()?)?;
            Ok(plane)
        })??;
        let loaded = policy::parse(&case.policy, "bench.toml".as_ref())
            .map_err(|errors| anyhow::anyhow!("{errors}"))?;
        let (mut rules, mut interfaces) = (Numbers::of_rules(), Numbers::of_interfaces());
        plane.switch(&compile(&loaded.policy, &mut rules, &mut interfaces)?)?;
        for address in &case.bans {
            plane
                .bans()
                .add(IpNet::from(IpAddr::V4(*address)), Ban { until: None, reason: None })?;
        }
        Ok(plane)
    }

    /// One flood, and how long it took. The first frames find cold caches and
    /// grow the pages of the ring: they are sent before and not timed.
    fn flood(&self, instruments: &mut Instruments, frame: &[u8], frames: u32) -> Result<Duration> {
        let sender = self.sender;
        self.peer.enter(|| -> Result<Duration> {
            pin(0)?;
            instruments.flood(sender, frame, frames)
        })?
    }

    /// Millions of frames a second.
    fn rate(&self, instruments: &mut Instruments, frame: &[u8]) -> Result<f64> {
        self.flood(instruments, frame, self.frames / 10)?;
        let took = self.flood(instruments, frame, self.frames)?;
        Ok(f64::from(self.frames) / took.as_secs_f64() / 1e6)
    }

    fn bare(&mut self, instruments: &mut Instruments, frame: &[u8]) -> Result<f64> {
        let receiver = self.receiver;
        let link =
            self.host.enter(|| instruments.attach("bare_drop", receiver, XdpMode::Driver))??;
        let rate = self.rate(instruments, frame);
        instruments.detach("bare_drop", link)?;
        rate
    }

    fn ours(
        &self,
        instruments: &mut Instruments,
        plane: &mut DataPlane,
        frame: &[u8],
        reason: Reason,
    ) -> Result<f64> {
        let interface = Interface {
            name: sandbox::HOST_LINK.to_owned(),
            index: self.receiver,
            kind: 1,
            mtu: 1500,
            program: None,
            mode: None,
        };
        let dropped = |plane: &DataPlane| -> Result<[u64; 2]> {
            let counters = plane.interface_counters(NUMBER)?;
            let sum = |counts: &dyn Fn(&Reason) -> bool| {
                let found = counters.iter().filter(|found| counts(&found.reason));
                found.map(|found| found.counter.packets).sum()
            };
            Ok([sum(&|found| found.verdict() == Verdict::Drop), sum(&|found| *found == reason)])
        };
        let attached = self.host.enter(|| plane.attach(&interface, NUMBER, Attach::Native))??;
        self.flood(instruments, frame, self.frames / 10)?;
        let [before, for_reason_before] = dropped(plane)?;
        let took = self.flood(instruments, frame, self.frames)?;
        let [after, for_reason] = dropped(plane)?;
        let (judged, for_reason) = (after - before, for_reason - for_reason_before);
        drop(attached);
        // What is slower than the generator loses frames in the ring: what
        // counts is what was judged. On a quiet machine that is nearly all.
        ensure!(
            judged > u64::from(self.frames) / 2,
            "{} frames were sent and {judged} judged: the machine is too busy to measure on",
            self.frames
        );
        ensure!(
            for_reason > judged / 2,
            "of {judged} frames {for_reason} dropped as {}: this is not the case it is called",
            reason.name()
        );
        Ok(judged as f64 / took.as_secs_f64() / 1e6)
    }

    /// xdp-filter with its policy turned to deny, as xdp-tools installs it.
    fn xdp_filter(&self, instruments: &mut Instruments, frame: &[u8]) -> Result<f64> {
        let run = |arguments: &[&str]| -> Result<()> {
            let mut command = Command::new("xdp-filter");
            command.args(arguments);
            let output = self.host.spawn({
                command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
                command
            })?;
            let output = output.wait_with_output()?;
            ensure!(
                output.status.success(),
                "`xdp-filter {}` failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
            Ok(())
        };
        run(&["load", "-m", "native", "-p", "deny", "-f", "tcp,udp", sandbox::HOST_LINK])
            .context("is xdp-tools installed? `cargo xtask setup --all`")?;
        let rate = self.rate(instruments, frame);
        run(&["unload", sandbox::HOST_LINK])?;
        rate
    }
}
