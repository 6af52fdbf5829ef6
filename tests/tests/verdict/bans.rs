//! Bans: single addresses and prefixes, their end, and what stands above them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use filter_common::{Reason, tables::bans};
use filter_user::dataplane::{Ban, Restored};
use nodewall_tests::verdict::{Expected, Kernel, prefix_of, with_kernel};
use sandbox::packet::frame;

use crate::common::{HOST, HOST6};

const POLICY: &str = "[sources]\ntrusted = [\"192.0.2.0/28\", \"2001:db8:7::/64\"]\ndenied = [\"192.0.2.16/28\"]\n[[rule]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n";

/// More than the unit in which the table of IPv4 addresses writes ends.
const LATE: Duration = Duration::from_millis(250);

fn judge(kernel: &mut Kernel, sources: &[&str], expected: impl Into<Expected>) {
    let expected = expected.into();
    for source in sources {
        let syn = if source.contains(':') {
            frame().eth().ipv6(*source, HOST6).tcp(4000, 22).syn().build()
        } else {
            frame().eth().ipv4(*source, HOST).tcp(4000, 22).syn().build()
        };
        kernel.expect(format!("a SYN from {source}"), &syn, expected);
    }
}

#[test]
fn addresses_and_prefixes() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        let open = Expected::rule("ssh");
        // The ban, what is in it, and what is just outside.
        let cases: [(&str, &[&str], &[&str]); 11] = [
            ("203.0.113.9", &["203.0.113.9"], &["203.0.113.8", "203.0.113.10", "203.0.112.9"]),
            (
                "203.0.113.64/31",
                &["203.0.113.64", "203.0.113.65"],
                &["203.0.113.63", "203.0.113.66"],
            ),
            (
                "203.0.113.128/25",
                &["203.0.113.128", "203.0.113.255"],
                &["203.0.113.127", "203.0.114.0"],
            ),
            ("198.18.5.0/24", &["198.18.5.0", "198.18.5.255"], &["198.18.4.255", "198.18.6.0"]),
            ("198.19.0.0/16", &["198.19.0.0", "198.19.255.255"], &["198.18.255.255", "198.20.0.0"]),
            ("11.0.0.0/8", &["11.0.0.0", "11.255.255.255"], &["10.255.255.255", "12.0.0.0"]),
            (
                "2001:db8:9::9",
                &["2001:db8:9::9"],
                &["2001:db8:9::8", "2001:db8:9::a", "2001:db8:8::9"],
            ),
            (
                "2001:db8:a:1::/64",
                &["2001:db8:a:1::", "2001:db8:a:1:ffff:ffff:ffff:ffff"],
                &["2001:db8:a:0:ffff:ffff:ffff:ffff", "2001:db8:a:2::"],
            ),
            (
                "2001:db8:b::/48",
                &["2001:db8:b::", "2001:db8:b:ffff::1"],
                &["2001:db8:a:ffff::1", "2001:db8:c::"],
            ),
            (
                "2001:dc0::/32",
                &["2001:dc0::", "2001:dc0:ffff::1"],
                &["2001:dbf:ffff::1", "2001:dc1::"],
            ),
            ("2002::/16", &["2002::", "2002:ffff::1"], &["2001:ffff::1", "2003::"]),
        ];
        for (ban, inside, outside) in cases {
            judge(kernel, inside, open);
            kernel.ban(ban, None);
            judge(kernel, inside, Reason::Banned);
            judge(kernel, outside, open);
        }
        for (_, inside, outside) in cases {
            judge(kernel, inside, Reason::Banned);
            judge(kernel, outside, open);
        }
        for (ban, inside, _) in cases {
            kernel.unban(ban);
            judge(kernel, inside, open);
        }
        for (_, inside, outside) in cases {
            judge(kernel, inside, open);
            judge(kernel, outside, open);
        }
    });
}

