//! The program itself.

use filter_common::Reason;
use nodewall_tests::verdict::with_kernel;
use sandbox::packet::frame;

/// What the verifier and the compiler of this kernel made of it, for the report
/// of the kernels it was tried on.
#[test]
fn verified() {
    with_kernel(|kernel| {
        let program = match kernel.plane.program() {
            Ok(program) => program,
            Err(error) => panic!("{error}"),
        };
        let info = match program.info() {
            Ok(info) => info,
            Err(error) => panic!("{error}"),
        };
        let number =
            |value: Option<u32>| value.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
        println!(
            "VERIFIED program=nodewall insns={} xlated={} jited={}",
            number(info.verified_instruction_count()),
            number(info.size_translated()),
            info.size_jitted(),
        );
    });
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
