//! Rules: their names, ports and interfaces, and what two may not share.

use super::*;
use crate::policy::ErrorKind;

#[test]
fn bad_rules_are_refused() {
    each_is_refused(&[
        (
            "¦[[rule]]\nports = [\"tcp/1\"]\n",
            "rule[0].name",
            "`name` is missing; write for example `name = \"ssh\"`",
        ),
        ("mode = \"enforce\"\n¦[[rule]]\nname = \"a\"\n", "rule[0].ports", "`ports` is missing"),
        (
            "[[rule]]\nname = ¦\"a b\"\nports = [\"tcp/1\"]\n",
            "rule[0].name",
            "`a b` cannot be a name; write 1 to 63 letters",
        ),
        ("[[rule]]\nname = ¦\"\"\nports = [\"tcp/1\"]\n", "rule[0].name", "cannot be a name"),
        ("[[rule]]\nname = ¦\"é\"\nports = [\"tcp/1\"]\n", "rule[0].name", "cannot be a name"),
        (
            "[[rule]]\nname = ¦\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\nports = [\"tcp/1\"]\n",
            "rule[0].name",
            "…` cannot be a name",
        ),
        (
            "[[rule]]\nname = ¦3\nports = [\"tcp/1\"]\n",
            "rule[0].name",
            "this is an integer; write a string",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n\n[[rule]]\nname = ¦\"a\"\nports = [\"tcp/2\"]\n",
            "rule[1].name",
            "the rule on line 1 is called `a` too; give each rule a name of its own",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nmode = ¦\"off\"\n",
            "rule[0].mode",
            "`off` is none of the choices",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = ¦[]\n",
            "rule[0].from",
            "take the key out to let everybody in",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = ¦\"10.0.0.1\"\n",
            "rule[0].from",
            "write a list of addresses",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nper_source = ¦3\n",
            "rule[0].per_source",
            "write a table",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\ninterfaces = ¦[]\n",
            "rule[0].interfaces",
            "this list is empty",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\ninterfaces = [¦\"a/b\"]\n",
            "rule[0].interfaces[0]",
            "cannot be the name",
        ),
        (
            "interfaces = [\"eth0\"]\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\ninterfaces = [\"eth0\", ¦\"wg0\"]\n",
            "rule[0].interfaces[1]",
            "`wg0` is not one of the interfaces that this policy guards; add it to `interfaces` at the top",
        ),
    ]);
}

#[test]
fn bad_ports_are_refused() {
    for (ports, item, sentence) in [
        ("¦\"tcp/1\"", None, "this is a string; write a list of ports"),
        ("¦[]", None, "this list is empty; name the ports"),
        ("[¦22]", Some(0), "this is an integer; write a string such as \"tcp/22\""),
        ("[\"tcp/1\", ¦\"tcp/0\"]", Some(1), "0 is no port number; they go from 1 to 65535"),
        ("[¦\"tcp/70000\"]", Some(0), "70000 is no port number"),
        ("[¦\"tcp/99999999999999999999\"]", Some(0), "is no port number"),
        ("[¦\"udp/1-65536\"]", Some(0), "65536 is no port number"),
        ("[¦\"tcp/20-10\"]", Some(0), "this range ends before it begins; write \"tcp/10-20\""),
        (
            "[¦\"sctp/1\"]",
            Some(0),
            "`sctp` is not a protocol with ports that nodewall knows, which are tcp and udp",
        ),
        ("[¦\"tpc/1\"]", Some(0), "`tpc` is not a protocol"),
        ("[¦\"22/tcp\"]", Some(0), "`22/tcp` has the port first; write \"tcp/22\""),
        ("[¦\"1-5/UDP\"]", Some(0), "write \"udp/1-5\""),
        ("[¦\"5-1/udp\"]", Some(0), "`5-1/udp` is no port; write a protocol"),
        ("[¦\"0/udp\"]", Some(0), "`0/udp` is no port; write a protocol"),
        ("[¦\"22\"]", Some(0), "`22` is no port; write a protocol and a number or a range"),
        ("[¦\"\"]", Some(0), "`` is no port"),
        ("[¦\"/22\"]", Some(0), "`/22` is no port"),
        ("[¦\"tcp/\"]", Some(0), "`tcp/` is no port"),
        ("[¦\"tcp/ssh\"]", Some(0), "`tcp/ssh` is no port"),
        ("[¦\"tcp/1-\"]", Some(0), "is no port;"),
        ("[¦\"tcp/1-2-3\"]", Some(0), "is no port;"),
        ("[¦\"tcp/+1\"]", Some(0), "is no port;"),
        ("[¦\"tcp/1:5\"]", Some(0), "is no port;"),
        ("[¦\"tcp/ 1\"]", Some(0), "is no port;"),
    ] {
        let marked = format!("[[rule]]\nname = \"a\"\nports = {ports}\n");
        let (text, marks) = marks(&marked);
        let errors = errors(&text);
        assert_eq!(errors.len(), 1, "{marked}\n{}", Errors(errors));
        let error = &errors[0];
        assert_eq!((error.line, error.column), (Some(marks[0].0), Some(marks[0].1)), "{marked}");
        let field =
            item.map_or("rule[0].ports".to_owned(), |item| format!("rule[0].ports[{item}]"));
        assert_eq!(error.field, Some(field), "{marked}");
        assert!(error.kind.to_string().contains(sentence), "{marked}\n{error}");
    }
}

#[test]
fn what_is_said_twice_is_warned_of() {
    each_is_warned_of(&[
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/10-20\", ¦\"tcp/15-25\"]\n",
            "rule[0].ports[1]",
            "tcp/15-25 overlaps tcp/10-20 of the same rule; they are taken as one",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/15\", ¦\"tcp/1-20\"]\n",
            "rule[0].ports[1]",
            "tcp/1-20 overlaps tcp/15",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"udp/5\", ¦\"udp/5\"]\n",
            "rule[0].ports[1]",
            "udp/5 overlaps udp/5",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\ninterfaces = [\"eth0\", ¦\"eth0\"]\n",
            "rule[0].interfaces[1]",
            "`eth0` is named twice; once is enough",
        ),
        ("interfaces = [\"eth0\", \"a\", ¦\"eth0\"]\n", "interfaces[2]", "`eth0` is named twice"),
        ("[protocols]\nallow = [\"esp\", ¦50]\n", "protocols.allow[1]", "`esp` is named twice"),
    ]);
}

#[test]
fn one_port_and_prefix_belongs_to_one_rule() {
    each_is_refused(&[
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/22\"]\n\n[[rule]]\nname = \"b\"\nports = [\"udp/22\", ¦\"tcp/20-30\"]\n",
            "rule[1].ports[1]",
            "tcp/22 from 0.0.0.0/0 is claimed by two rules: `a` (line 1) and `b` (line 5); take it out of one of them",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/20-30\"]\nfrom = [\"10.0.0.0/8\", \"10.1.0.0/16\"]\n\
             [[rule]]\nname = \"b\"\nports = [¦\"tcp/25\"]\nfrom = [\"10.1.0.0/16\", \"2001:db8::/32\"]\n",
            "rule[1].ports[0]",
            "tcp/25 from 10.1.0.0/16 is claimed by two rules: `a` (line 1) and `b` (line 5)",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"udp/5\"]\nfrom = [\"::/0\"]\n[[rule]]\nname = \"b\"\nports = [¦\"udp/1-9\"]\n",
            "rule[1].ports[0]",
            "udp/5 from ::/0 is claimed",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"udp/5\"]\ninterfaces = [\"x\", \"y\"]\n[[rule]]\nname = \"b\"\n\
             ports = [¦\"udp/5\"]\ninterfaces = [\"y\", \"z\"]\n",
            "rule[1].ports[0]",
            "is claimed by two rules on y: `a`",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"udp/5\"]\ninterfaces = [\"x\"]\n[[rule]]\nname = \"b\"\nports = [¦\"udp/5\"]\n",
            "rule[1].ports[0]",
            "on x: `a` (line 1) and `b` (line 5)",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"udp/1-100\"]\n[[rule]]\nname = \"b\"\nports = [¦\"udp/50-60\"]\n\
             interfaces = [\"x\"]\n",
            "rule[1].ports[0]",
            "udp/50 from 0.0.0.0/0 is claimed by two rules on x",
        ),
        (
            "[sets]\ns = [\"10.0.0.1\", \"10.0.0.2\"]\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"@s\"]\n\
             [[rule]]\nname = \"b\"\nports = [¦\"tcp/1\"]\nfrom = [\"@s\"]\n",
            "rule[1].ports[0]",
            "tcp/1 from 10.0.0.1/32 is claimed",
        ),
        (
            "[sets]\ns = [\"10.0.0.1\", \"10.0.0.2\"]\n[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nfrom = [\"@s\"]\n\
             [[rule]]\nname = \"b\"\nports = [¦\"tcp/1\"]\nfrom = [\"10.0.0.2/32\"]\nmode = \"monitor\"\n",
            "rule[1].ports[0]",
            "tcp/1 from 10.0.0.2/32 is claimed",
        ),
    ]);
}