#[test]
fn order() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        for ban in [
            "192.0.2.0/24",
            "192.0.2.1",
            "192.0.2.17",
            "2001:db8:7::/48",
            "2001:db8:7::1",
            "fe80::/10",
        ] {
            kernel.ban(ban, None);
        }
        judge(
            kernel,
            &["192.0.2.1", "192.0.2.2", "2001:db8:7::1", "2001:db8:7::2"],
            Reason::Trusted,
        );
        judge(kernel, &["192.0.2.17", "192.0.2.18"], Reason::Denied);
        judge(kernel, &["192.0.2.33", "2001:db8:7:1::1"], Reason::Banned);
        let discovery = frame().eth().ipv6("fe80::9", HOST6).hop_limit(255).icmpv6(135, 0).build();
        kernel.expect("essential", &discovery, Reason::Essential);
        let routed = frame().eth().ipv6("fe80::9", HOST6).icmpv6(135, 0).build();
        kernel.expect("not essential", &routed, Reason::Banned);
        let ip = || frame().eth().ipv4("192.0.2.40", HOST);
        kernel.expect("UDP", &ip().udp(1, 53).build(), Reason::Banned);
        kernel.expect("echo", &ip().ping(1, 1).build(), Reason::Banned);
        kernel.expect("ESP", &ip().protocol(50).build(), Reason::Banned);
        kernel.expect(
            "a later fragment",
            &ip().fragment(1, 9, true).protocol(6).payload([0; 8]).build(),
            Reason::Banned,
        );
        kernel.expect("a broken packet", &ip().version(5).tcp(1, 22).build(), Reason::Malformed);
        // Bans belong to no generation.
        kernel.policy("");
        judge(kernel, &["192.0.2.1", "192.0.2.17", "192.0.2.33", "2001:db8:7::1"], Reason::Banned);
    });
}

#[test]
fn ends() {
    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(3600);
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        let open = Expected::rule("ssh");
        kernel.ban("203.0.113.9", Some(SHORT));
        kernel.ban("203.0.113.64/26", Some(SHORT));
        kernel.ban("2001:db8:9::9", Some(SHORT));
        kernel.ban("2001:db8:a::/48", Some(SHORT));
        // A repeat replaces the end, either way.
        kernel.ban("198.18.0.1", Some(SHORT));
        kernel.ban("198.18.0.1", Some(LONG));
        kernel.ban("198.18.0.2", None);
        kernel.ban("198.18.0.2", Some(SHORT));
        kernel.ban("198.18.1.0/24", Some(SHORT));
        kernel.ban("198.18.1.0/24", None);
        let short = [
            "203.0.113.9",
            "203.0.113.64",
            "203.0.113.127",
            "2001:db8:9::9",
            "2001:db8:a::1",
            "198.18.0.2",
        ];
        let long = ["198.18.0.1", "198.18.1.1"];
        judge(kernel, &short, Reason::Banned);
        judge(kernel, &long, Reason::Banned);
        kernel.wait(SHORT + LATE);
        judge(kernel, &short, open);
        judge(kernel, &long, Reason::Banned);
        let ended = match kernel.plane.bans().expire(1000) {
            Ok(ended) => ended,
            Err(error) => panic!("{error}"),
        };
        kernel.check(ended == 5, format!("{ended} bans had ended"));
        judge(kernel, &short, open);
        judge(kernel, &long, Reason::Banned);
    });
}

/// Bans that overlap each hold by themselves.
#[test]
fn overlaps() {
    const SHORT: Duration = Duration::from_millis(300);
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        let open = Expected::rule("ssh");
        kernel.ban("203.0.113.0/24", None);
        kernel.ban("203.0.113.9", None);
        kernel.ban("203.0.113.0/28", None);
        kernel.unban("203.0.113.9");
        judge(kernel, &["203.0.113.9", "203.0.113.20"], Reason::Banned);
        kernel.unban("203.0.113.0/24");
        judge(kernel, &["203.0.113.9"], Reason::Banned);
        judge(kernel, &["203.0.113.20"], open);
        kernel.unban("203.0.113.0/28");
        judge(kernel, &["203.0.113.9", "203.0.113.20"], open);
        // The inner one ends first, and nobody has cleared it away yet.
        kernel.ban("198.18.0.0/16", None);
        kernel.ban("198.18.3.0/24", Some(SHORT));
        kernel.ban("198.18.4.4", Some(SHORT));
        kernel.ban("2001:db8:a:1::/64", Some(SHORT));
        kernel.ban("2001:db8:a::/48", None);
        kernel.wait(SHORT + LATE);
        judge(
            kernel,
            &["198.18.4.4", "198.18.5.5", "198.18.3.3", "2001:db8:a:1::1", "2001:db8:a:2::1"],
            Reason::Banned,
        );
    });
}

/// A ban that is taken back leaves those near it, at every size of the bitmaps
/// that stand before them.
#[test]
fn neighbours_of_what_is_taken_back() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        // Another address of the /24, of the /16, and of the /16 in another word.
        let near = ["203.0.113.9", "203.0.113.10", "203.0.112.9", "203.0.1.9", "203.0.255.0/24"];
        let inside = ["203.0.113.9", "203.0.113.10", "203.0.112.9", "203.0.1.9", "203.0.255.1"];
        for gone in 0..near.len() {
            for ban in near {
                kernel.ban(ban, None);
            }
            kernel.unban(near[gone]);
            judge(kernel, &inside[..gone], Reason::Banned);
            judge(kernel, &inside[gone + 1..], Reason::Banned);
            judge(kernel, &[inside[gone]], Expected::rule("ssh"));
            for ban in near.iter().filter(|ban| **ban != near[gone]) {
                kernel.unban(ban);
            }
            judge(kernel, &inside, Expected::rule("ssh"));
        }
        // Of a prefix of several /16s, the last is banned as the first is.
        kernel.ban("198.16.0.0/14", None);
        judge(kernel, &["198.16.0.1", "198.17.0.1", "198.19.255.255"], Reason::Banned);
        judge(kernel, &["198.15.255.255", "198.20.0.0"], Expected::rule("ssh"));
    });
}

