//! The limits that sources share: of a network, and of the rule.

use std::time::Duration;

use filter_common::{Address, Reason, Scope};
use filter_user::model::Model;
use nodewall_tests::verdict::{Expected, Kernel, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6};

fn udp(source: &str) -> Vec<u8> {
    if source.contains(':') {
        frame().eth().ipv6(source, HOST6).udp(4000, 22).payload([0; 38]).build()
    } else {
        frame().eth().ipv4(source, HOST).udp(4000, 22).payload([0; 58]).build()
    }
}

fn syn(source: &str) -> Vec<u8> {
    frame().eth().ipv4(source, HOST).tcp(4000, 22).syn().build()
}

/// One rule of that name for both protocols of port 22, with these tables.
fn policy(name: &str, limits: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\nports = [\"udp/22\", \"tcp/22\"]\n{limits}")
}

/// A packet from each of the sources, in order, and what becomes of it.
fn each(kernel: &mut Kernel, packet: fn(&str) -> Vec<u8>, cases: &[(&str, Expected)]) {
    for (n, (source, expected)) in cases.iter().enumerate() {
        kernel.expect(format!("{n}, {source}"), &packet(source), *expected);
    }
}

fn over(reason: Reason, scope: Scope) -> Expected {
    Expected::over("shared", reason, scope)
}

const OPEN: fn() -> Expected = || Expected::rule("shared");

/// Found by `tests/tests/model`: a network that had no buckets yet left it to the total.
#[test]
fn what_is_larger_than_a_burst_is_refused_in_its_own_scope_from_the_first() {
    with_kernel(|kernel| {
        kernel.policy(&policy(
            "shared",
            "[rule.per_network]\nbytes = { rate = \"1kB/h\", burst = 99 }\n\
             [rule.total]\npackets = { rate = \"1/h\", burst = 1 }\n",
        ));
        let small = frame().eth().ipv4("203.0.113.1", HOST).udp(4000, 22).payload([0; 20]).build();
        kernel.expect("the total's only packet", &small, OPEN());
        let larger = over(Reason::ByteRate, Scope::PerNetwork);
        each(kernel, udp, &[("203.0.112.1", larger), ("203.0.112.1", larger)]);
    });
}

#[test]
fn a_network_shares_what_its_sources_may() {
    with_kernel(|kernel| {
        kernel.policy(&policy(
            "shared",
            "[rule.per_network]\npackets = { rate = \"1/h\", burst = 3 }\n",
        ));
        let beyond = over(Reason::PacketRate, Scope::PerNetwork);
        each(
            kernel,
            udp,
            &[
                ("203.0.113.1", OPEN()),
                ("203.0.113.255", OPEN()),
                ("203.0.113.1", OPEN()),
                ("203.0.113.2", beyond),
                ("203.0.113.1", beyond),
                ("203.0.112.1", OPEN()),
                ("203.0.114.1", OPEN()),
                ("2001:db8:9::1", OPEN()),
                ("2001:db8:9:ffff::1", OPEN()),
                ("2001:db8:9:8000::", OPEN()),
                ("2001:db8:9:1::1", beyond),
                ("2001:db8:a::1", OPEN()),
            ],
        );
        // Another length, another network: nothing is owed there yet.
        let wide = policy(
            "shared",
            "[rule.per_network]\npackets = { rate = \"1/h\", burst = 3 }\n[prefixes]\nnetwork_ipv4 = 16\nnetwork_ipv6 = 32\n",
        );
        kernel.policy(&wide);
        each(
            kernel,
            udp,
            &[
                ("203.1.1.1", OPEN()),
                ("203.1.2.1", OPEN()),
                ("203.1.255.1", OPEN()),
                ("203.1.3.1", beyond),
                ("203.2.0.1", OPEN()),
                ("2001:db9:1::", OPEN()),
                ("2001:db9:2::", OPEN()),
                ("2001:db9:3::", OPEN()),
                ("2001:db9:4::", beyond),
            ],
        );
    });
}

#[test]
fn all_sources_share_the_total() {
    with_kernel(|kernel| {
        kernel.policy(&policy(
            "shared",
            "[rule.total]\nnew_connections = { rate = \"1/h\", burst = 2 }\npackets = { rate = \"1/h\", burst = 3 }\nbytes = { rate = \"1B/h\", burst = 250 }\n",
        ));
        let beyond = |reason| over(reason, Scope::Total);
        each(kernel, syn, &[("203.0.113.1", OPEN()), ("198.18.0.1", OPEN())]);
        each(kernel, syn, &[("192.0.2.1", beyond(Reason::ConnectionRate))]);
        // Each of 100 bytes: the third has no room for its bytes.
        each(kernel, udp, &[("203.0.113.1", OPEN()), ("2001:db8::1", OPEN())]);
        each(
            kernel,
            udp,
            &[("192.0.2.1", beyond(Reason::ByteRate)), ("2001:db8::1", beyond(Reason::ByteRate))],
        );
    });
}

