//! `cargo xtask vm`: the kernel tests on Debian's kernels, each in a virtual machine.
//!
//! A guest is a kernel image and an archive with busybox, the modules, one `nodewall` and the test executables: no disk, no
//! network, no distribution. It says how it went on its console ([`console`]).

mod boot;
mod budget;
mod console;
mod cpio;
mod initrd;
mod kernels;
mod lines;
mod modules;
mod payload;
mod project;
mod report;
mod system;
#[cfg(test)]
mod tests;
mod tools;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{ValueEnum, value_parser};

use crate::outer;

use boot::Machine;
use initrd::Init;
use kernels::{Kernel, Unpacked};
use payload::Payload;
use project::Share;
use report::Run;

/// Runs the kernel tests on several kernels, each in a virtual machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kernels; all of them if none is named.
    #[arg(value_enum, value_name = "KERNEL")]
    kernels: Vec<Kernel>,
    /// Boot a Debian system instead, and put the package through its life there: installed, killed, upgraded, rebooted,
    /// removed (as root; 6.1 and 6.12 unless kernels are named).
    #[arg(long, conflicts_with = "filter")]
    systemd: bool,
    /// Run every test on every kernel. Without, those of the daemon, which take long, run on the oldest and the newest one,
    /// and such as are about the daemon more than about the kernel on one of the two.
    #[arg(long, conflicts_with = "systemd")]
    all: bool,
    /// Run only the tests whose name contains this, or one of these.
    #[arg(long, value_name = "TEST")]
    filter: Vec<String>,
    /// Run only the test executables of these names.
    #[arg(long, value_name = "NAME", conflicts_with = "systemd")]
    test: Vec<String>,
    /// How many machines run at a time.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u16).range(1..))]
    jobs: u16,
    /// Processors of each machine. What happens on two at once needs two; emulated, they take turns.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    smp: u32,
    /// Memory of each machine.
    #[arg(short, long, value_name = "MB", default_value_t = 2048, value_parser = value_parser!(u32).range(128..))]
    memory: u32,
    /// How long a machine may take to start, and then for each test, before it counts as hung.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = value_parser!(u64).range(1..))]
    timeout: u64,
    /// Ask for the newest build of each kernel, also where one is there already.
    #[arg(long)]
    refresh: bool,
    /// Keep the consoles of machines that passed, too (target/vm/logs).
    #[arg(long)]
    keep_log: bool,
}

/// Fetches, builds, boots and sums up. Fails if anything on any kernel is not as it should be.
pub fn run(args: &Args) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!(
            "the kernels are for x86-64 and so are the tests in them: run this on an x86-64 machine"
        );
    }
    let mut machine = Machine::new()?;
    machine.processors = args.smp;
    machine.memory = args.memory;
    machine.limit = Duration::from_secs(args.timeout);
    let busybox = initrd::find_busybox()?;
    let toolchain = crate::setup::ensure()?;
    let place = Place::open(&outer::workspace().join("target/vm"))?;
    let mut wanted = args.kernels.clone();
    if args.systemd {
        return system::run(&place, machine, &busybox, wanted, args.jobs, args.keep_log);
    }
    if wanted.is_empty() {
        wanted = Kernel::value_variants().to_vec();
    }
    wanted.sort_unstable();
    wanted.dedup();

    let started = Instant::now();
    let (mut programs, mut fetched) = thread::scope(|scope| {
        let fetched = scope.spawn(|| kernels::fetch(&place.dir("kernels")?, &wanted, args.refresh));
        let programs = project::Programs::build(&place.dir("build")?, &toolchain);
        let fetched = fetched.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        anyhow::Ok((programs?, fetched?))
    })?;
    // What takes longest first: the others fill what is left.
    fetched.sort_by_key(|unpacked| unpacked.kernel.share() == Share::Nothing);
    for unpacked in &fetched {
        if let Some(note) = &unpacked.note {
            eprintln!("kernel {}: {note}", unpacked.kernel.name());
        }
    }
    let ready = started.elapsed();

    programs.only(&args.test)?;
    let asked = args.all || !args.test.is_empty() || !args.filter.is_empty();
    let share = |kernel: Kernel| if asked { Share::All } else { kernel.share() };
    let payload = |kernel: Kernel| match kernel.is_supported() {
        true => programs.tests(&args.filter, share(kernel)),
        false => programs.refusal(),
    };
    let booter = Booter { machine, busybox, place };
    let mut runs = booter.boot_all(fetched, args.jobs, args.keep_log, payload)?;
    runs.sort_by_key(|run| run.unpacked.kernel);

    println!();
    println!("{}\n", report::kernels(&runs));
    for run in runs.iter().filter(|run| run.unpacked.kernel.is_supported()) {
        println!("{}", run.tests());
        let left_out = match share(run.unpacked.kernel) {
            Share::All => continue,
            Share::AllBut(modules) => format!("of {}: {}", project::LONG, modules.join(", ")),
            Share::Nothing => project::LONG.to_owned(),
        };
        println!("      left out, and run there by `cargo xtask vm --all`: {left_out}");
    }
    println!();
    if let Some(table) = report::programs(&runs) {
        println!("{table}\n");
    }
    println!(
        "{:.0} s, of these {:.0} s to fetch and build",
        started.elapsed().as_secs_f64(),
        ready.as_secs_f64()
    );
    let failed: Vec<_> =
        runs.iter().filter(|run| !run.passed()).map(|run| run.unpacked.kernel.name()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} of {} kernels failed: {}", failed.len(), runs.len(), failed.join(", "))
}

