//! The program itself.

use filter_common::Reason;
use nodewall_tests::verdict::with_kernel;
use sandbox::packet::frame;

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
