//! Large policies. The times allowed are many times what an unoptimised
//! build takes: they catch work that grows with the square of the policy.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::*;
use crate::policy::{ErrorKind, diff};

const ALLOWED: Duration = Duration::from_secs(20);

#[track_caller]
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let out = work();
    let taken = start.elapsed();
    println!("{what}: {taken:?}");
    assert!(taken < ALLOWED, "{what} took {taken:?}");
    out
}

fn list(count: u32) -> String {
    let mut out = String::new();
    for index in 0..count {
        let [_, b, c, d] = (index * 4).to_be_bytes();
        let end = if index + 1 == count { "" } else { ",\n" };
        let _ = write!(out, "\"10.{b}.{c}.{d}\"{end}");
    }
    out
}

fn rules(count: u32, rest: impl Fn(u32) -> String) -> String {
    (0..count).fold(String::new(), |mut out, index| {
        let _ = writeln!(out, "[[rule]]\nname = \"r{index}\"\n{}", rest(index));
        out
    })
}

#[test]
fn a_hundred_thousand_entries_and_ten_thousand_rules() {
    let inline = format!(
        "[sets]\nbig = [{}]\n{}",
        list(100_000),
        rules(10_000, |index| format!("ports = [\"tcp/{}\"]\nfrom = [\"@big\"]", index + 1))
    );
    let loaded = timed("100,000 entries, 10,000 rules", || loaded(&inline));
    assert_eq!(loaded.policy.rules.len(), 10_000);
    assert_eq!(loaded.policy.rules[9_999].from.prefixes().len(), 100_000);

    let mut other = loaded.policy.clone();
    other.rules.reverse();
    assert_eq!(timed("no difference", || diff(&loaded.policy, &other)), []);

    // A set that is read again is another list, with one address less.
    let again = self::loaded(&inline.replace("\"10.0.0.0\",\n", "")).policy;
    let changes = timed("one address less", || diff(&loaded.policy, &again));
    assert_eq!(changes.len(), 10_000);
    assert_eq!(changes[9_999].to_string(), "~ rule r9999: from -1 (10.0.0.0/32)");

    let mut file = list(100_000).replace(['"', ','], "");
    let text = "[sets]\nbig = { file = \"x\" }\n[sources]\ndenied = [\"@big\"]\ntrusted = [\"10.0.0.0/8\"]\n";
    let mut read = |_: &Path| Ok(file.clone().into_bytes());
    let loaded = timed("a file of 100,000", || parse_with(text, Path::new(FILE), &mut read));
    let warnings = loaded.map(|loaded| loaded.warnings).unwrap_or_default();
    assert!(listed(&warnings).contains("and 99999 more prefixes here are trusted"));

    file.push_str("\nbad!\n");
    let mut read = |_: &Path| Ok(file.clone().into_bytes());
    let Err(Errors(errors)) = parse_with(text, Path::new(FILE), &mut read) else {
        panic!("no error")
    };
    assert_eq!((errors.len(), errors[0].line), (1, Some(100_001)));
}

#[test]
fn ten_thousand_rules_on_one_port_and_one_prefix_too_many() {
    let mut text = rules(10_000, |index| {
        let [_, b, c, d] = index.to_be_bytes();
        format!(
            "ports = [\"tcp/1-60000\", \"udp/53\"]\nfrom = [\"10.{b}.{c}.{d}\", \"2001:db8:{index:x}::/48\"]"
        )
    });
    assert_eq!(timed("one port, 10,000 prefixes", || good(&text)).rules.len(), 10_000);
    text.push_str(
        "[[rule]]\nname = \"last\"\nports = [\"udp/53\"]\nfrom = [\"2001:db8:f::/48\"]\n",
    );
    let errors = timed("and a conflict", || errors(&text));
    assert_eq!(errors.len(), 1);
    let line = text.lines().position(|line| line == "name = \"last\"").unwrap_or_default();
    assert_eq!(
        errors[0].kind.to_string(),
        format!(
            "udp/53 from 2001:db8:f::/48 is claimed by two rules: `r15` (line 61) and `last` (line {line}); take it out of \
             one of them, or give them different `from` or `interfaces`"
        )
    );
}

#[test]
fn ten_thousand_rules_everywhere() {
    let text =
        rules(10_000, |index| format!("ports = [\"tcp/{0}-{0}\", \"udp/{0}\"]", 5 * index + 1));
    assert_eq!(timed("10,000 rules, everywhere", || good(&text)).rules.len(), 10_000);
    let text = rules(10_000, |index| format!("ports = [\"tcp/1\"]\ninterfaces = [\"i{index}\"]"));
    assert_eq!(timed("10,000 rules, an interface each", || good(&text)).rules.len(), 10_000);
    let text = rules(10_000, |_| "ports = [\"tcp/1-100\"]".to_owned());
    let errors = timed("10,000 rules, all the same", || errors(&text));
    assert_eq!(errors[100].kind, ErrorKind::More { count: 9_899 });
}
