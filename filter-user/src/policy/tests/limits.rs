//! Rates, bursts, and where they are allowed.

use super::*;
use crate::policy::{Icmp, Period, Rate};

fn rule_with(limit: &str) -> String {
    format!("[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n[rule.per_source]\n{limit}\n")
}

const fn rate(amount: u64, period: Period, burst: u64) -> Option<Rate> {
    Some(Rate { amount, period, burst })
}

#[test]
fn rates_mean_what_they_say() {
    use Period::{Hour, Minute, Second};
    for (text, expected) in [
        ("{ rate = \"20/s\" }", rate(20, Second, 20)),
        ("{ rate = \"20/s\", burst = 40 }", rate(20, Second, 40)),
        ("{ rate = \"2k/s\" }", rate(2_000, Second, 2_000)),
        ("{ rate = \"2M/m\" }", rate(2_000_000, Minute, 33_333)),
        ("{ rate = \"3G/h\", burst = 1_000 }", rate(3_000_000_000, Hour, 1_000)),
        ("{ rate = \"90/m\" }", rate(90, Minute, 1)),
        ("{ rate = \"7/h\", burst = 0x10 }", rate(7, Hour, 16)),
    ] {
        let policy = good(&rule_with(&format!("packets = {text}\nnew_connections = {text}")));
        assert_eq!(policy.rules[0].per_source.packets, expected, "{text}");
        assert_eq!(policy.rules[0].per_source.new_connections, expected, "{text}");
        let policy = loaded(&format!("[icmp]\necho = {text}\nerrors = {text}\n")).policy;
        assert_eq!(policy.icmp, Icmp { echo: expected, errors: expected }, "{text}");
    }
    for (text, expected) in [
        ("{ rate = \"50MB/s\" }", rate(50_000_000, Second, 50_000_000)),
        ("{ rate = \"50M/s\" }", rate(50_000_000, Second, 50_000_000)),
        ("{ rate = \"50B/s\" }", rate(50, Second, 65_536)),
        ("{ rate = \"1000/s\" }", rate(1_000, Second, 65_536)),
        ("{ rate = \"1GB/m\" }", rate(1_000_000_000, Minute, 16_666_666)),
        ("{ rate = \"100kB/s\", burst = \"1MB\" }", rate(100_000, Second, 1_000_000)),
        ("{ rate = \"100kB/s\", burst = 65536 }", rate(100_000, Second, 65_536)),
        ("{ rate = \"100kB/s\", burst = \"70000\" }", rate(100_000, Second, 70_000)),
    ] {
        let policy = good(&rule_with(&format!("bytes = {text}")));
        assert_eq!(policy.rules[0].per_source.bytes, expected, "{text}");
    }
}

#[test]
fn icmp_can_be_closed() {
    assert_eq!(loaded("[icmp]\necho = false\nerrors = false\n").policy.icmp, Icmp::default());
    assert_eq!(loaded("[icmp]\n").policy.icmp, Icmp { echo: None, errors: None });
}

