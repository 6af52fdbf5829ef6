//! Named addresses.

use super::*;
use crate::policy::Source;

fn from(text: &str) -> Vec<ipnet::IpNet> {
    match &loaded(text).policy.rules[0].from {
        Source::Prefixes(list) => list.to_vec(),
        Source::Anywhere => panic!("anywhere"),
    }
}

const RULE: &str = "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n";

#[test]
fn bad_sets_are_refused() {
    each_is_refused(&[
        ("[sets]\n¦\"a b\" = [\"10.0.0.1\"]\n", "sets.\"a b\"", "`a b` cannot be a name"),
        (
            "[sets]\noperators = [\"10.0.0.1\"]\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"10.0.0.2\", ¦\"@operator\"]\n",
            "rule[0].from[1]",
            "there is no set `operator`; did you mean `@operators`?",
        ),
        (
            "[sources]\ntrusted = [¦\"@x\"]\n",
            "sources.trusted[0]",
            "there is no set `x`; define it in `[sets]`",
        ),
        ("[sources]\ndenied = [¦\"@\"]\n", "sources.denied[0]", "there is no set ``; define it"),
        (
            "[sets]\npeers = []\na = [¦\"@peer\"]\n",
            "sets.a[0]",
            "there is no set `peer`; did you mean `@peers`?",
        ),
        (
            "[sets]\na = [\"10.0.0.1\", ¦\"@a\"]\n",
            "sets.a[1]",
            "refer to each other in a circle: a -> a; take one",
        ),
        (
            "[sets]\na = [\"@b\"]\nb = [\"@c\"]\nc = [¦\"@a\"]\n",
            "sets.c[0]",
            "in a circle: a -> b -> c -> a",
        ),
        (
            "[sets]\na = [\"@b\"]\nb = [\"@c\"]\nc = [¦\"@b\"]\n",
            "sets.c[0]",
            "in a circle: b -> c -> b",
        ),
        (
            "[sets]\na = ¦{}\n",
            "sets.a.file",
            "`file` is missing; write for example `file = \"peers.txt\"`",
        ),
    ]);
}

#[test]
fn what_names_a_broken_set_is_not_blamed() {
    each_is_refused(&[
        (
            "[sets]\na = [¦\"bad!\"]\nb = [\"@a\"]\n[sources]\ntrusted = [\"@a\"]\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"@b\"]\n",
            "sets.a[0]",
            "is no address",
        ),
        ("sets = ¦3\n[sources]\ntrusted = [\"@a\"]\n", "sets", "write a table of sets"),
    ]);
}

#[test]
fn sets_are_looked_up_wherever_addresses_are_taken() {
    let text = format!(
        "[sources]\ntrusted = [\"@a\", \"192.0.2.1\"]\ndenied = [\"@b\"]\n[sets]\na = [\"10.0.0.1\", \"@b\"]\n\
         b = [\"2001:db8::/32\", \"@c\", \"@c\"]\nc = [\"198.51.100.0/24\", \"10.0.0.1\"]\n{RULE}from = [\"@a\", \"203.0.113.9\"]\n"
    );
    let policy = loaded(&text).policy;
    assert_eq!(
        policy.trusted,
        nets(&["10.0.0.1/32", "192.0.2.1/32", "198.51.100.0/24", "2001:db8::/32"])
    );
    assert_eq!(policy.denied, nets(&["10.0.0.1/32", "198.51.100.0/24", "2001:db8::/32"]));
    assert_eq!(
        from(&text),
        nets(&["10.0.0.1/32", "198.51.100.0/24", "203.0.113.9/32", "2001:db8::/32"])
    );
}

#[test]
fn empty_sets_let_nobody_in() {
    each_is_warned_of(&[
        (
            "[sets]\na = []\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [¦\"@a\"]\n",
            "rule[0].from[0]",
            "the set `a` is empty: it lets nobody in",
        ),
        (
            "[sets]\na = []\nb = [\"@a\"]\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"10.0.0.1\", ¦\"@b\"]\n",
            "rule[0].from[1]",
            "the set `b` is empty",
        ),
        (
            "[sets]\na = []\n[sources]\ntrusted = [¦\"@a\"]\n",
            "sources.trusted[0]",
            "the set `a` is empty: it trusts nobody",
        ),
        (
            "[sets]\na = []\n[sources]\ndenied = [¦\"@a\"]\n",
            "sources.denied[0]",
            "the set `a` is empty: it denies nobody",
        ),
    ]);
    assert_eq!(from(&format!("[sets]\na = []\n{RULE}from = [\"@a\"]\n")), []);
}

#[test]
fn rules_of_one_set_share_its_list() {
    let policy = good(
        "[sets]\na = [\"10.0.0.1\"]\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"@a\"]\n\
         [[rule]]\nname = \"b\"\nports = [\"tcp/2\"]\nfrom = [\"@a\"]\n",
    );
    match (&policy.rules[0].from, &policy.rules[1].from) {
        (Source::Prefixes(one), Source::Prefixes(other)) => {
            assert!(std::sync::Arc::ptr_eq(one, other))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn sets_nest_sixteen_deep() {
    let chain = |length: usize, name: &dyn Fn(usize) -> String| {
        let links: String = (1..length)
            .map(|link| format!("{} = [\"@{}\"]\n", name(link), name(link + 1)))
            .collect();
        format!("[sets]\n{links}{} = [\"10.0.0.1\"]\n", name(length))
    };
    // Sets are resolved by name: once from the outermost, once from the innermost.
    for name in [&|link| format!("s{link:02}"), &|link| format!("s{:02}", 99 - link)]
        as [&dyn Fn(usize) -> String; 2]
    {
        let text = format!("{}{RULE}from = [\"@{}\"]\n", chain(16, name), name(1));
        assert_eq!(from(&text), nets(&["10.0.0.1/32"]));
        let errors = errors(&chain(17, name));
        assert_eq!(errors.len(), 1, "{}", Errors(errors));
        assert!(
            errors[0].kind.to_string().contains("sets are nested more than 16 deep"),
            "{}",
            errors[0]
        );
    }
}
