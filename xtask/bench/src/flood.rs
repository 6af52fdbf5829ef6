//! A flood over a veth pair, all on one processor: the generator sends from
//! the peer's end, and what is measured receives at the host's.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, TestRun as _, TestRunOptions,
    maps::Array,
    programs::{TestRunAttrs, Xdp, XdpMode, xdp::XdpLinkId},
};
use ipnet::Ipv4Net;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// The object with the bare programs and the generator.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("INSTRUMENTS_OBJECT"));

/// Frames in one batch: fewer than a veth ring holds.
const BATCH: u32 = 64;

/// Where the frames come from.
#[derive(Clone, Debug)]
pub enum Sources {
    /// A power of two of addresses.
    Listed(Vec<Ipv4Addr>),
    /// Every address of a network.
    Of(Ipv4Net),
}

impl Sources {
    /// One of them, the same each time.
    pub fn first(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Listed(list) => list.first().copied(),
            Self::Of(network) => Some(network.network()),
        }
    }
}

/// The generator and the bare programs.
pub struct Instruments(Ebpf);

impl Instruments {
    /// Loads them.
    pub fn load() -> Result<Self> {
        let mut ebpf = Ebpf::load(OBJECT).context("the instruments do not load")?;
        for (_, program) in ebpf.programs_mut() {
            if let Ok(program) = <&mut Xdp>::try_from(program) {
                program.load()?;
            }
        }
        Ok(Self(ebpf))
    }

    fn program(&mut self, name: &str) -> Result<&mut Xdp> {
        Ok(self.0.program_mut(name).context("no such instrument")?.try_into()?)
    }

    /// Puts a bare program on an interface; [`detach`](Self::detach) takes it off.
    pub fn attach(&mut self, name: &str, index: u32, mode: XdpMode) -> Result<XdpLinkId> {
        Ok(self.program(name)?.attach_to_if_index(index, mode)?)
    }

    /// Takes a bare program off.
    pub fn detach(&mut self, name: &str, link: XdpLinkId) -> Result<()> {
        Ok(self.program(name)?.detach(link)?)
    }

    /// The sources that the generator draws from.
    pub fn set_sources(&mut self, sources: &Sources) -> Result<()> {
        let network = match sources {
            Sources::Listed(list) => {
                self.list_sources(list)?;
                [0, 0]
            }
            Sources::Of(network) => {
                [network.network(), network.hostmask()].map(|word| u32::from(word).to_be())
            }
        };
        let map = self.0.map_mut("SOURCE_NETWORK").context("no network")?;
        let mut drawn: Array<_, [u32; 2]> = Array::try_from(map)?;
        Ok(drawn.set(0, network, 0)?)
    }

    fn list_sources(&mut self, sources: &[Ipv4Addr]) -> Result<()> {
        ensure!(sources.len().is_power_of_two(), "the generator masks a random number");
        let map = self.0.map_mut("SOURCE_LIST").context("no list")?;
        let mut list: Array<_, u32> = Array::try_from(map)?;
        for (index, source) in (0_u32..).zip(sources) {
            list.set(index, u32::from(*source).to_be(), 0)?;
        }
        let map = self.0.map_mut("SOURCE_COUNT").context("no count")?;
        let mut count: Array<_, u32> = Array::try_from(map)?;
        count.set(0, u32::try_from(sources.len())?, 0)?;
        Ok(())
    }

    /// Nanoseconds that a bare program takes for a frame, see [`nanoseconds`].
    pub fn nanoseconds(&mut self, name: &str, frame: &[u8], index: u32) -> Result<f64> {
        nanoseconds(self.program(name)?, frame, index)
    }

    /// Sends `frames` copies of `frame` out of the interface with that index,
    /// each from a source drawn anew. The time it took by the kernel's own clock,
    /// receiving included: both happen on this thread's processor. It leaves out
    /// what other programs have of the processor, and beginning and ending.
    pub fn flood(&mut self, index: u32, frame: &[u8], frames: u32) -> Result<Duration> {
        let program = self.program("generate")?;
        let context = context(frame.len(), index);
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        // Nanoseconds for each frame, without a fraction.
        let each = program.test_run(options).context("the generator")?.duration;
        Ok(each * frames)
    }
}

/// Nanoseconds that a program takes for a frame that came in on an interface of
/// this namespace, by the kernel's own clock (BPF_PROG_TEST_RUN): the least of
/// some runs, which is what other work on the machine disturbs least.
pub fn nanoseconds(program: &Xdp, frame: &[u8], index: u32) -> Result<f64> {
    const RUNS: u32 = 20;
    const REPEAT: u32 = 200_000;
    let context = context(frame.len(), index);
    let mut least = f64::MAX;
    for _ in 0..RUNS {
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            repeat: REPEAT,
            ..TestRunOptions::default()
        };
        let result = program.test_run(options).context("the program")?;
        least = least.min(result.duration.as_nanos() as f64);
    }
    Ok(least)
}

/// `struct xdp_md` (include/uapi/linux/bpf.h) of a frame that came in on an interface.
pub fn context(length: usize, index: u32) -> [u8; 24] {
    let mut image = [0; 24];
    image[4..8].copy_from_slice(&(length as u32).to_ne_bytes());
    image[12..16].copy_from_slice(&index.to_ne_bytes());
    image
}

/// Keeps this thread on one processor.
pub fn pin(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