#[test]
fn each_pair_of_rules_is_told_once() {
    let rule = |name: &str| {
        format!("[[rule]]\nname = \"{name}\"\nports = [\"tcp/1\", \"tcp/5\", \"udp/1\"]\n")
    };
    let errors = errors(&[rule("a"), rule("b"), rule("c")].concat());
    let pairs: Vec<_> = errors
        .iter()
        .map(|error| match &error.kind {
            ErrorKind::Claimed { first, second, .. } => (first.as_str(), second.as_str()),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(pairs, [("a", "b"), ("a", "c")]);
}

#[test]
fn rules_that_do_not_meet_stand_together() {
    for (one, other) in [
        ("ports = [\"tcp/1\"]", "ports = [\"udp/1\"]"),
        ("ports = [\"tcp/1-9\"]", "ports = [\"tcp/10\"]"),
        ("ports = [\"tcp/65535\"]", "ports = [\"udp/1\"]"),
        ("ports = [\"tcp/1\"]", "ports = [\"tcp/1\"]\nfrom = [\"10.0.0.0/8\"]"),
        (
            "ports = [\"tcp/1\"]\nfrom = [\"10.0.0.0/8\"]",
            "ports = [\"tcp/1\"]\nfrom = [\"10.0.0.0/9\"]",
        ),
        ("ports = [\"tcp/1\"]\nfrom = [\"0.0.0.0/0\"]", "ports = [\"tcp/1\"]\nfrom = [\"::/0\"]"),
        ("ports = [\"tcp/1\"]\ninterfaces = [\"x\"]", "ports = [\"tcp/1\"]\ninterfaces = [\"y\"]"),
        (
            "ports = [\"tcp/1-5\", \"tcp/9\"]\ninterfaces = [\"x\"]",
            "ports = [\"tcp/6-8\", \"tcp/10\", \"udp/1-9\"]",
        ),
    ] {
        good(&format!("[[rule]]\nname = \"a\"\n{one}\n[[rule]]\nname = \"b\"\n{other}\n"));
        good(&format!("[[rule]]\nname = \"a\"\n{other}\n[[rule]]\nname = \"b\"\n{one}\n"));
    }
}

#[test]
fn a_rule_that_could_not_be_read_claims_nothing() {
    // Its sources are not known: it might not meet the other at all.
    let errors = errors(
        "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n[[rule]]\nname = \"b\"\nports = [\"tcp/1\"]\nfrom = [\"bad!\"]\n\
         [[rule]]\nname = \"c\"\nports = [\"tcp/1\"]\ninterfaces = [\"a/b\"]\n",
    );
    let fields: Vec<_> = errors.iter().filter_map(|error| error.field.as_deref()).collect();
    assert_eq!(fields, ["rule[1].from[0]", "rule[2].interfaces[0]"]);
}