/// The directory below `target` where all of this happens, held by one process at a time.
struct Place {
    root: PathBuf,
    _lock: File,
}

impl Place {
    /// Makes the directory, and waits for its turn where another run holds it.
    fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        let path = root.join("lock");
        let lock =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        if lock.try_lock().is_err() {
            eprintln!("another run holds {}: waiting for its end", root.display());
            lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir)
    }
}

/// What every boot shares.
struct Booter {
    machine: Machine,
    busybox: PathBuf,
    place: Place,
}

impl Booter {
    /// Boots each kernel with the payload that is for it, `jobs` at a time, and tells of each as it ends.
    fn boot_all(
        &self,
        kernels: Vec<Unpacked>,
        jobs: u16,
        keep_logs: bool,
        payload: impl Fn(Kernel) -> Payload + Sync,
    ) -> Result<Vec<Run>> {
        let (logs, archives) = (self.place.dir("logs")?, self.place.dir("initrd")?);
        let queue = Mutex::new(VecDeque::from(kernels));
        let runs = Mutex::new(Vec::new());
        // In the condition of the loop itself the lock would be held through its body.
        let next = || locked(&queue).pop_front();
        let work = || {
            while let Some(kernel) = next() {
                let name = kernel.kernel.name();
                println!("{name:<5} boots {}", kernel.version);
                let log = logs.join(format!("{name}.log"));
                let boot = self.boot(&kernel, &archives, &log, &payload(kernel.kernel));
                let run = Run { unpacked: kernel, boot };
                print!("{}", run.summary(&log));
                if run.passed() && !keep_logs {
                    // It has been written, and nobody else knows of it.
                    let _ = fs::remove_file(&log);
                }
                locked(&runs).push(run);
            }
        };
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(work);
            }
        });
        Ok(runs.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn boot(
        &self,
        kernel: &Unpacked,
        archives: &Path,
        log: &Path,
        payload: &Payload,
    ) -> Result<boot::Boot> {
        let name = kernel.kernel.name();
        let archive = archives.join(format!("{name}.cpio"));
        initrd::build(&archive, &self.busybox, &kernel.modules, Init::Payload, payload)?;
        let boot =
            self.machine.boot(&kernel.image, &archive, log, |line| println!("{name:<5} {line}"));
        // Tens of megabytes that the next run writes anew.
        fs::remove_file(&archive)
            .with_context(|| format!("cannot remove {}", archive.display()))?;
        boot
    }
}

/// The value, also where another thread panicked with it: that panic is reported by the scope.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
