//! Addresses and prefixes, wherever they are taken.

use super::*;

#[test]
fn what_is_no_address_is_refused() {
    let cases = [
        ("\"\"", "this address is empty"),
        ("\"  \"", "this address is empty"),
        ("\"node.example.com\"", "`node.example.com` is a host name"),
        ("\"localhost\"", "write its addresses, or keep them in a set file"),
        ("\"exämple.com/24\"", "is a host name"),
        ("\"10.0.0.0/33\"", "`33` is no prefix length for 10.0.0.0; write a number from 0 to 32"),
        ("\"2001:db8::/129\"", "write a number from 0 to 128"),
        ("\"10.0.0.0/255.0.0.0\"", "`255.0.0.0` is no prefix length"),
        ("\"10.0.0.0/\"", "`` is no prefix length"),
        ("\"10.0.0.0/08\"", "`08` is no prefix length"),
        ("\"10.0.0.0/+8\"", "`+8` is no prefix length"),
        ("\"::ffff:192.0.2.1\"", "which no packet carries; write 192.0.2.1/32"),
        ("\"::ffff:192.0.2.9/120\"", "write 192.0.2.0/24"),
        ("\"fe80::1%eth0\"", "`fe80::1%eth0` names an interface"),
        ("\"192.0.2.1:22\"", "has a port"),
        ("\"[2001:db8::1]:22\"", "has a port"),
        ("\"192.0.2.1-192.0.2.9\"", "is a range"),
        ("\"10.8.0.300\"", "`10.8.0.300` is no address or prefix"),
        ("\"10.8/16\"", "is no address or prefix"),
        ("\"010.0.0.1\"", "is no address or prefix"),
        ("\" 10.0.0.1\"", "is no address or prefix"),
        ("\"10.0.0.1, 10.0.0.2\"", "is no address or prefix"),
        ("\"2001:db8::zz\"", "is no address or prefix"),
        ("\"\\u0007\"", "`\\u{7}` is no address"),
    ];
    for (address, sentence) in cases {
        for (before, field) in [
            ("[sources]\ntrusted = [\"192.0.2.0/24\", ", "sources.trusted[1]"),
            ("[sources]\ndenied = [\"192.0.2.0/24\", ", "sources.denied[1]"),
            ("[sets]\nx = [\"192.0.2.0/24\", ", "sets.x[1]"),
            (
                "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"192.0.2.0/24\", ",
                "rule[0].from[1]",
            ),
        ] {
            let marked = format!("{before}¦{address}]\n");
            let (text, marks) = marks(&marked);
            let errors = errors(&text);
            assert_eq!(errors.len(), 1, "{marked}\n{}", Errors(errors));
            let error = &errors[0];
            assert_eq!(
                (error.line, error.column),
                (Some(marks[0].0), Some(marks[0].1)),
                "{marked}\n{error}"
            );
            assert_eq!(error.field.as_deref(), Some(field), "{marked}");
            assert!(error.kind.to_string().contains(sentence), "{marked}\n{error}");
        }
    }
}

#[test]
fn host_bits_are_cut_off_with_a_warning() {
    each_is_warned_of(&[
        (
            "[sources]\ntrusted = [¦\"10.8.0.7/24\"]\n",
            "sources.trusted[0]",
            "`10.8.0.7/24` has bits set beyond its prefix length; it is taken as 10.8.0.0/24",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"10.0.0.1\", ¦\"2001:db8::1/32\"]\n",
            "rule[0].from[1]",
            "taken as 2001:db8::/32",
        ),
        ("[sets]\na = [¦\"1.2.3.4/0\"]\n", "sets.a[0]", "taken as 0.0.0.0/0"),
    ]);
    assert_eq!(
        loaded("[sources]\ntrusted = [\"10.8.0.7/24\"]\n").policy.trusted,
        nets(&["10.8.0.0/24"])
    );
}

#[test]
fn many_host_bits_are_counted() {
    let list: Vec<_> = (0..8).map(|index| format!("\"10.{index}.0.1/16\"")).collect();
    let loaded = loaded(&format!("[sources]\ndenied = [{}]\n", list.join(", ")));
    let fields: Vec<_> =
        loaded.warnings.iter().filter_map(|warning| warning.field.as_deref()).collect();
    let expected = [
        "sources.denied",
        "sources.denied[0]",
        "sources.denied[1]",
        "sources.denied[2]",
        "sources.denied[3]",
        "sources.denied[4]",
    ];
    assert_eq!(fields, expected);
    assert!(listed(&loaded.warnings).contains("and 3 more prefixes with bits set"));
}

#[test]
fn sources_are_sorted_and_aggregated() {
    let policy = good(
        "[sources]\ntrusted = [\"2001:db8::1\", \"10.0.1.0/24\", \"10.0.0.0/24\", \"10.0.0.7\", \"2001:db8::/64\"]\n\
         denied = [\"192.0.2.1\", \"192.0.2.1\"]\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n",
    );
    assert_eq!(policy.trusted, nets(&["10.0.0.0/23", "2001:db8::/64"]));
    assert_eq!(policy.denied, nets(&["192.0.2.1/32"]));
}

#[test]
fn trusting_everybody_is_warned_of() {
    each_is_warned_of(&[
        (
            "[sources]\ntrusted = [\"10.0.0.1\", ¦\"0.0.0.0/0\"]\n",
            "sources.trusted[1]",
            "0.0.0.0/0 trusts every IPv4",
        ),
        ("[sources]\ntrusted = [¦\"::/0\"]\n", "sources.trusted[0]", "::/0 trusts every IPv6"),
        (
            "[sets]\na = [\"::/0\"]\n[sources]\ntrusted = [¦\"@a\"]\n",
            "sources.trusted[0]",
            "::/0 trusts every IPv6",
        ),
    ]);
}

#[test]
fn denying_the_trusted_is_warned_of() {
    each_is_warned_of(&[
        (
            "[sources]\ntrusted = [\"10.0.0.0/8\"]\ndenied = [\"192.0.2.1\", ¦\"10.1.0.0/16\"]\n",
            "sources.denied[1]",
            "10.1.0.0/16 is trusted, and trusted wins: denying it has no effect",
        ),
        (
            "[sets]\nx = [\"10.1.0.0/16\", \"10.2.0.0/16\", \"11.0.0.0/8\"]\n[sources]\n\
             trusted = [\"10.0.0.0/9\", \"10.128.0.0/9\"]\ndenied = [¦\"@x\"]\n",
            "sources.denied[0]",
            "10.1.0.0/16 and 1 more prefixes here are trusted, and trusted wins: denying them",
        ),
        (
            "[sources]\ntrusted = [\"2001:db8::/32\"]\ndenied = [¦\"2001:db8::/32\", \"2001:db9::/32\", \"2001::/16\"]\n",
            "sources.denied[0]",
            "2001:db8::/32 is trusted",
        ),
    ]);
}
