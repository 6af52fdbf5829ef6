//! Traffic without which the network does not work, and its rates.

use std::time::Instant;

use filter_common::{Reason, Verdict};
use nodewall_tests::verdict::{Expected, Kernel, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

const LINK_LOCAL: &str = "fe80::9";
/// The ends of link-local addresses, and what is just outside.
const INSIDE: [&str; 2] = ["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"];
const OUTSIDE: [&str; 4] = ["fe7f:ffff::1", "fec0::1", "::", PEER6];

#[test]
fn discovery_and_groups() {
    with_kernel(|kernel| {
        // No list stands above what is essential.
        let denied = "[sources]\ndenied = [\"203.0.113.0/24\", \"::/128\", \"2001:db8::/32\", \"fe7f::/16\", \"fe80::/16\", \"febf::/16\", \"fec0::/16\"]\n";
        for policy in ["", denied] {
            kernel.policy(policy);
            let (closed, other) = if policy.is_empty() {
                (Reason::IcmpClosed, Reason::ProtocolClosed)
            } else {
                (Reason::Denied, Reason::Denied)
            };
            for kind in 0..=u8::MAX {
                for source in [LINK_LOCAL, PEER6] {
                    let message = |limit| {
                        frame().eth().ipv6(source, HOST6).hop_limit(limit).icmpv6(kind, 0).build()
                    };
                    let what = |limit: u8| {
                        format!("ICMPv6 {kind} from {source}, hop limit {limit}, {policy:?}")
                    };
                    let is_discovery = (133..=137).contains(&kind);
                    let is_mld = matches!(kind, 130..=132 | 143) && source == LINK_LOCAL;
                    let at = |essential| if essential { Reason::Essential } else { closed };
                    kernel.expect(what(255), &message(255), at(is_discovery || is_mld));
                    kernel.expect(what(254), &message(254), at(is_mld));
                    kernel.expect(what(1), &message(1), at(is_mld));
                }
                if (130..=143).contains(&kind) {
                    let old = frame().eth().ipv4(PEER, HOST).ttl(255).icmp(kind, 0).build();
                    kernel.expect(format!("ICMP {kind} over IPv4, {policy:?}"), &old, closed);
                }
            }
            for (sources, expected) in [(&INSIDE[..], Reason::Essential), (&OUTSIDE[..], closed)] {
                for source in sources {
                    let report = frame()
                        .eth()
                        .ipv6(*source, HOST6)
                        .hop_limit(1)
                        .hop_by_hop([5, 2, 0, 0])
                        .icmpv6(143, 0);
                    kernel.expect(
                        format!("a listener report from {source}"),
                        &report.build(),
                        expected,
                    );
                }
            }
            let igmp = frame()
                .eth()
                .ipv4(PEER, "224.0.0.1")
                .ttl(1)
                .options([0x94, 4, 0, 0])
                .protocol(2)
                .payload([0x11; 8]);
            kernel.expect("IGMP", &igmp.build(), Reason::Essential);
            let empty = frame().eth().ipv4(PEER, "224.0.0.1").protocol(2).build();
            kernel.expect("IGMP without a body", &empty, Reason::Essential);
            let wrong =
                frame().eth().ipv6(LINK_LOCAL, HOST6).next_header(2).payload([0x11; 8]).build();
            kernel.expect("IGMP's number over IPv6", &wrong, other);
        }
    });
}

#[test]
fn dhcp() {
    with_kernel(|kernel| {
        kernel.policy("");
        let v4 = |from, to| frame().eth().ipv4(PEER, HOST).udp(from, to).payload([2; 240]).build();
        let v6 = |source, from, to| {
            frame().eth().ipv6(source, HOST6).udp(from, to).payload([2; 60]).build()
        };
        for (from, to) in [(67, 68), (68, 67), (67, 67), (67, 69), (66, 68), (547, 546)] {
            let expected =
                if (from, to) == (67, 68) { Reason::Essential } else { Reason::PortClosed };
            kernel.expect(format!("IPv4 {from} > {to}"), &v4(from, to), expected);
        }
        for (from, to) in [(547, 546), (546, 547), (547, 547), (547, 545), (67, 68)] {
            let expected =
                if (from, to) == (547, 546) { Reason::Essential } else { Reason::PortClosed };
            kernel.expect(format!("IPv6 {from} > {to}"), &v6(LINK_LOCAL, from, to), expected);
        }
        for source in INSIDE {
            kernel.expect(source, &v6(source, 547, 546), Reason::Essential);
        }
        for source in OUTSIDE {
            kernel.expect(source, &v6(source, 547, 546), Reason::PortClosed);
        }
        let tcp = frame().eth().ipv4(PEER, HOST).tcp(67, 68).syn().build();
        kernel.expect("TCP with DHCP's ports", &tcp, Reason::PortClosed);
    });
}

/// Sends `frame` far more often than its rate allows. What is beyond the rate
/// is judged as anything else.
fn exhaust(kernel: &mut Kernel, what: &str, frame: &[u8], burst: u64, rate: f64, beyond: Reason) {
    const TIMES: u32 = 5000;
    let since = Instant::now();
    let _before = kernel.added();
    kernel.run(frame, TIMES);
    let refilled = (since.elapsed().as_secs_f64() * rate) as u64 + 1;
    let counts = kernel.added();
    let number = kernel.interface();
    let privileged = counts.of_interface(number, Reason::Essential);
    let rest = counts.of_interface(number, beyond);
    kernel.check(
        (burst..=burst + refilled).contains(&privileged) && privileged + rest == u64::from(TIMES),
        format!(
            "{what}: {privileged} of a burst of {burst} were essential, then {rest} {}",
            beyond.name()
        ),
    );
    let judged =
        (0..TIMES).filter(|_| kernel.model.judge(frame).reason == Reason::Essential).count() as u64;
    kernel.check(
        judged == burst,
        format!("{what}: the model took {judged} for essential, not {burst}"),
    );
}

#[test]
fn beyond_their_rate_they_are_like_others() {
    with_kernel(|kernel| {
        kernel.policy("");
        let dhcp = frame().eth().ipv4(PEER, HOST).udp(67, 68).build();
        exhaust(kernel, "DHCP", &dhcp, 100, 100.0, Reason::PortClosed);
        let dhcpv6 = frame().eth().ipv6(LINK_LOCAL, HOST6).udp(547, 546).build();
        let _before = kernel.added();
        kernel.run(&dhcpv6, 1000);
        let closed = kernel.added_for(Reason::PortClosed);
        kernel.check(closed > 900, format!("DHCPv6 shares DHCP's rate: {closed} of 1000 closed"));
        let report = frame().eth().ipv6(LINK_LOCAL, HOST6).hop_limit(1).icmpv6(143, 0).build();
        exhaust(kernel, "MLD", &report, 200, 100.0, Reason::IcmpClosed);
        let igmp = frame().eth().ipv4(PEER, HOST).protocol(2).build();
        let _before = kernel.added();
        kernel.run(&igmp, 1000);
        let closed = kernel.added_for(Reason::ProtocolClosed);
        kernel.check(closed > 900, format!("IGMP shares MLD's rate: {closed} of 1000 closed"));
        let solicitation =
            frame().eth().ipv6(LINK_LOCAL, HOST6).hop_limit(255).icmpv6(135, 0).build();
        let _before = kernel.added();
        kernel.run(&solicitation, 5000);
        let passed = kernel.added_for(Reason::Essential);
        kernel.check(
            passed == 5000,
            format!("neighbour discovery has no rate: {passed} of 5000 passed"),
        );
    });
}

/// Each interface has rates of its own, and a rule may admit what lost its privilege.
#[test]
fn rates_are_an_interface_s() {
    with_kernel(|kernel| {
        kernel.policy("[[rule]]\nname = \"dhcp\"\nports = [\"udp/68\"]\n");
        let dhcp = frame().eth().ipv4(PEER, HOST).udp(67, 68).build();
        exhaust(kernel, "DHCP with a rule", &dhcp, 100, 100.0, Reason::Rule);
        let veth = match sandbox::Veth::new(
            (&kernel.namespace, "nwa"),
            (&kernel.namespace, "nwb"),
            sandbox::VethOptions::default(),
        ) {
            Ok(veth) => veth,
            Err(error) => panic!("{error}"),
        };
        let index = match veth.a.index() {
            Ok(index) => index,
            Err(error) => panic!("{error}"),
        };
        kernel.come_in("nwa", index, false);
        exhaust(kernel, "DHCP on another interface", &dhcp, 100, 100.0, Reason::Rule);
        let judged = kernel.model.judge(&dhcp);
        kernel.check(judged.verdict() == Verdict::Pass, "the model's rule admits it");
        kernel.loopback(false);
        let other = frame().eth().ipv4(PEER, HOST).udp(4000, 68).build();
        kernel.expect("the rule itself", &other, Expected::rule("dhcp"));
    });
}
