//! `cargo xtask vm --systemd`: a Debian system with its service manager, on which the package is installed, killed, upgraded,
//! rebooted and removed. Each kernel gets a disk of its own, on which two boots follow one another.

mod root;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use super::boot::{Boot, Machine, Outcome};
use super::initrd::{self, Init};
use super::kernels::{self, Kernel, Unpacked};
use super::payload::Payload;
use super::{Place, locked, project};
use crate::{dist, outer};

/// Of the kernel. What is masked has no part in it, and costs an emulated processor its time.
const PARAMETERS: &str = "systemd.unit=test.target systemd.show_status=false \
     systemd.mask=getty@tty1.service systemd.mask=serial-getty@ttyS0.service systemd.mask=apt-daily.timer \
     systemd.mask=apt-daily-upgrade.timer systemd.mask=dpkg-db-backup.timer systemd.mask=fstrim.timer \
     systemd.mask=e2scrub_all.timer systemd.mask=e2scrub_reap.service systemd.mask=systemd-timesyncd.service";

/// The boots on each disk.
const BOOTS: [&str; 2] = ["first", "second"];

/// Builds, boots, and sums up. Fails if anything is not as it should be.
pub fn run(
    place: &Place,
    mut machine: Machine,
    busybox: &Path,
    mut wanted: Vec<Kernel>,
    jobs: u16,
    keep_logs: bool,
) -> Result<()> {
    if !geteuid().is_root() {
        bail!(
            "the files of a system have owners, so making one needs root: sudo cargo xtask vm --systemd"
        );
    }
    if wanted.is_empty() {
        wanted = vec![Kernel::V6_1, Kernel::V6_12];
    }
    if let Some(old) = wanted.iter().find(|kernel| !kernel.is_supported()) {
        bail!("the filter does not run on {}, so there is nothing to install there", old.name());
    }
    machine.parameters = PARAMETERS;

    let started = Instant::now();
    let fetched = kernels::fetch(&place.dir("kernels")?, &wanted, false)?;
    let test = project::system_test(&place.dir("build")?)?;
    let packages = packages(&place.dir("packages")?)?;
    let system = root::System::obtain(&place.dir("system")?)?;
    let ready = started.elapsed();

    let queue = Mutex::new(VecDeque::from(fetched));
    let failed = Mutex::new(Vec::new());
    let next = || locked(&queue).pop_front();
    let work = || -> Result<()> {
        while let Some(kernel) = next() {
            let name = kernel.kernel.name();
            let parts = root::Parts { test: &test, packages: &packages };
            let disk = system.disk(name, &parts)?;
            let mut machine = machine.clone();
            machine.disk = Some(disk.clone());
            for boot in BOOTS {
                let log = place.dir("logs")?.join(format!("{name}-{boot}.log"));
                let done = boot_once(&machine, busybox, &kernel, place, &log)?;
                let verdict = verdict(&done);
                println!("{name:<5} {boot} boot {verdict} after {:.0} s", done.took.as_secs_f64());
                if matches!(done.outcome, Outcome::Passed) {
                    if !keep_logs {
                        // It has been written, and nobody else knows of it.
                        let _ = fs::remove_file(&log);
                    }
                    continue;
                }
                for line in &done.tail {
                    println!("{name:<5} | {line}");
                }
                println!("{name:<5} the whole console is in {}", log.display());
                locked(&failed).push(format!("{name}, {boot} boot"));
                // The second one looks at what the first has left, also after a failed check; not at half of it.
                if !matches!(done.outcome, Outcome::Failed(_)) {
                    break;
                }
            }
            fs::remove_file(&disk).with_context(|| format!("cannot remove {}", disk.display()))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<()>>>()
    })?;
    println!(
        "{:.0} s, of these {:.0} s to fetch and build",
        started.elapsed().as_secs_f64(),
        ready.as_secs_f64()
    );
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort();
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join("; ")) }
}

/// The package, and the same again as a newer one.
fn packages(out: &Path) -> Result<[PathBuf; 2]> {
    let work = outer::workspace().join("target/dist");
    let package = |revision: u32| {
        let made = dist::make(&work, &out.join(revision.to_string()), revision)?;
        let is_package = |path: &PathBuf| path.extension().is_some_and(|end| end == "deb");
        made.into_iter().find(is_package).context("a package was made")
    };
    Ok([package(1)?, package(2)?])
}

fn boot_once(
    machine: &Machine,
    busybox: &Path,
    kernel: &Unpacked,
    place: &Place,
    log: &Path,
) -> Result<Boot> {
    let name = kernel.kernel.name();
    println!("{name:<5} boots {} with systemd", kernel.version);
    let archive = place.dir("initrd")?.join(format!("{name}-system.cpio"));
    initrd::build(&archive, busybox, &kernel.modules, Init::Disk, &Payload::default())?;
    machine.boot(&kernel.image, &archive, log, |line| println!("{name:<5} {line}"))
}

/// A boot in which no test ran proves nothing.
fn verdict(boot: &Boot) -> String {
    match boot.outcome {
        Outcome::Passed if boot.transcript.totals()[0] == 0 => "failed: no test ran".to_owned(),
        ref outcome => outcome.to_string(),
    }
}
