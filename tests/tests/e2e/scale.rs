//! Large policies.

use std::{fmt::Write as _, time::Instant};

use nodewall_tests::e2e::{Guarded, closed, open, ready, scaled, source};
use sandbox::tcp_listen;

const TOP: &str = "interfaces = [\"nw0\"]\n";

#[test]
fn ten_thousand_rules_and_a_hundred_thousand_addresses() {
    if !ready() {
        return;
    }
    let (rules, addresses): (u32, u32) = (scaled(10_000), scaled(100_000));
    let guarded = Guarded::new(TOP);
    let world = &guarded.world;
    world.add_sources("10.0.0.0/8".parse().expect("a prefix")).expect("added");

    let mut denied = String::new();
    for number in 0..addresses {
        // Every second address: none of them merge.
        let [_, a, b, c] = (number * 2).to_be_bytes();
        writeln!(denied, "10.{a}.{b}.{c}").expect("a string takes everything");
    }
    guarded.instance().write("denied.txt", &denied).expect("written");
    let mut policy = format!(
        "{TOP}[sources]\ndenied = [\"@denied\"]\n[sets]\ndenied = {{ file = \"denied.txt\" }}\n"
    );
    for number in 0..rules {
        let [.., a, b] = number.to_be_bytes();
        // Ten rules share a port, each for other sources.
        let port = 1000 + number / 10;
        writeln!(
            policy,
            "[[rule]]\nname = \"rule-{number}\"\nports = [\"tcp/{port}\"]\nfrom = [\"10.200.{a}.{b}/32\"]"
        )
        .expect("a string takes everything");
    }
    let file = guarded.instance().write("large.toml", &policy).expect("written");
    let begun = Instant::now();
    guarded.ok(&["apply", &file.to_string_lossy()]);
    println!("{rules} rules and {addresses} addresses applied in {:?}", begun.elapsed());

    let last = rules - 1;
    let at = world.host_ipv4(u16::try_from(1000 + last / 10).expect("a port"));
    let _server = tcp_listen(&world.host, at).expect("a server");
    let [.., a, b] = last.to_be_bytes();
    open(&world.peer, source(&format!("10.200.{a}.{b}")), at);
    closed(&world.peer, source("10.200.255.255"), at);
    let before = guarded.status();
    closed(&world.peer, source("10.0.0.2"), at);
    closed(&world.peer, source("10.0.0.3"), at);
    let after = guarded.status();
    assert_eq!(after.packets("denied"), before.packets("denied") + 1, "10.0.0.2 is listed");
    assert_eq!(
        after.packets("source_not_allowed"),
        before.packets("source_not_allowed") + 1,
        "10.0.0.3 is not"
    );
    let counted = guarded.rules();
    assert_eq!(counted.names().len(), rules as usize);
    assert!(counted.packets(&format!("rule-{last}"), "rule") > 0);

    // Back to the small one.
    let begun = Instant::now();
    guarded.apply(TOP);
    println!("and taken back in {:?}", begun.elapsed());
    assert!(guarded.rules().names().is_empty());
}
