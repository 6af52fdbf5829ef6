//! One of those that meet a flood, in namespaces of its own.

use std::{
    fs,
    net::{IpAddr, TcpStream, UdpSocket},
    sync::Barrier,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aya::programs::{Xdp, XdpMode};
use filter_common::Reason;
use filter_user::{
    compile::{Numbers, compile},
    dataplane::{Attachment, Ban, DataPlane, Half, Interface, Marks, Options},
    policy::{self, Attach},
    sockets::Sockets,
};
use ipnet::IpNet;
use sandbox::{Offload, Sandbox, Server, Veth, VethOptions};

use crate::{
    cases::{Case, Fate, OPEN, OPEN_UDP, Segment},
    contest::Floods,
    peers::Peer,
    processor::deferred,
};
use bench::flood::{Instruments, nanoseconds, pin};

/// The first link's number in the tables; any will do.
const NUMBER: u32 = 1;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Before what is timed: for caches, and for the tables that a flood fills.
const WARM_UP: Duration = Duration::from_millis(25);
/// Frames with which it begins.
const TRIAL: u32 = 2_048;

/// Who it is.
#[derive(Clone, Copy)]
pub enum Who<'a> {
    /// The instrument of that name.
    Bare(&'static str),
    /// The filter.
    Nodewall,
    /// Another filter.
    Peer(&'a Peer),
}

impl Who<'_> {
    /// What the row says.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare("bare_pass") => "bare XDP_PASS",
            Self::Bare(_) => "bare XDP_DROP",
            Self::Nodewall => "nodewall",
            Self::Peer(peer) => peer.name,
        }
    }
}

/// What stands in the flood's way.
enum Guard {
    Bare(&'static str),
    Nodewall(Box<DataPlane>),
    Other(Option<Box<Xdp>>),
}

/// It, ready. Fields are dropped in this order.
pub struct Contestant {
    /// What the row says.
    pub name: &'static str,
    #[expect(dead_code, reason = "it ends with this value")]
    attached: Vec<Attachment>,
    guard: Guard,
    #[expect(dead_code, reason = "it ends with this value")]
    talk: Talk,
    fate: Fate,
    reason: Reason,
    ground: Ground,
}

/// Where it stands, and what is sent at it.
struct Ground {
    frame: Vec<u8>,
    links: Vec<Veth>,
    sandbox: Sandbox,
}

/// Sockets that are open meanwhile.
struct Talk {
    servers: Vec<Server>,
    streams: Vec<TcpStream>,
    /// Whose buffer is full, so that a datagram that reaches it costs no more.
    #[expect(dead_code, reason = "it ends with this value")]
    sink: UdpSocket,
}

impl Contestant {
    /// Makes its namespaces and as many links, and puts it to work on them.
    pub fn new(
        who: Who<'_>,
        case: &Case,
        links: usize,
        instruments: &mut Instruments,
        floods: &Floods<'_>,
    ) -> Result<Self> {
        let ipv6 = matches!(case.segment, Segment::Ipv6Syn(_));
        let options = VethOptions::default().ipv6(ipv6);
        let sandbox = Sandbox::with(options)?;
        sandbox.fix_neighbours()?;
        let mut all = vec![sandbox.veth.clone()];
        for number in 1..links {
            let names = [format!("nw{number}"), format!("peer{number}")];
            all.push(Veth::new((&sandbox.host, &names[0]), (&sandbox.peer, &names[1]), options)?);
        }
        let (mut talk, own_port) = Talk::begin(&sandbox)?;
        let mut attached = Vec::new();
        let guard = match who {
            Who::Bare(name) => {
                for link in &all {
                    let index = link.a.index()?;
                    sandbox.host.enter(|| instruments.attach(name, index, XdpMode::Driver))??;
                }
                Guard::Bare(name)
            }
            Who::Nodewall => {
                let mut plane = plane(&sandbox, case, floods)?;
                for (number, link) in (NUMBER..).zip(&all) {
                    let interface = interface(link)?;
                    attached.push(
                        sandbox
                            .host
                            .enter(|| plane.attach(&interface, number, Attach::Native))??,
                    );
                }
                Guard::Nodewall(Box::new(plane))
            }
            Who::Peer(peer) => {
                if !peer.is_xdp() {
                    // Without XDP a link takes the generator's frames only so.
                    sandbox.veth.a.set_offload(Offload::Gro, true)?;
                }
                Guard::Other(peer.set_up(&sandbox, floods.scratch)?.map(Box::new))
            }
        };
        if !matches!(guard, Guard::Bare(_)) {
            talk.connect(&sandbox, case.connections)?;
        }
        let frame = case.frame(&sandbox, own_port);
        Ok(Self {
            name: who.name(),
            attached,
            guard,
            talk,
            fate: case.fate,
            reason: case.reason,
            ground: Ground { frame, links: all, sandbox },
        })
    }

