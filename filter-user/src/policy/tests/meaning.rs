//! What good policies mean.

use super::*;
use crate::policy::{
    Attach, FlowTables, Log, Mode, Period, Policy, PortRange, Prefixes, Protocol, Rate, Source,
    Tables, WarningKind,
};

const fn ports(protocol: Protocol, first: u16, last: u16) -> PortRange {
    PortRange { protocol, first, last }
}

#[test]
fn an_empty_policy_closes_everything() {
    for text in ["", "\n", "# nothing\n", "\u{feff}", "rule = []\n"] {
        let loaded = loaded(text);
        assert_eq!(loaded.policy, Policy::default(), "{text:?}");
        assert_eq!(loaded.warnings.len(), 1);
        assert_eq!(loaded.warnings[0].kind, WarningKind::NoRules);
        let shown = loaded.warnings[0].to_string();
        assert!(
            shown.starts_with(
                "/etc/nodewall/nodewall.toml: the policy has no rule: every port is closed"
            ),
            "{shown}"
        );
    }
}

#[test]
fn every_key_is_read() {
    let policy = good(
        "interfaces = [\"wg0\", \"eth0\"]\nmode = \"monitor\"\nattach = \"generic\"\n\
         [prefixes]\nsource_ipv4 = 24\nsource_ipv6 = 0x38\n\
         [tables]\nbans = 5\nsources = 1_000\nflows = 7\nanswered = 8\nhalf_open = 9\nasked = 10\n[log]\ndrops = { rate = \"5/m\", burst = 9 }\nflows = \"/var/log/f.log\"\n[protocols]\nallow = [\"GRE\", 132, \"esp\", \"0\", 255]\n\
         [[rule]]\nname = \"A.b_c-9\"\nports = [\"UDP/5\", \"tcp/30300-30309\", \"tcp/22\"]\nfrom = [\"192.0.2.1\"]\n\
         interfaces = [\"wg0\"]\nmode = \"monitor\"\n",
    );
    assert_eq!(policy.interfaces, Some(vec!["eth0".to_owned(), "wg0".to_owned()]));
    assert_eq!((policy.mode, policy.attach), (Mode::Monitor, Attach::Generic));
    let prefixes =
        Prefixes { source_ipv4: 24, source_ipv6: 56, network_ipv4: 24, network_ipv6: 48 };
    assert_eq!(policy.prefixes, prefixes);
    let flows = FlowTables { flows: 7, answered: 8, half_open: 9, asked: 10 };
    assert_eq!(policy.tables, Tables { bans: 5, sources: 1_000, flows, ..Tables::default() });
    let drops = Rate { amount: 5, period: Period::Minute, burst: 9 };
    assert_eq!(policy.log, Log { drops: Some(drops), flows: Some("/var/log/f.log".into()) });
    assert_eq!(policy.protocols, [0, 47, 50, 132, 255]);
    let rule = &policy.rules[0];
    assert_eq!(rule.name, "A.b_c-9");
    let expected = [
        ports(Protocol::Tcp, 22, 22),
        ports(Protocol::Tcp, 30300, 30309),
        ports(Protocol::Udp, 5, 5),
    ];
    assert_eq!(rule.ports, expected);
    assert_eq!(rule.from.prefixes(), nets(&["192.0.2.1/32"]));
    assert_eq!(rule.interfaces, Some(vec!["wg0".to_owned()]));
    assert_eq!((rule.mode, rule.line), (Mode::Monitor, 19));
}

#[test]
fn defaults_are_those_of_the_contract() {
    let policy = good("[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n");
    let rules = policy.rules.clone();
    let rest = Policy { rules: Vec::new(), ..policy };
    assert_eq!(rest, Policy::default());
    assert_eq!(
        rest.prefixes,
        Prefixes { source_ipv4: 32, source_ipv6: 64, network_ipv4: 24, network_ipv6: 48 }
    );
    let flows = FlowTables { flows: 131_072, answered: 65_536, half_open: 65_536, asked: 16_384 };
    let (bans, sources, known, fragments) = (1_000_000, 262_144, 65_536, 16_384);
    let (slots, flow_log) = (262_144, 65_536);
    assert_eq!(rest.tables, Tables { bans, sources, known, slots, flows, fragments, flow_log });
    assert_eq!(rules[0].from, Source::Anywhere);
    assert_eq!(rules[0].from.prefixes(), nets(&["0.0.0.0/0", "::/0"]));
    assert_eq!((rules[0].interfaces.as_ref(), rules[0].mode), (None, Mode::Enforce));
}

#[test]
fn ports_are_kept_in_one_form() {
    use Protocol::{Tcp, Udp};
    for (list, expected) in [
        ("\"tcp/80\", \"tcp/81\", \"tcp/79\"", vec![ports(Tcp, 79, 81)]),
        ("\"tcp/1-65535\", \"udp/1-65535\"", vec![ports(Tcp, 1, 65535), ports(Udp, 1, 65535)]),
        ("\"tcp/5-10\", \"tcp/1-20\", \"tcp/15-30\"", vec![ports(Tcp, 1, 30)]),
        ("\"tcp/65535\", \"udp/1\"", vec![ports(Tcp, 65535, 65535), ports(Udp, 1, 1)]),
        ("\"tcp/9\", \"tcp/7\"", vec![ports(Tcp, 7, 7), ports(Tcp, 9, 9)]),
    ] {
        let policy = loaded(&format!("[[rule]]\nname = \"a\"\nports = [{list}]\n")).policy;
        assert_eq!(policy.rules[0].ports, expected, "{list}");
    }
    assert_eq!(ports(Tcp, 22, 22).to_string(), "tcp/22");
    assert_eq!(ports(Udp, 1, 9).to_string(), "udp/1-9");
}

#[test]
fn a_family_that_is_not_named_is_not_let_in() {
    let policy = good("[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"0.0.0.0/0\"]\n");
    assert_eq!(policy.rules[0].from.prefixes(), nets(&["0.0.0.0/0"]));
    let policy =
        good("[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"::/0\", \"0.0.0.0/0\"]\n");
    assert_eq!(policy.rules[0].from, Source::Anywhere);
}

#[test]
fn prefixes_of_a_rule_keep_those_inside_of_others() {
    let policy = good(
        "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"10.1.2.0/24\", \"10.0.0.0/8\", \"10.0.0.0/8\"]\n\
         [[rule]]\nname = \"b\"\nports = [\"tcp/1\"]\nfrom = [\"10.1.0.0/16\"]\n",
    );
    assert_eq!(policy.rules[0].from.prefixes(), nets(&["10.0.0.0/8", "10.1.2.0/24"]));
}

#[test]
fn policies_that_mean_the_same_are_equal() {
    let one = good(
        "[[rule]]\nname = \"a\"\nports = [\"tcp/1\", \"udp/1\"]\nfrom = [\"10.0.0.1\", \"10.0.0.2\"]\n",
    );
    let other = good(
        "\n# comment\n[sets]\nx = [\"10.0.0.2/32\", \"10.0.0.1\"]\n[[rule]]\nports = [\"udp/1\", \"tcp/1\"]\n\
         from = [\"@x\"]\nname = \"a\"\nmode = \"enforce\"\n",
    );
    assert_eq!(one, other);
    assert_ne!(one.rules[0].line, other.rules[0].line);
}
