//! What changes, as people and programs read it.

use super::*;
use crate::policy::{Policy, diff};

fn lines(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (loaded(old).policy, loaded(new).policy);
    diff(&old, &new).iter().map(ToString::to_string).collect()
}

const P2P: &str = "[[rule]]\nname = \"p2p\"\nports = [\"tcp/15600\", \"udp/14626\"]\n[rule.per_source]\n\
                   packets = { rate = \"2000/s\", burst = 4000 }\n";

#[test]
fn nothing_changes_between_policies_that_mean_the_same() {
    let ssh = "[[rule]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n";
    assert_eq!(
        lines(&format!("{P2P}{ssh}"), &format!("# moved\n{ssh}{P2P}")),
        Vec::<String>::new()
    );
    assert_eq!(diff(&Policy::default(), &Policy::default()), []);
}

#[test]
fn rules_come_and_go() {
    let ssh = "[[rule]]\nname = \"ssh\"\nports = [\"tcp/22\"]\nfrom = [\"10.0.0.1\", \"10.0.0.2\"]\ninterfaces = [\"wg0\"]\nmode = \"monitor\"\n";
    assert_eq!(
        lines(P2P, ssh),
        [
            "- rule p2p: tcp/15600, udp/14626 from everywhere, per_source.packets 2000/s burst 4000",
            "+ rule ssh: tcp/22 from 10.0.0.1/32, 10.0.0.2/32 on wg0, monitor",
        ]
    );
    let nobody = "[sets]\nx = []\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"@x\"]\n";
    assert_eq!(lines("", nobody), ["+ rule a: tcp/1 from nowhere"]);
}

#[test]
fn every_field_of_a_rule_is_compared() {
    let rule = |rest: &str| format!("[[rule]]\nname = \"a\"\n{rest}\n");
    for (old, new, expected) in [
        (
            "ports = [\"tcp/1\"]",
            "ports = [\"tcp/1-5\", \"udp/9\"]",
            "~ rule a: ports tcp/1 -> tcp/1-5, udp/9",
        ),
        (
            "ports = [\"tcp/1\"]",
            "ports = [\"tcp/1\"]\nmode = \"monitor\"",
            "~ rule a: mode enforce -> monitor",
        ),
        (
            "ports = [\"tcp/1\"]\ninterfaces = [\"b\", \"a\"]",
            "ports = [\"tcp/1\"]",
            "~ rule a: interfaces a, b -> all guarded interfaces",
        ),
        (
            "ports = [\"tcp/1\"]",
            "ports = [\"tcp/1\"]\nfrom = [\"10.0.0.1\"]",
            "~ rule a: from everywhere -> 10.0.0.1/32",
        ),
        (
            "ports = [\"tcp/1\"]\nfrom = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.9\"]",
            "ports = [\"tcp/1\"]\nfrom = [\"10.0.0.2\", \"10.0.0.3\", \"10.0.0.4\", \"10.0.0.5\", \"10.0.0.6\", \"10.0.0.7\"]",
            "~ rule a: from +5 (10.0.0.3/32, 10.0.0.4/32, 10.0.0.5/32 and 2 more) -2 (10.0.0.1/32, 10.0.0.9/32)",
        ),
        (
            "ports = [\"tcp/1\"]\nper_source.packets = { rate = \"2k/s\", burst = 4000 }",
            "ports = [\"tcp/1\"]\nper_source.packets = { rate = \"1000/s\", burst = 2000 }",
            "~ rule a: per_source.packets 2000/s burst 4000 -> 1000/s burst 2000",
        ),
        (
            "ports = [\"tcp/1\"]",
            "ports = [\"tcp/1\"]\nper_source.new_connections = { rate = \"60/m\" }",
            "~ rule a: per_source.new_connections none -> 60/m burst 1",
        ),
        (
            "ports = [\"tcp/1\"]\nper_source.bytes = { rate = \"50MB/s\", burst = 65537 }",
            "ports = [\"tcp/1\"]\nper_source.bytes = { rate = \"1GB/h\" }",
            "~ rule a: per_source.bytes 50MB/s burst 65537B -> 1GB/h burst 277777B",
        ),
    ] {
        assert_eq!(lines(&rule(old), &rule(new)), [expected]);
    }
}

#[test]
fn everything_around_the_rules_is_compared() {
    let new = "interfaces = [\"eth0\"]\nmode = \"monitor\"\nattach = \"native\"\n[sources]\ntrusted = [\"10.0.0.0/8\"]\n\
               denied = [\"192.0.2.1\"]\n[icmp]\necho = { rate = \"10/s\" }\nerrors = { rate = \"1k/s\" }\n[protocols]\n\
               allow = [\"esp\", 253]\n[prefixes]\nsource_ipv4 = 31\nsource_ipv6 = 56\n[log]\ndrops = false\nflows = \"f\"\n\
               [tables]\nbans = 1\nsources = 2\nflows = 3\nanswered = 4\nhalf_open = 5\nasked = 6\nfragments = 3\nflow_log = 7\n";
    assert_eq!(
        lines("", new),
        [
            "~ interfaces every interface with a default route -> eth0",
            "~ mode enforce -> monitor",
            "~ attach auto -> native",
            "~ sources.trusted +1 (10.0.0.0/8)",
            "~ sources.denied +1 (192.0.2.1/32)",
            "~ icmp.echo false -> 10/s burst 10",
            "~ icmp.errors false -> 1000/s burst 1000",
            "~ protocols.allow none -> esp, 253",
            "~ prefixes.source_ipv4 32 -> 31",
            "~ prefixes.source_ipv6 64 -> 56",
            "~ log.drops 50/s burst 50 -> false",
            "~ log.flows false -> /etc/nodewall/f",
            "~ tables.bans 1000000 -> 1",
            "~ tables.sources 262144 -> 2",
            "~ tables.flows 131072 -> 3",
            "~ tables.answered 65536 -> 4",
            "~ tables.half_open 65536 -> 5",
            "~ tables.asked 16384 -> 6",
            "~ tables.fragments 16384 -> 3",
            "~ tables.flow_log 65536 -> 7",
        ]
    );
}

#[test]
fn programs_read_every_field() -> Result<(), serde_json::Error> {
    let (old, new) = (
        loaded(P2P).policy,
        loaded(&format!(
            "mode = \"monitor\"\n[sources]\ndenied = [\"::1\"]\n{}",
            P2P.replace("2000", "1000")
        ))
        .policy,
    );
    assert_eq!(
        serde_json::to_value(diff(&old, &new))?,
        serde_json::json!([
            {"change": "changed", "rule": null, "field": "mode", "old": "enforce", "new": "monitor", "added": null, "removed": null},
            {"change": "changed", "rule": null, "field": "sources.denied", "old": null, "new": null,
             "added": {"count": 1, "first": ["::1/128"]}, "removed": null},
            {"change": "changed", "rule": "p2p", "field": "per_source.packets", "old": "2000/s burst 4000",
             "new": "1000/s burst 4000", "added": null, "removed": null},
        ])
    );
    Ok(())
}
