//! `connections`: who is refused when so many are held.

use std::net::IpAddr;

use filter_common::{Address, Reason, Scope, tables::SourceKey};
use nodewall_tests::verdict::{Expected, Kernel, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6, PEER, PEER6};

fn syn(source: &str, port: u16) -> Vec<u8> {
    if source.contains(':') {
        frame().eth().ipv6(source, HOST6).tcp(4000, port).syn().build()
    } else {
        frame().eth().ipv4(source, HOST).tcp(4000, port).syn().build()
    }
}

/// Settles how many connections are held under a key, in both.
pub fn hold(kernel: &mut Kernel, rule: &str, scope: Scope, prefix: &str, held: u32) {
    let source = match prefix.parse::<IpAddr>() {
        Ok(address) => Address::from(address),
        Err(_) => Address([0; 4]),
    };
    let Some(rule) = kernel.rules.get(rule) else { panic!("no rule `{rule}`") };
    let key = SourceKey { rule, scope: scope as u32, source };
    kernel.model.set_slots(key, held.into());
    if let Err(error) = kernel.plane.slots().correct(key, held.into()) {
        panic!("{error}");
    }
}

fn limited(rule: &'static str, scope: Scope) -> Expected {
    Expected::over(rule, Reason::ConnectionLimit, scope)
}

#[test]
fn exactly_so_many_in_each_scope() {
    with_kernel(|kernel| {
        for (table, scope, [ipv4, ipv6], others) in [
            (
                "per_source",
                Scope::PerSource,
                [PEER, "2001:db8:9::"],
                ["203.0.113.10", "2001:db8:9:1::9"],
            ),
            (
                "per_network",
                Scope::PerNetwork,
                ["203.0.113.0", "2001:db8:9::"],
                ["203.0.114.9", "2001:db8:a::9"],
            ),
        ] {
            let rule = table;
            kernel.policy(&format!(
                "[[rule]]\nname = \"{rule}\"\nports = [\"tcp/22\", \"tcp/80\"]\n[rule.{table}]\nconnections = 3\n"
            ));
            for (prefix, source, other) in [(ipv4, PEER, others[0]), (ipv6, PEER6, others[1])] {
                for held in [0, 2, 3, 4, 3, 2, 0] {
                    hold(kernel, rule, scope, prefix, held);
                    let expected =
                        if held < 3 { Expected::rule(rule) } else { limited(rule, scope) };
                    for port in [22, 80] {
                        let what = format!("{table}, {source} with {held} held, port {port}");
                        kernel.expect(what, &syn(source, port), expected);
                    }
                    let what = format!("{table}, {other} while {source} holds {held}");
                    kernel.expect(what, &syn(other, 22), Expected::rule(rule));
                }
            }
        }
        kernel.policy(
            "[[rule]]\nname = \"all\"\nports = [\"tcp/22\"]\n[rule.total]\nconnections = 2\n",
        );
        for (held, full) in [(1, false), (2, true), (0, false)] {
            hold(kernel, "all", Scope::Total, "", held);
            for source in [PEER, PEER6] {
                let expected =
                    if full { limited("all", Scope::Total) } else { Expected::rule("all") };
                kernel.expect(format!("total, {held} held"), &syn(source, 22), expected);
            }
        }
    });
}

/// Nothing but what opens a connection is held to it.
#[test]
fn only_new_connections_are_refused() {
    with_kernel(|kernel| {
        kernel.policy("[[rule]]\nname = \"a\"\nports = [\"tcp/22\", \"udp/22\"]\n[rule.per_source]\nconnections = 1\n");
        hold(kernel, "a", Scope::PerSource, PEER, 1);
        kernel.expect("a SYN", &syn(PEER, 22), limited("a", Scope::PerSource));
        let udp = frame().eth().ipv4(PEER, HOST).udp(4000, 22).build();
        kernel.expect("UDP", &udp, Expected::rule("a"));
        let ack = frame().eth().ipv4(PEER, HOST).tcp(4000, 22).ack().build();
        kernel.expect("a stray ACK", &ack, Expected::by("a", Reason::OutOfState));
    });
}

#[test]
fn the_narrow_scope_comes_first_and_a_refusal_takes_no_token() {
    with_kernel(|kernel| {
        kernel.policy(
            "[[rule]]\nname = \"a\"\nports = [\"tcp/22\"]\n\
             [rule.per_source]\nconnections = 1\nnew_connections = { rate = \"1/h\", burst = 2 }\n\
             [rule.per_network]\nconnections = 1\n[rule.total]\nconnections = 1\n\
             new_connections = { rate = \"1/h\", burst = 3 }\n",
        );
        let frame = syn(PEER, 22);
        for (scope, prefix) in
            [(Scope::Total, ""), (Scope::PerNetwork, "203.0.113.0"), (Scope::PerSource, PEER)]
        {
            hold(kernel, "a", scope, prefix, 1);
            for n in 0..5 {
                kernel.expect(format!("{}, {n}", scope.name()), &frame, limited("a", scope));
            }
        }
        for (scope, prefix) in
            [(Scope::Total, ""), (Scope::PerNetwork, "203.0.113.0"), (Scope::PerSource, PEER)]
        {
            hold(kernel, "a", scope, prefix, 0);
        }
        for n in 1..=2 {
            kernel.expect(format!("token {n} is there still"), &frame, Expected::rule("a"));
        }
        kernel.expect("then no more", &frame, Expected::refused("a", Reason::ConnectionRate));
        hold(kernel, "a", Scope::PerNetwork, "203.0.113.0", 1);
        kernel.expect(
            "the source's rate comes before the network's connections",
            &frame,
            Expected::refused("a", Reason::ConnectionRate),
        );
        hold(kernel, "a", Scope::PerSource, PEER, 1);
        kernel.expect("its connections before both", &frame, limited("a", Scope::PerSource));
    });
}

#[test]
fn monitor_lets_it_through() {
    with_kernel(|kernel| {
        let rule = "[[rule]]\nname = \"a\"\nports = [\"tcp/22\"]\nmode = \"monitor\"\n[rule.per_source]\nconnections = 1\n";
        kernel.policy(rule);
        hold(kernel, "a", Scope::PerSource, PEER, 1);
        kernel.expect("SYN", &syn(PEER, 22), limited("a", Scope::PerSource).monitored());
        hold(kernel, "a", Scope::PerSource, PEER, 0);
        kernel.expect("SYN", &syn(PEER, 22), Expected::rule("a"));
    });
}
