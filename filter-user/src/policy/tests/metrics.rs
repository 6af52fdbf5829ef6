//! `[metrics]`

use super::*;
use crate::policy::{Policy, diff};

fn listen(text: &str) -> Option<String> {
    loaded(text).policy.metrics.map(|address| address.to_string())
}

#[test]
fn metrics_are_for_this_host_unless_the_policy_says_otherwise() {
    assert_eq!(listen("").as_deref(), Some("127.0.0.1:9551"));
    assert_eq!(listen("[metrics]\n").as_deref(), Some("127.0.0.1:9551"));
    assert_eq!(listen("[metrics]\nlisten = \"[::1]:9100\"\n").as_deref(), Some("[::1]:9100"));
    assert_eq!(listen("[metrics]\nlisten = false\n"), None);
}

#[test]
fn what_is_no_address_with_a_port_is_refused() {
    each_is_refused(&[
        ("[metrics]\nlisten = ¦\"localhost:9551\"\n", "metrics.listen", "host names are not"),
        ("[metrics]\nlisten = ¦\"127.0.0.1\"\n", "metrics.listen", "with a port"),
        ("[metrics]\nlisten = ¦\"127.0.0.1:0\"\n", "metrics.listen", "from 1 to 65535"),
        ("[metrics]\nlisten = ¦\":9551\"\n", "metrics.listen", "`:9551` is no address"),
        ("[metrics]\nlisten = ¦\"127.0.0.1:9551/metrics\"\n", "metrics.listen", "is no address"),
        ("[metrics]\nlisten = ¦9551\n", "metrics.listen", "this is an integer; write an address"),
        ("[metrics]\nlisten = ¦true\n", "metrics.listen", "this is true; write false, or"),
        ("metrics = ¦false\n", "metrics", "this is a boolean; write a table"),
        ("[metrics]\n¦listens = false\n", "metrics.listens", "did you mean `listen`?"),
    ]);
}

#[test]
fn metrics_for_others_are_warned_of() {
    each_is_warned_of(&[
        ("[metrics]\nlisten = ¦\"0.0.0.0:9551\"\n", "metrics.listen", "is not a loopback address"),
        ("[metrics]\nlisten = ¦\"[2001:db8::1]:80\"\n", "metrics.listen", "admits to tcp/80"),
    ]);
    for own in ["127.0.0.7:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let warnings = loaded(&format!("[metrics]\nlisten = \"{own}\"\n")).warnings;
        assert!(warnings.iter().all(|warning| warning.line.is_none()), "{own}");
    }
}

#[test]
fn a_change_of_address_is_told() {
    let off = loaded("[metrics]\nlisten = false\n").policy;
    let changes = diff(&Policy::default(), &off);
    let told: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["~ metrics.listen 127.0.0.1:9551 -> false"]);
}