/// The tables write IPv4 addresses as IPv6 ones.
#[test]
fn all_of_ipv6_is_nothing_of_ipv4() {
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        let open = Expected::rule("ssh");
        for all in ["::/0", "::/64"] {
            kernel.ban("203.0.113.9", None);
            kernel.ban("198.18.0.0/16", None);
            kernel.ban(all, None);
            judge(kernel, &["203.0.113.9", "198.18.0.1"], Reason::Banned);
            judge(kernel, &["203.0.113.10", "198.19.0.1"], open);
            kernel.ban("0.0.0.0/0", None);
            judge(kernel, &["203.0.113.9", "203.0.113.10", "198.19.0.1"], Reason::Banned);
            kernel.unban("0.0.0.0/0");
            judge(kernel, &["203.0.113.9", "198.18.0.1"], Reason::Banned);
            judge(kernel, &["203.0.113.10", "198.19.0.1"], open);
            for ban in ["203.0.113.9", "198.18.0.0/16", all] {
                kernel.unban(ban);
            }
        }
        kernel.ban("::/0", None);
        judge(kernel, &["2001:db8::1"], Reason::Banned);
    });
}

/// What was saved is put in force over what the kernel holds already, as after
/// a restart; and over nothing, as after a reboot.
#[test]
fn what_was_saved_is_put_in_force() {
    const SHORT: Duration = Duration::from_millis(300);
    with_kernel(|kernel| {
        kernel.policy(POLICY);
        let open = Expected::rule("ssh");
        let saved = ["203.0.113.9", "203.0.113.64/26", "198.18.0.0/16", "2001:db8:a:1::/64"];
        let restore = |kernel: &mut Kernel| {
            let ban = Arc::new(Ban { until: None, reason: Some("saved".to_owned()) });
            let nets = saved.iter().map(|text| prefix_of(text));
            let nets: BTreeMap<_, _> = nets.map(|net| (net, Arc::clone(&ban))).collect();
            for net in nets.keys() {
                kernel.model.ban(*net, bans::FOREVER);
            }
            match kernel.plane.bans().restore(nets) {
                Ok(restored) => restored,
                Err(error) => panic!("{error}"),
            }
        };
        let inside =
            ["203.0.113.9", "203.0.113.100", "198.18.4.4", "198.18.3.3", "2001:db8:a:1::1"];
        assert_eq!(restore(kernel), Restored::default());
        judge(kernel, &inside, Reason::Banned);
        for ban in saved {
            kernel.unban(ban);
        }
        judge(kernel, &inside, open);

        // Known to the kernel alone, known otherwise, and over.
        kernel.ban("198.19.0.1", None);
        kernel.ban("198.19.1.0/24", None);
        kernel.ban("203.0.113.9", Some(SHORT));
        kernel.ban("203.0.113.64/26", Some(SHORT));
        kernel.ban("198.18.3.0/24", Some(SHORT));
        kernel.ban("203.0.112.9", Some(SHORT));
        kernel.wait(SHORT + LATE);
        assert_eq!(restore(kernel), Restored { adopted: 2, no_room: 0 });
        judge(kernel, &inside, Reason::Banned);
        judge(kernel, &["198.19.0.1", "198.19.1.9"], Reason::Banned);
        judge(kernel, &["203.0.112.9", "198.19.0.2", "198.19.2.1"], open);
        let bans = kernel.plane.bans_ref();
        let told: Vec<String> = bans
            .after(None)
            .filter(|(_, ban)| ban.reason.is_none())
            .map(|(net, _)| net.to_string())
            .collect();
        assert_eq!(
            (bans.len(), told),
            (6, vec!["198.19.0.1/32".to_owned(), "198.19.1.0/24".to_owned()])
        );
        // The list and the kernel agree: what is taken back is.
        for ban in saved.iter().chain(&["198.19.0.1", "198.19.1.0/24"]) {
            kernel.unban(ban);
        }
        judge(kernel, &inside, open);
        judge(kernel, &["198.19.0.1", "198.19.1.9"], open);
    });
}