    /// Whether it is the filter.
    pub const fn is_nodewall(&self) -> bool {
        matches!(self.guard, Guard::Nodewall(_))
    }

    /// Millions of frames a second that it judged of floods that begin together,
    /// each over a link and on a processor of its own; as many as there are
    /// instruments.
    pub fn rate(&self, instruments: &mut [Instruments], length: Duration) -> Result<f64> {
        let mut floods = Vec::new();
        for (lane, instruments) in instruments.iter_mut().enumerate() {
            let frames = self.ground.warm_up(lane, instruments, length)?;
            floods.push((lane, instruments, frames, self.seen(lane)?));
        }
        let (ground, together) = (&self.ground, &Barrier::new(floods.len()));
        let took = thread::scope(|scope| {
            let threads: Vec<_> = floods
                .iter_mut()
                .map(|(lane, instruments, frames, _)| {
                    scope.spawn(move || {
                        together.wait();
                        ground.flood(*lane, instruments, *frames)
                    })
                })
                .collect();
            let ends = threads.into_iter().map(|thread| {
                thread.join().map_err(|_| anyhow!("the generator's thread panicked"))?
            });
            ends.collect::<Result<Vec<Duration>>>()
        })?;
        let mut sum = 0.0;
        for ((lane, _, frames, before), took) in floods.iter().zip(took) {
            let seen = self.seen(*lane)?.since(before);
            self.check(&seen, *frames)?;
            sum += seen.received as f64 / took.as_secs_f64() / 1e6;
        }
        Ok(sum)
    }

    /// Whether it was the flood that it is called.
    fn check(&self, seen: &Seen, frames: u32) -> Result<()> {
        let Seen { received, reached, for_reason } = *seen;
        // What is slower than the generator loses frames in the ring: what
        // counts is what was judged. On a quiet machine that is nearly all.
        ensure!(
            received > u64::from(frames) / 2,
            "{frames} frames were sent and {received} received: the machine is too busy to measure on"
        );
        let as_said = match self.fate {
            Fate::Drops => reached < received / 2,
            Fate::Passes => reached > received / 2,
        };
        ensure!(as_said, "of {received} frames {reached} reached the host: it did not do this job");
        if let Some(judged) = for_reason {
            ensure!(
                judged > received / 2,
                "of {received} frames {judged} were judged as {}: this is not the case it is called",
                self.reason.name()
            );
        }
        Ok(())
    }

    /// What has arrived so far.
    fn seen(&self, lane: usize) -> Result<Seen> {
        let Ground { links, sandbox, .. } = &self.ground;
        let name = links[lane].a.name();
        let (received, reached) =
            sandbox.host.enter(|| -> Result<_> { Ok((received(name)?, reached()?)) })??;
        let for_reason = match &self.guard {
            Guard::Nodewall(plane) => {
                let counters = plane.interface_counters(NUMBER + lane as u32)?;
                let mut found = counters.iter().filter(|found| found.reason == self.reason);
                Some(found.next().map_or(0, |found| found.counter.packets))
            }
            _ => None,
        };
        Ok(Seen { received, reached, for_reason })
    }

    /// What its program alone takes for one frame; `None` where it has none.
    pub fn nanoseconds(&mut self, instruments: &mut Instruments) -> Result<Option<f64>> {
        let Self { guard, ground: Ground { frame, links, sandbox }, .. } = self;
        let index = links[0].a.index()?;
        sandbox.host.enter(|| {
            pin(0)?;
            Ok(Some(match guard {
                Guard::Bare(name) => instruments.nanoseconds(name, frame, index)?,
                Guard::Nodewall(plane) => nanoseconds(plane.program()?, frame, index)?,
                Guard::Other(Some(program)) => nanoseconds(program, frame, index)?,
                Guard::Other(None) => return Ok(None),
            }))
        })?
    }
}

impl Ground {
    /// How many frames make a flood of about that length.
    fn warm_up(&self, lane: usize, instruments: &mut Instruments, length: Duration) -> Result<u32> {
        // Some of what is measured takes a hundred times as long as other, and
        // to begin takes some milliseconds itself.
        let mut frames = TRIAL;
        loop {
            let took = self.flood(lane, instruments, frames)?;
            if took >= WARM_UP || frames > u32::MAX / 2 {
                return Ok((f64::from(frames) * length.as_secs_f64() / took.as_secs_f64()) as u32);
            }
            frames *= 2;
        }
    }

