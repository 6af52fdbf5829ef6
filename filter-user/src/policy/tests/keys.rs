//! Syntax, keys and types.

use super::*;
use crate::policy::{ErrorKind, KeyHint};

#[test]
fn syntax_errors_have_a_place() {
    each_is_refused(&[
        ("mode = ¦monitor\n", "", "not valid TOML: string values must be quoted"),
        ("# é\nmode = \"enforce\"\n¦mode = \"monitor\"\n", "", "duplicate key"),
        ("mode = \"enforce¦\n", "", "not valid TOML: invalid basic string"),
        ("¦é = 1\n", "", "invalid unquoted key"),
    ]);
}

#[test]
fn several_syntax_errors_are_told_one_a_line() {
    let errors = errors("a = \nb = 07\n[[rule]]\nname = ssh\n");
    let lines: Vec<_> = errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [Some(1), Some(2), Some(4)]);
    assert!(errors.iter().all(|error| matches!(error.kind, ErrorKind::Syntax { .. })));
}

#[test]
fn unknown_keys_are_refused_with_a_hint() {
    each_is_refused(&[
        ("¦interface = [\"eth0\"]\n", "interface", "did you mean `interfaces`?"),
        ("¦Mode = \"monitor\"\n", "Mode", "did you mean `mode`?"),
        ("[¦source]\ntrusted = []\n", "source", "did you mean `sources`?"),
        ("[[¦rules]]\nname = \"a\"\n", "rules", "did you mean `rule`?"),
        (
            "[sources]\n¦deny = [\"10.0.0.0/8\"]\n",
            "sources.deny",
            "valid keys are `trusted`, `denied`",
        ),
        ("¦colour = 1\n", "colour", "valid keys are `interfaces`, `mode`, `attach`"),
        ("[sources]\n  ¦mode = \"monitor\"\n", "sources.mode", "it belongs at the top of the file"),
        ("¦trusted = []\n", "trusted", "it belongs in `[sources]`"),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n¦port = [\"tcp/1\"]\n",
            "rule[0].port",
            "did you mean `ports`?",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n¦packets = { rate = \"1/s\" }\n",
            "rule[0].packets",
            "it belongs in `[rule.per_source]`",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n[rule.per_source]\n¦packet = { rate = \"1/s\" }\n",
            "rule[0].per_source.packet",
            "did you mean `packets`?",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n[rule.per_source]\npackets = { rate = \"1/s\", ¦bursts = 3 }\n",
            "rule[0].per_source.packets.bursts",
            "did you mean `burst`?",
        ),
        ("[icmp]\n¦ping = false\n", "icmp.ping", "valid keys are `echo`, `errors`"),
        ("[protocols]\n¦allowed = [\"esp\"]\n", "protocols.allowed", "did you mean `allow`?"),
        ("[prefixes]\n¦source_ip4 = 3\n", "prefixes.source_ip4", "did you mean `source_ipv4`?"),
        ("[tables]\n¦ban = 3\n", "tables.ban", "did you mean `bans`?"),
        ("¦\"a\\u001B[2J\" = 3\n", "\"a\\u{1b}[2J\"", "no key `a\\u{1b}[2J`"),
    ]);
    // A set with a strange key lacks its file as well.
    let errors = errors("[sets]\na = { path = \"x\" }\n");
    let fields: Vec<_> = errors.iter().filter_map(|error| error.field.as_deref()).collect();
    assert_eq!(fields, ["sets.a.file", "sets.a.path"]);
    assert_eq!(
        errors[1].kind,
        ErrorKind::UnknownKey { key: "path".to_owned(), hint: KeyHint::Valid(&["file"]) }
    );
}

#[test]
fn values_of_a_wrong_type_are_refused() {
    each_is_refused(&[
        ("interfaces = ¦\"eth0\"\n", "interfaces", "this is a string; write a list of interfaces"),
        ("interfaces = [\"eth0\", ¦1]\n", "interfaces[1]", "this is an integer; write the name"),
        ("mode = ¦true\n", "mode", "this is a boolean"),
        ("attach = ¦1.5\n", "attach", "this is a floating-point number"),
        ("sources = ¦[\"10.0.0.0/8\"]\n", "sources", "this is a list; write a table"),
        ("¦[sources.trusted]\n", "sources.trusted", "this is a table; write a list of addresses"),
        (
            "[sources]\ntrusted = [¦2001-01-01]\n",
            "sources.trusted[0]",
            "this is a date or time; write a string",
        ),
        ("sets = ¦1\n", "sets", "this is an integer; write a table of sets"),
        (
            "[sets]\na = ¦\"10.0.0.1\"\n",
            "sets.a",
            "this is a string; write a list of addresses, or",
        ),
        (
            "[sets]\na = { file = ¦1 }\n",
            "sets.a.file",
            "this is an integer; write the path of a file",
        ),
        ("¦[rule]\nname = \"a\"\n", "rule", "each headed `[[rule]]` with two brackets"),
        ("rule = [¦1]\n", "rule[0]", "headed `[[rule]]`"),
        ("¦[[icmp]]\necho = false\n", "icmp", "this is a list; write a table"),
        ("[icmp]\necho = ¦\"10/s\"\n", "icmp.echo", "this is a string; write a table with a rate"),
        ("[icmp]\necho = ¦true\n", "icmp.echo", "this is true; write false, or a rate"),
        ("protocols = ¦[\"esp\"]\n", "protocols", "this is a list; write a table"),
        (
            "[protocols]\nallow = ¦\"esp\"\n",
            "protocols.allow",
            "this is a string; write a list of IP protocols",
        ),
        ("[protocols]\nallow = [¦false]\n", "protocols.allow[0]", "write the name or number"),
        ("prefixes = ¦24\n", "prefixes", "this is an integer; write a table"),
        (
            "[prefixes]\nsource_ipv4 = ¦\"24\"\n",
            "prefixes.source_ipv4",
            "this is a string; write a prefix length",
        ),
        ("tables = ¦24\n", "tables", "this is an integer; write a table"),
        ("[tables]\nbans = ¦1e6\n", "tables.bans", "this is a floating-point number"),
    ]);
}

#[test]
fn words_and_numbers_outside_of_the_choice_are_refused() {
    each_is_refused(&[
        (
            "mode = ¦\"drop\"\n",
            "mode",
            "`drop` is none of the choices; write \"enforce\" or \"monitor\"",
        ),
        ("attach = ¦\"skb\"\n", "attach", "write \"auto\" or \"native\" or \"generic\""),
        (
            "interfaces = ¦[]\n",
            "interfaces",
            "this list is empty; name an interface, or take the key out",
        ),
        ("interfaces = [¦\"\"]\n", "interfaces[0]", "cannot be the name of an interface"),
        ("interfaces = [¦\"sixteen-bytes-xx\"]\n", "interfaces[0]", "at most 15 bytes"),
        ("interfaces = [¦\"a/b\"]\n", "interfaces[0]", "without spaces"),
        ("interfaces = [¦\"a b\"]\n", "interfaces[0]", "without spaces"),
        ("interfaces = [¦\"eth0:1\"]\n", "interfaces[0]", "`:`"),
        ("interfaces = [¦\"..\"]\n", "interfaces[0]", "cannot be the name"),
        ("interfaces = [¦\"éééééééé\"]\n", "interfaces[0]", "at most 15 bytes"),
        ("[protocols]\nallow = ¦[]\n", "protocols.allow", "name a protocol"),
        (
            "[protocols]\nallow = [¦256]\n",
            "protocols.allow[0]",
            "256 is out of range; write a whole number from 0 to 255",
        ),
        ("[protocols]\nallow = [¦-1]\n", "protocols.allow[0]", "-1 is out of range"),
        ("[protocols]\nallow = [¦\"256\"]\n", "protocols.allow[0]", "write its number, 0 to 255"),
        (
            "[protocols]\nallow = [¦\"epsp\"]\n",
            "protocols.allow[0]",
            "did you mean \"esp\"? If not, write its number",
        ),
        (
            "[protocols]\nallow = [¦\"wireguard\"]\n",
            "protocols.allow[0]",
            "`wireguard` is no IP protocol",
        ),
        (
            "[protocols]\nallow = [\"esp\", ¦\"TCP\"]\n",
            "protocols.allow[1]",
            "tcp is not opened here; write a `[[rule]]`",
        ),
        (
            "[protocols]\nallow = [¦17]\n",
            "protocols.allow[0]",
            "udp is not opened here; write a `[[rule]]`",
        ),
        ("[protocols]\nallow = [¦\"icmp\"]\n", "protocols.allow[0]", "in `[icmp]`"),
        ("[protocols]\nallow = [¦\"ipv6-icmp\"]\n", "protocols.allow[0]", "in `[icmp]`"),
        ("[protocols]\nallow = [¦58]\n", "protocols.allow[0]", "icmpv6 is not opened here"),
        ("[prefixes]\nsource_ipv4 = ¦0\n", "prefixes.source_ipv4", "from 1 to 32"),
        ("[prefixes]\nsource_ipv4 = ¦33\n", "prefixes.source_ipv4", "from 1 to 32"),
        ("[prefixes]\nsource_ipv6 = ¦129\n", "prefixes.source_ipv6", "from 1 to 128"),
        ("[tables]\nbans = ¦0\n", "tables.bans", "from 1 to 16777216"),
        ("[tables]\nsources = ¦16_777_217\n", "tables.sources", "16777217 is out of range"),
        ("[tables]\nfragments = ¦0\n", "tables.fragments", "from 1 to 16777216"),
        (
            "[tables]\nbans = ¦999999999999999999999999999999999999999999\n",
            "tables.bans",
            "is out of range",
        ),
    ]);
}

#[test]
fn all_errors_are_told_in_the_order_of_the_file() {
    let errors = errors(
        "tables.bans = 0\nmode = \"x\"\n[[rule]]\nname = \"a\"\nports = [\"tcp/0\", \"tcp/1\", \"x\"]\n[[rule]]\n\
         ports = [\"tcp/1\"]\nfrom = [\"@x\"]\n",
    );
    let places: Vec<_> = errors.iter().map(|error| (error.line, error.field.as_deref())).collect();
    assert_eq!(
        places,
        [
            (Some(1), Some("tables.bans")),
            (Some(2), Some("mode")),
            (Some(5), Some("rule[0].ports[0]")),
            (Some(5), Some("rule[0].ports[2]")),
            (Some(6), Some("rule[1].name")),
            (Some(8), Some("rule[1].from[0]")),
        ]
    );
    let shown = Errors(errors).to_string();
    assert_eq!(shown.lines().count(), 6);
    assert!(shown.starts_with(
        "/etc/nodewall/nodewall.toml:1:15: field `tables.bans`: 0 is out of range; write"
    ));
}

#[test]
fn errors_beyond_a_hundred_are_counted() {
    let list = "\"bad!\", ".repeat(1_000);
    let errors = errors(&format!("[sources]\ndenied = [{list}]\n"));
    assert_eq!(errors.len(), 101);
    assert_eq!(errors[100].kind, ErrorKind::More { count: 900 });
    assert_eq!(errors[100].line, None);
    assert_eq!(
        errors[100].to_string(),
        "/etc/nodewall/nodewall.toml: and 900 more errors; correct these first"
    );
}

#[test]
fn errors_and_warnings_serialize_for_programs() -> Result<(), serde_json::Error> {
    let errors = errors("[tables]\nbans = 0\n");
    assert_eq!(
        serde_json::to_value(&errors[0])?,
        serde_json::json!({
            "error": "0 is out of range; write a whole number from 1 to 16777216",
            "file": FILE, "line": 2, "column": 8, "field": "tables.bans",
        })
    );
    let loaded = loaded("interfaces = [\"a\", \"a\"]\n");
    assert_eq!(
        serde_json::to_value(&loaded.warnings[1])?,
        serde_json::json!({
            "warning": "`a` is named twice; once is enough",
            "file": FILE, "line": 1, "column": 20, "field": "interfaces[1]",
        })
    );
    Ok(())
}
