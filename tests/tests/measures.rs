//! What this kernel makes of the programs: for the report of the kernels they were tried on, which holds it against a budget.
//!
//! In an executable of its own, because the limit of open files is the process's.

use aya::programs::{ProgramError, ProgramInfo};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nodewall_tests::verdict::{Kernel, with_kernel};

#[test]
fn verified() {
    with_kernel(|kernel| {
        for name in ["nodewall", "nodewall_egress", "nodewall_slots"] {
            let info = info(kernel, name).expect("the kernel tells of it");
            let stack = stack(&loaded_in_vain(kernel, name));
            let number = |value: Option<u32>| {
                value.map_or_else(|| "unknown".to_owned(), |number| number.to_string())
            };
            println!(
                "VERIFIED program={name} insns={} xlated={} jited={} stack={stack}",
                number(info.verified_instruction_count()),
                number(info.size_translated()),
                info.size_jitted(),
            );
        }
    });
}

fn info(kernel: &mut Kernel, name: &str) -> Result<ProgramInfo, ProgramError> {
    let plane = &mut kernel.plane;
    match name {
        "nodewall" => plane.program().expect("it is there").info(),
        "nodewall_egress" => plane.classifier().expect("it is there").info(),
        _ => plane.counter().expect("it is there").info(),
    }
}

/// What the verifier says of the program. The loader asks it only after a load
/// has failed; so this load fails when all is done but the file of the program.
fn loaded_in_vain(kernel: &mut Kernel, name: &str) -> String {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    macro_rules! load {
        ($program:expr) => {{
            let program = $program.expect("it is there");
            program.unload().expect("it is loaded");
            setrlimit(Resource::RLIMIT_NOFILE, 0, hard).expect("it can be lowered");
            let loaded = program.load();
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("it can be raised again");
            loaded
        }};
    }
    let plane = &mut kernel.plane;
    let loaded = match name {
        "nodewall" => load!(plane.program()),
        "nodewall_egress" => load!(plane.classifier()),
        _ => load!(plane.counter()),
    };
    match loaded {
        Err(ProgramError::LoadError { verifier_log, .. }) => verifier_log.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

/// The bytes of stack of the deepest chain of calls, where the verifier tells it: `stack depth max 448` (Linux 7.3). Before,
/// it tells those of each function, `stack depth 0+208+40`: the largest of these.
fn stack(said: &str) -> u32 {
    let told = said.lines().find_map(|line| line.strip_prefix("stack depth "));
    let told = told.and_then(|told| told.strip_prefix("max ").or(Some(told)));
    let depths = told.unwrap_or_default().trim().split('+').map(str::parse);
    let depths: Result<Vec<u32>, _> = depths.collect();
    let deepest = depths.ok().and_then(|depths| depths.into_iter().max());
    deepest.unwrap_or_else(|| panic!("the verifier does not tell the stack as it did: {said}"))
}