    /// How long a flood took, on the processor of that number and over the
    /// link of that number.
    fn flood(&self, lane: usize, instruments: &mut Instruments, frames: u32) -> Result<Duration> {
        let sender = self.links[lane].b.index()?;
        self.sandbox.peer.enter(|| {
            pin(lane)?;
            // What comes in faster than it is dealt with is left to a thread of
            // the kernel's, whose time is not in the generator's.
            let before = deferred(lane)?;
            let took = instruments.flood(sender, &self.frame, frames)?;
            Ok(took + (deferred(lane)? - before))
        })?
    }
}

/// Counters of a flood.
struct Seen {
    /// Frames that the link took up.
    received: u64,
    /// Packets that reached a protocol of the host.
    reached: u64,
    /// Of the filter: frames judged as the case says.
    for_reason: Option<u64>,
}

impl Seen {
    fn since(&self, before: &Self) -> Self {
        Self {
            received: self.received - before.received,
            reached: self.reached - before.reached,
            for_reason: self.for_reason.zip(before.for_reason).map(|(now, then)| now - then),
        }
    }
}

/// Frames that a link of this thread's namespace has received (proc_net(5)).
fn received(link: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix(link)?.strip_prefix(':'));
    let word = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(word.with_context(|| format!("the kernel counts nothing for {link}"))?.parse()?)
}

/// Packets that got through to TCP, UDP and the like.
fn reached() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/snmp")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, ipv4) = pairs.find(|(name, _)| *name == "InDelivers").context("no InDelivers")?;
    let text = fs::read_to_string("/proc/thread-self/net/snmp6").unwrap_or_default();
    let ipv6 = text.lines().find_map(|line| line.strip_prefix("Ip6InDelivers"));
    Ok(ipv4.parse::<u64>()? + ipv6.map_or(Ok(0), |word| word.trim().parse())?)
}

impl Talk {
    /// As a node has one, a connection to its peer: so one of its ports is
    /// spoken from, which is told too.
    fn begin(sandbox: &Sandbox) -> Result<(Self, u16)> {
        let (host, peer) = (&sandbox.host, &sandbox.peer);
        let server = sandbox::tcp_listen(peer, (sandbox::PEER_IPV4, 0).into())?;
        let outcome = sandbox::tcp_connect(host, None, server.address(), CONNECT_WITHIN)?;
        let sandbox::Outcome::Connected(connection) = outcome else {
            bail!("the host does not reach its peer");
        };
        let own_port = connection.local_addr()?.port();
        let sink = host.enter(|| UdpSocket::bind((sandbox::HOST_IPV4, OPEN_UDP)))??;
        Ok((Self { servers: vec![server], streams: vec![connection], sink }, own_port))
    }

    /// Connections of the peer to the open port.
    fn connect(&mut self, sandbox: &Sandbox, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let server = sandbox::tcp_listen(&sandbox.host, (sandbox::HOST_IPV4, OPEN).into())?;
        for _ in 0..count {
            match sandbox::tcp_connect(&sandbox.peer, None, server.address(), CONNECT_WITHIN)? {
                sandbox::Outcome::Connected(connection) => self.streams.push(connection),
                outcome => bail!("a connection within the limit: {outcome:?}"),
            }
        }
        self.servers.push(server);
        Ok(())
    }
}

/// The filter under a case's policy, attached to no interface. As in the
/// daemon, it is known from which ports this host speaks.
fn plane(sandbox: &Sandbox, case: &Case, floods: &Floods<'_>) -> Result<DataPlane> {
    let options = Options { object: floods.object, ..Options::default() };
    let mut plane = sandbox.host.enter(|| -> Result<DataPlane> {
        let mut plane = DataPlane::load(&options)?;
        plane.count_connections(None)?;
        if floods.flow_log
            && let Some(mut flows) = plane.take_flow_counts()
        {
            flows.count_in(Some((Half::First, 1)))?;
        }
        plane.settle_ports(&Marks::default(), &Sockets::open()?.speakers()?)?;
        Ok(plane)
    })??;
    let loaded = policy::parse(&case.policy, "bench.toml".as_ref())
        .map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let (mut rules, mut interfaces) = (Numbers::of_rules(), Numbers::of_interfaces());
    plane.switch(&compile(&loaded.policy, &mut rules, &mut interfaces)?)?;
    for address in &case.bans {
        let prefix = IpNet::from(IpAddr::V4(*address));
        plane.bans().add(prefix, Ban { until: None, reason: None })?;
    }
    Ok(plane)
}

fn interface(link: &Veth) -> Result<Interface> {
    Ok(Interface {
        name: link.a.name().to_owned(),
        index: link.a.index()?,
        kind: 1,
        mtu: 1500,
        program: None,
        mode: None,
    })
}
