//! The program itself.

use aya::programs::{ProgramError, ProgramInfo};
use filter_common::Reason;
use filter_user::dataplane::LoadError;
use nodewall_tests::verdict::with_kernel;
use sandbox::packet::frame;

/// What the verifier and the compiler of this kernel made of it, for the report
/// of the kernels it was tried on.
#[test]
fn verified() {
    with_kernel(|kernel| {
        let program = kernel.plane.program().map(|program| program.info());
        report("nodewall", program);
        let program = kernel.plane.classifier().map(|program| program.info());
        report("nodewall_egress", program);
        let program = kernel.plane.counter().map(|program| program.info());
        report("nodewall_slots", program);
    });
}

fn report(name: &str, info: Result<Result<ProgramInfo, ProgramError>, LoadError>) {
    let info = match info {
        Ok(Ok(info)) => info,
        Ok(Err(error)) => panic!("{error}"),
        Err(error) => panic!("{error}"),
    };
    let number = |value: Option<u32>| value.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    println!(
        "VERIFIED program={name} insns={} xlated={} jited={}",
        number(info.verified_instruction_count()),
        number(info.size_translated()),
        info.size_jitted(),
    );
}

/// Before the first policy everything is closed that a policy could open.
#[test]
fn without_a_policy_all_is_closed() {
    with_kernel(|kernel| {
        let syn = frame().eth().ipv4("203.0.113.9", "198.51.100.1").tcp(4000, 22).syn().build();
        kernel.expect("a SYN", &syn, Reason::PortClosed);
        let arp =
            frame().eth().arp_request([2, 0, 0, 0, 0, 2], "203.0.113.9", "198.51.100.1").build();
        kernel.expect("ARP", &arp, Reason::Essential);
    });
}
