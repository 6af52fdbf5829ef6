//! The program asked what it would do: run by the kernel (`BPF_PROG_TEST_RUN`)
//! on frames that never were on a wire, at a time of one's choosing.
//!
//! It is the object that guards the host, loaded once more with constants that
//! make it hand back what became of a packet
//! ([`filter_common::tables::probe`]). What it may look at of the running
//! filter it shares and cannot change; all else is its own.

mod entries;
mod share;

use std::sync::Arc;

use aya::{
    Ebpf, TestRunOptions,
    maps::{Array, HashMap, MapData},
    programs::{ProgramError, TestRun as _},
};
use filter_common::{
    FlowKey, Outcome, Socket,
    fragments::Kept,
    read::{Flow, protocol},
    tables::{
        interfaces::RAW_IP,
        probe::{self, NO_OUTCOME, ON, READ_ONLY},
    },
};
use thiserror::Error;

use self::entries::Entries;
pub use self::share::Origin;
use super::{
    DataPlane, LoadError, MapFault, Options, boot_time, egress, error::root_cause, load, monotonic,
};
use crate::compile::Tables;

/// The maps of the question and of its sockets.
const QUESTION: &str = "PROBE";
pub(super) const TOLD: &str = "TOLD";

/// The kernel runs a program on no shorter frame (an Ethernet header).
const SHORTEST: usize = 14;

/// A program to ask.
pub struct Probe {
    world: World,
    question: Array<MapData, probe::Probe>,
    told: HashMap<MapData, FlowKey, u32>,
    /// Of the running filter, those that it must not look into by itself.
    entries: Option<Entries>,
}

/// What it judges by.
enum World {
    /// All its own.
    Private(Box<DataPlane>),
    /// In part the running filter's.
    Shared(Ebpf),
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

/// A moment on both clocks of the kernel, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// By which rates and timeouts go.
    pub monotonic: u64,
    /// By which bans end.
    pub boot: u64,
}

impl Times {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        let boot = u64::try_from(boot_time().as_nanos()).unwrap_or(u64::MAX);
        Self { monotonic: monotonic(), boot }
    }
}

/// Where and when a packet is said to come in, or to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The interface's number.
    pub interface: u32,
    /// Its frames begin with the IP header.
    pub raw_ip: bool,
    /// When.
    pub times: Times,
}

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// No program is run on it.
    #[error(
        "a frame of {length} bytes cannot be judged: the kernel runs its programs on {SHORTEST} bytes or more"
    )]
    Short {
        /// Bytes.
        length: usize,
    },
    /// The kernel does not run the program.
    #[error(
        "the kernel does not run the program on a frame of {length} bytes: {}; leave that packet out, and please report it with the kernel's version", root_cause(.source)
    )]
    Run {
        /// Bytes.
        length: usize,
        /// Why.
        source: ProgramError,
    },
    /// The program is another than the one that was loaded.
    #[error("the program gave no answer: this build of nodewall is broken, install it anew")]
    NoAnswer,
    /// It could not be asked.
    #[error(transparent)]
    Map(#[from] MapFault),
    /// It is not there.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Probe {
    /// A private filter under one policy, in which nothing has happened yet and
    /// no socket is but those it is [told](Self::set_socket) of.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the program or a map.
    pub fn private(options: &Options<'_>, tables: &Tables) -> Result<Self, LoadError> {
        let options = Options { pins: None, ..options.clone() };
        let mut plane = DataPlane::load_as(&options, ON | probe::TOLD)?;
        plane.switch(tables)?;
        let (question, told) =
            (load::take(&mut plane.ebpf, QUESTION)?, load::take(&mut plane.ebpf, TOLD)?);
        Ok(Self { world: World::Private(Box::new(plane)), question, told, entries: None })
    }

    /// What becomes of a received frame.
    ///
    /// # Errors
    ///
    /// When the kernel does not run the program on it.
    pub fn judge(&mut self, frame: &[u8], arrival: Arrival) -> Result<Outcome, ProbeError> {
        let answer = self.ask(frame, arrival)?;
        let Some(entries) = &mut self.entries else { return outcome(&answer) };
        if answer.asked.protocol == 0 {
            return outcome(&answer);
        }
        // It found nothing there. Now it finds what there is.
        entries.copy(&answer.asked)?;
        outcome(&self.ask(frame, arrival)?)
    }

    /// Has this host send a frame, of a socket of its own: what answers it is a
    /// reply. Of TCP the socket tells, see [`set_socket`](Self::set_socket).
    ///
    /// # Errors
    ///
    /// As [`judge`](Self::judge).
    pub fn send(&mut self, frame: &[u8], arrival: Arrival) -> Result<(), ProbeError> {
        self.put(frame, arrival)?;
        let program = egress::program(self.ebpf())?;
        program.test_run(run_on(frame)).map_err(failed(frame))?;
        Ok(())
    }

    /// Tells it what the host's socket table says of a TCP flow, as it is
    /// received.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the write: there is room for
    /// [`probe::SOCKETS`].
    pub fn set_socket(&mut self, flow: &Flow, socket: Socket) -> Result<(), MapFault> {
        let key = FlowKey::received(flow, protocol::TCP);
        if socket == Socket::None {
            // There may have been none.
            let _absent = self.told.remove(&key);
            return Ok(());
        }
        self.told.insert(key, socket as u32, 0).map_err(|error| {
            if MapFault::is_full(&error) {
                MapFault::Full { table: "sockets", capacity: probe::SOCKETS }
            } else {
                MapFault::of(TOLD, "write")(error)
            }
        })
    }

    /// The private filter, to switch its policy, ban and count; `None` where it
    /// is not private.
    pub fn plane(&mut self) -> Option<&mut DataPlane> {
        match &mut self.world {
            World::Private(plane) => Some(plane),
            World::Shared(_) => None,
        }
    }

    fn ebpf(&mut self) -> &mut Ebpf {
        match &mut self.world {
            World::Private(plane) => &mut plane.ebpf,
            World::Shared(ebpf) => ebpf,
        }
    }

    /// Puts a question.
    fn put(&mut self, frame: &[u8], arrival: Arrival) -> Result<(), ProbeError> {
        if frame.len() < SHORTEST {
            return Err(ProbeError::Short { length: frame.len() });
        }
        let Arrival { interface, raw_ip, times } = arrival;
        let flags = if raw_ip { RAW_IP } else { 0 };
        let question = probe::Probe::new(times.monotonic, times.boot, interface, flags);
        Ok(self.question.set(0, question, 0).map_err(MapFault::of(QUESTION, "write"))?)
    }

    fn ask(&mut self, frame: &[u8], arrival: Arrival) -> Result<probe::Probe, ProbeError> {
        self.put(frame, arrival)?;
        let program = load::program(self.ebpf())?;
        program.test_run(run_on(frame)).map_err(failed(frame))?;
        Ok(self.question.get(&0, 0).map_err(MapFault::of(QUESTION, "read"))?)
    }
}