#[test]
fn the_narrowest_scope_is_the_reason_and_what_is_refused_pays_nowhere() {
    with_kernel(|kernel| {
        let limits = |source: u32, network: u32, total: u32| {
            let table = |name: &str, burst: u32| {
                if burst == 0 {
                    String::new()
                } else {
                    format!("[rule.{name}]\npackets = {{ rate = \"1/h\", burst = {burst} }}\n")
                }
            };
            [table("per_source", source), table("per_network", network), table("total", total)]
                .concat()
        };
        let beyond = |scope| over(Reason::PacketRate, scope);
        kernel.policy(&policy("shared", &limits(2, 3, 5)));
        each(
            kernel,
            udp,
            &[
                ("203.0.113.1", OPEN()),
                ("203.0.113.1", OPEN()),
                // Neither its network nor the total pays for these.
                ("203.0.113.1", beyond(Scope::PerSource)),
                ("203.0.113.1", beyond(Scope::PerSource)),
                ("203.0.113.1", beyond(Scope::PerSource)),
                ("203.0.113.2", OPEN()),
                // Neither its source nor the total pays for these.
                ("203.0.113.2", beyond(Scope::PerNetwork)),
                ("203.0.113.2", beyond(Scope::PerNetwork)),
                ("203.0.113.3", beyond(Scope::PerNetwork)),
                ("192.0.2.1", OPEN()),
                ("192.0.2.2", OPEN()),
                ("192.0.2.3", beyond(Scope::Total)),
                ("192.0.2.2", beyond(Scope::Total)),
                // All three at once: the narrowest is told.
                ("203.0.113.1", beyond(Scope::PerSource)),
            ],
        );
        // What the wider scopes refused was not taken from the narrower ones:
        // they have it still when the wider ones are gone.
        kernel.policy(&policy("shared", &limits(2, 3, 0)));
        each(
            kernel,
            udp,
            &[
                ("192.0.2.3", OPEN()),
                ("192.0.2.2", beyond(Scope::PerNetwork)),
                ("203.0.113.2", beyond(Scope::PerNetwork)),
            ],
        );
        kernel.policy(&policy("shared", &limits(2, 0, 0)));
        each(
            kernel,
            udp,
            &[
                ("203.0.113.2", OPEN()),
                ("203.0.113.2", beyond(Scope::PerSource)),
                ("203.0.113.3", OPEN()),
                ("203.0.113.3", OPEN()),
                ("203.0.113.3", beyond(Scope::PerSource)),
                ("192.0.2.3", OPEN()),
                ("192.0.2.3", beyond(Scope::PerSource)),
            ],
        );
    });
}

/// After the burst, strangers have three quarters of the total's rate.
#[test]
fn a_part_of_the_total_is_kept() {
    with_kernel(|kernel| {
        kernel.policy(&policy(
            "shared",
            "[rule.total]\nnew_connections = { rate = \"12/h\", burst = 4 }\n",
        ));
        let beyond = over(Reason::ConnectionRate, Scope::Total);
        for n in 1..=4 {
            each(kernel, syn, &[(&format!("203.0.113.{n}"), OPEN())]);
        }
        each(kernel, syn, &[("203.0.113.5", beyond), ("203.0.113.1", beyond)]);
    });
}

#[test]
fn a_known_source_has_what_is_kept_of_the_total() {
    let text = policy("shared", "[rule.total]\nnew_connections = { rate = \"4/s\", burst = 4 }\n");
    let Ok(loaded) = filter_user::policy::parse(&text, "/nodewall.toml".as_ref()) else {
        panic!("no policy")
    };
    let mut rules = filter_user::compile::Numbers::of_rules();
    let mut interfaces = filter_user::compile::Numbers::of_interfaces();
    let Ok(tables) = filter_user::compile::compile(&loaded.policy, &mut rules, &mut interfaces)
    else {
        panic!("no tables")
    };
    let mut model = Model::new(tables);
    model.now.set(1 << 40);
    let known = "192.0.2.1";
    model.set_known(Address::from(std::net::IpAddr::from([192, 0, 2, 1])));
    let passes = |model: &Model, source: &str| model.judge(&syn(source)).reason == Reason::Rule;
    let flood =
        |model: &Model| (1..=50).filter(|n| passes(model, &format!("203.0.113.{n}"))).count();
    assert_eq!(flood(&model), 4, "the burst is whoever's");
    assert!(!passes(&model, known), "and then there is nothing for anybody");
    for _ in 0..5 {
        model.now.set(model.now.get() + Duration::from_secs(1).as_nanos() as u64);
        assert_eq!(flood(&model), 3, "three quarters of the rate");
        assert!(passes(&model, known), "the rest is kept");
        assert!(!passes(&model, known), "and no more than the rest");
    }
}

/// What `status` tells of the table is counted as places are taken: as many as
/// there are to read.
#[test]
fn places_are_counted_as_they_are_taken() {
    with_kernel(|kernel| {
        kernel.policy(
            "[[rule]]\nname = \"a\"\nports = [\"tcp/22\"]\n\
             [rule.per_source]\nnew_connections = { rate = \"9/h\", burst = 9 }\n\
             [rule.per_network]\nnew_connections = { rate = \"99/h\", burst = 99 }\n",
        );
        let taken = |kernel: &Kernel| {
            let counted = kernel.plane.sources().expect("read").0;
            assert_eq!(counted, kernel.plane.source_entries().count() as u64, "those to read");
            counted
        };
        assert_eq!(taken(kernel), 0);
        // Each again takes no other place.
        for _ in 0..3 {
            for source in ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.114.1"] {
                kernel.expect(source, &syn(source), Expected::rule("a"));
            }
            assert_eq!(taken(kernel), 4 + 2, "sources and networks");
        }
    });
}
