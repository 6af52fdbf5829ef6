//! The program in the kernel and the verdict's own code in user space, on the
//! same cases: no difference.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Instant,
};

use filter_common::Reason;
use nix::unistd::geteuid;
use nodewall_tests::model::{
    Case, Difference, Found, Host, Interface, Kernel, Played, Step, compare, play,
};

use crate::common::{fresh_seed, in_guest, search};

/// Acts of a case, at most: a change of policy waits for all CPUs, so each has many packets.
const ACTS: usize = 400;
/// Of each run.
const PACKETS: usize = 100_000;
/// More than these from the fresh seed: how many packets.
const MORE: &str = "NODEWALL_MODEL_PACKETS";
/// What CI draws every time; the other seed is new with each run.
const SEED: u64 = 5;
const FRESH: usize = 20_000;
/// Packets that every reason must be seen with.
const LEAST: usize = 100;

/// Packets in a guest, which are slow: of the first seed, and of the fresh one.
const IN_GUEST: [usize; 2] = [4_000, 1_000];

/// Cases that once failed: the files, and those of them that guests have.
fn regressions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

const KEPT: [(&str, &str); 1] =
    [("larger-than-the-burst.case", include_str!("../../regressions/larger-than-the-burst.case"))];

/// Each with its name.
fn kept() -> Vec<(String, String)> {
    if in_guest() {
        return KEPT.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    }
    let entries = fs::read_dir(regressions());
    let entries = entries.unwrap_or_else(|error| panic!("tests/regressions: {error}"));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "case"));
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path);
        (name, text.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    paths.into_iter().map(read).collect()
}

/// Plays a case on both.
fn attempt(kernel: &mut Kernel, case: &Case) -> Result<Played, Difference> {
    let prepared = case.prepare().unwrap_or_else(|error| panic!("{error}\n{case}"));
    let (start, fragments) = kernel.next_case();
    let model = play(case, &prepared, &mut Host::beside(fragments), start);
    let program = play(case, &prepared, kernel, start);
    compare(("the model", &model), ("the program", &program))?;
    no_packet_is_uncounted(case, &program)?;
    Ok(program)
}

/// All reasons of an interface together are all packets that came in there.
fn no_packet_is_uncounted(case: &Case, played: &Played) -> Result<(), Difference> {
    for interface in Interface::ALL {
        let reasons = Reason::ALL.iter();
        let counts =
            reasons.map(|reason| played.left.counts.of_interface(interface.number(), *reason));
        let counted: u64 = counts.sum();
        let here = |step: &&Step| matches!(step, Step::Receive(other, _) if *other == interface);
        let received = case.steps.iter().filter(here).count();
        if counted != received as u64 {
            let name = interface.name();
            return Err(Difference(format!("{name}: {received} came in, {counted} were counted")));
        }
    }
    Ok(())
}

/// Writes a case down to be played from now on, and ends the test.
fn fail(seed: u64, found: &Found) -> ! {
    let path = regressions().join(format!("seed-{seed}-after-{}.case", found.after));
    let kept = match fs::write(&path, found.to_string()) {
        Ok(()) => format!("kept as {}", path.display()),
        Err(error) => format!("cannot be kept as {}: {error}", path.display()),
    };
    panic!("seed {seed}: the program and the model differ; the case, {kept}:\n{found}");
}

#[test]
fn the_program_and_the_model_agree() {
    if !geteuid().is_root() {
        println!("skipped: loading a BPF program needs root");
        return;
    }
    let mut kernel = Kernel::new(None);
    let kept = kept();
    for (name, text) in &kept {
        let case: Case = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Err(difference) = attempt(&mut kernel, &case) {
            panic!("{name}: {difference}");
        }
        assert!(
            KEPT.iter().any(|(other, _)| other == name),
            "{name} agrees now: name it in `KEPT` of tests/tests/model/agree.rs, for guests"
        );
    }
    println!("{} cases that once failed agree", kept.len());
    let more = env::var(MORE).map_or(FRESH, |text| {
        text.parse().unwrap_or_else(|_| panic!("{MORE} is `{text}`, which is no number"))
    });
    let [first, more] = if in_guest() { IN_GUEST } else { [PACKETS, more] };
    for (seed, packets) in [(SEED, first), (fresh_seed(), more)] {
        let began = Instant::now();
        let seen = search(seed, packets, ACTS, |case| attempt(&mut kernel, case));
        let seen = seen.unwrap_or_else(|found| fail(seed, &found));
        println!("seed {seed}: {seen}in {:.1?}", began.elapsed());
        if packets >= PACKETS {
            let rare = seen.rarer_than(LEAST);
            assert!(rare.is_empty(), "seen fewer than {LEAST} times: {}", rare.join(", "));
        }
    }
}