fn outcome(answer: &probe::Probe) -> Result<Outcome, ProbeError> {
    if answer.outcome == NO_OUTCOME {
        return Err(ProbeError::NoAnswer);
    }
    Ok(Kept(answer.outcome).outcome())
}

fn run_on(frame: &[u8]) -> TestRunOptions<'_> {
    TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() }
}

fn failed(frame: &[u8]) -> impl Fn(ProgramError) -> ProbeError {
    let length = frame.len();
    move |source| ProbeError::Run { length, source }
}

impl Origin {
    /// A program to ask what the running filter would do with a packet now. It
    /// looks at policy, bans, rates, fragments and connections as they stand,
    /// and changes nothing of it.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the program or a map.
    pub fn explain_probe(&self) -> Result<Probe, LoadError> {
        let mut ebpf = self.share(ON | READ_ONLY, &[share::POLICY, share::STATE])?;
        let entries = Some(Entries::new(&mut ebpf, self)?);
        Probe::shared(ebpf, entries)
    }

    /// A program to ask what the running policy and its bans would have made of
    /// packets of another time. Connections held count as they stand; rates,
    /// fragments and what was sent begin empty and are its own; sockets it is
    /// [told](Probe::set_socket) of.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the program or a map.
    pub fn replay_probe(&self) -> Result<Probe, LoadError> {
        Probe::shared(self.share(ON | probe::TOLD, &[share::POLICY])?, None)
    }
}

impl DataPlane {
    /// What programs to ask are made of, for another thread to do so: it takes
    /// as long as the kernel verifies them.
    #[must_use]
    pub fn origin(&self) -> Arc<Origin> {
        Arc::clone(&self.origin)
    }

    /// [`Origin::explain_probe`]
    ///
    /// # Errors
    ///
    /// As there.
    pub fn explain_probe(&self) -> Result<Probe, LoadError> {
        self.origin.explain_probe()
    }

    /// [`Origin::replay_probe`]
    ///
    /// # Errors
    ///
    /// As there.
    pub fn replay_probe(&self) -> Result<Probe, LoadError> {
        self.origin.replay_probe()
    }
}

impl Probe {
    fn shared(mut ebpf: Ebpf, entries: Option<Entries>) -> Result<Self, LoadError> {
        let (question, told) = (load::take(&mut ebpf, QUESTION)?, load::take(&mut ebpf, TOLD)?);
        Ok(Self { world: World::Shared(ebpf), question, told, entries })
    }
}