#[test]
fn what_is_no_rate_is_refused() {
    let malformed_packets =
        "is no rate; write a whole number, perhaps k, M or G, and /s, /m or /h, such as \"2000/s\"";
    let malformed_bytes = "is no rate; write a whole number, one of B, kB, MB or GB, and /s, /m or /h, such as \"50MB/s\"";
    let cases = [
        (
            "packets = ¦\"20/s\"",
            "",
            "this is a string; write a table with a rate, as in `{ rate = \"20/s\", burst = 40 }`",
        ),
        ("packets = ¦20", "", "this is an integer; write a table with a rate"),
        (
            "bytes = ¦false",
            "",
            "this is a boolean; write a table with a rate, as in `{ rate = \"50MB/s\"",
        ),
        (
            "packets = ¦{ burst = 3 }",
            ".rate",
            "`rate` is missing; write for example `rate = \"20/s\"`",
        ),
        (
            "bytes = ¦{ burst = \"1MB\" }",
            ".rate",
            "`rate` is missing; write for example `rate = \"50MB/s\"`",
        ),
        (
            "packets = { rate = ¦20 }",
            ".rate",
            "this is an integer; write a string such as \"2000/s\"",
        ),
        ("packets = { rate = ¦\"20\" }", ".rate", malformed_packets),
        ("packets = { rate = ¦\"20/d\" }", ".rate", malformed_packets),
        ("packets = { rate = ¦\"20/sec\" }", ".rate", malformed_packets),
        ("packets = { rate = ¦\"20 /s\" }", ".rate", malformed_packets),
        ("packets = { rate = ¦\"1.5k/s\" }", ".rate", malformed_packets),
        ("packets = { rate = ¦\"-1/s\" }", ".rate", malformed_packets),
        ("packets = { rate = ¦\"/s\" }", ".rate", malformed_packets),
        ("packets = { rate = ¦\"k/s\" }", ".rate", malformed_packets),
        ("packets = { rate = ¦\"20kB/s\" }", ".rate", malformed_packets),
        ("packets = { rate = ¦\"20K/s\" }", ".rate", malformed_packets),
        ("bytes = { rate = ¦\"50Mbit/s\" }", ".rate", malformed_bytes),
        ("bytes = { rate = ¦\"50MiB/s\" }", ".rate", malformed_bytes),
        ("bytes = { rate = ¦\"50KB/s\" }", ".rate", malformed_bytes),
        ("packets = { rate = ¦\"0/s\" }", ".rate", "a rate of 0 lets nothing pass"),
        ("packets = { rate = ¦\"99999999999999999999/s\" }", ".rate", "is too large"),
        ("packets = { rate = ¦\"99999999999G/s\" }", ".rate", "is too large"),
        ("packets = { rate = \"1/s\", burst = ¦0 }", ".burst", "a burst below 1 lets nothing pass"),
        ("packets = { rate = \"1/s\", burst = ¦-4 }", ".burst", "a burst below 1"),
        (
            "packets = { rate = \"1/s\", burst = ¦\"4\" }",
            ".burst",
            "this is a string; write a whole number, such as 40",
        ),
        ("packets = { rate = \"1/s\", burst = ¦99999999999999999999 }", ".burst", "is too large"),
        ("bytes = { rate = \"1MB/s\", burst = ¦\"0kB\" }", ".burst", "a burst below 1"),
        ("bytes = { rate = \"1MB/s\", burst = ¦\"64 kB\" }", ".burst", "`64 kB` is no burst"),
        (
            "bytes = { rate = \"1MB/s\", burst = ¦1.5 }",
            ".burst",
            "write a whole number of bytes, or a string",
        ),
        (
            "packets = { rate = \"1/h\", burst = ¦8_761 }",
            ".burst",
            "a burst of 8761 at 1/h takes more than a year to fill",
        ),
        ("bytes = { rate = ¦\"1B/h\" }", ".rate", "a burst of 65536 at 1/h takes more than a year"),
    ];
    for (limit, field, sentence) in cases {
        let key = limit.split(' ').next().unwrap_or_default();
        check(&rule_with(limit), &format!("rule[0].per_source.{key}{field}"), sentence);
        if key == "packets" {
            let text = format!("[icmp]\n{}\n", limit.replace("packets", "echo"));
            check(&text, &format!("icmp.echo{field}"), sentence);
            let text = rule_with(&limit.replace("packets", "new_connections"));
            check(&text, &format!("rule[0].per_source.new_connections{field}"), sentence);
        }
    }
}

#[track_caller]
fn check(marked: &str, field: &str, sentence: &str) {
    let (text, marks) = marks(marked);
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

#[test]
fn the_slowest_rate_refills_within_a_year() {
    let policy = good(&rule_with("packets = { rate = \"1/h\", burst = 8_760 }"));
    assert_eq!(policy.rules[0].per_source.packets, rate(1, Period::Hour, 8_760));
}

#[test]
fn tcp_limits_need_a_tcp_port() {
    each_is_refused(&[
        (
            "[[rule]]\nname = \"a\"\nports = [\"udp/1\"]\n[rule.total]\nconnections = ¦8\n",
            "rule[0].total.connections",
            "`connections` is about TCP connections",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"udp/1\"]\nidle_timeout = ¦\"10m\"\n",
            "rule[0].idle_timeout",
            "`idle_timeout` is about TCP connections",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"udp/1\", \"udp/5-9\"]\n[rule.per_source]\n\
         new_connections = ¦{ rate = \"1/s\" }\npackets = { rate = \"1/s\" }\n",
            "rule[0].per_source.new_connections",
            "`new_connections` is about TCP connections, and this rule has only UDP ports; take it out",
        ),
    ]);
    each_is_refused(&[
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n[rule.per_source]\nconnections = ¦0\n",
            "rule[0].per_source.connections",
            "0 is out of range; write a whole number from 1 to 4294967295",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n[rule.per_source]\nconnections = ¦\"8\"\n",
            "rule[0].per_source.connections",
            "a number of connections, such as 8",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nidle_timeout = ¦\"soon\"\n",
            "rule[0].idle_timeout",
            "`soon` is no time from 1s to 1year",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\nidle_timeout = ¦\"900ms\"\n",
            "rule[0].idle_timeout",
            "`900ms` is no time",
        ),
    ]);
    good(
        "[[rule]]\nname = \"a\"\nports = [\"udp/1\", \"tcp/1\"]\n[rule.per_source]\nnew_connections = { rate = \"1/s\" }\n",
    );
}

#[test]
fn small_byte_bursts_are_warned_of() {
    each_is_warned_of(&[
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n[rule.per_source]\nbytes = { rate = \"1MB/s\", burst = ¦\"64kB\" }\n",
            "rule[0].per_source.bytes.burst",
            "a burst of 64000 bytes is less than the 65536",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"tcp/1\"]\n[rule.per_source]\nbytes = { rate = \"1MB/s\", burst = ¦65535 }\n",
            "rule[0].per_source.bytes.burst",
            "can never pass",
        ),
    ]);
}
