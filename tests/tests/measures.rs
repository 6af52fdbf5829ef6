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
            let frames = frames(&loaded_in_vain(kernel, name));
            let number = |value: Option<u32>| {
                value.map_or_else(|| "unknown".to_owned(), |number| number.to_string())
            };
            println!(
                "VERIFIED program={name} insns={} xlated={} jited={} stack={}",
                number(info.verified_instruction_count()),
                number(info.size_translated()),
                info.size_jitted(),
                // A chain of calls is the program and at least one of its functions.
                frames[0] + frames[1..].iter().max().unwrap_or(&0),
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

/// `stack depth 192+0+64`: the program's own frame, then those of its functions. Newer kernels say more behind it.
fn frames(said: &str) -> Vec<u32> {
    let list = said.lines().find_map(|line| line.strip_prefix("stack depth "));
    let list = list.and_then(|list| list.split_whitespace().next()).unwrap_or_default();
    let frames: Result<_, _> = list.split('+').map(str::parse).collect();
    frames.unwrap_or_else(|_| panic!("the verifier does not tell the stack as it did: {said}"))
}
