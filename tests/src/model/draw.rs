//! Draws cases: of few addresses, ports and times, so that what one packet
//! leaves is what another one meets.

mod act;
mod packet;
mod policy;

use proptest::{collection::vec, strategy::Strategy};

use super::Case;
use act::Act;

/// What packets and policies are drawn of.
mod pool {
    use std::{net::IpAddr, time::Duration};

    /// Remote addresses, the frequent ones first. `fe80::1` may send what is essential.
    pub const REMOTES: [[&str; 8]; 2] = [
        [
            "203.0.113.9",
            "203.0.113.10",
            "203.0.113.77",
            "198.18.0.1",
            "192.0.2.5",
            "192.0.2.200",
            "10.8.0.2",
            "203.0.114.1",
        ],
        [
            "2001:db8:9::9",
            "2001:db8:9::a",
            "2001:db8:9:1::9",
            "2001:db8:a::9",
            "fe80::1",
            "2001:db8:8::5",
            "2001:db8:8:1::6",
            "fd00::2",
        ],
    ];
    pub const LOCALS: [[&str; 2]; 2] =
        [["198.51.100.1", "198.51.100.2"], ["2001:db8:1::1", "2001:db8:1::2"]];
    pub const REMOTE_PORTS: [u16; 5] = [4000, 4001, 53, 67, 547];
    pub const LOCAL_PORTS: [u16; 10] = [22, 80, 443, 30301, 53, 9, 68, 546, 30300, 30304];
    /// Of rules.
    pub const PORTS: [&str; 10] = [
        "tcp/22",
        "tcp/80",
        "udp/53",
        "tcp/443",
        "udp/443",
        "tcp/30300-30303",
        "udp/30300-30303",
        "tcp/22-80",
        "udp/1-100",
        "tcp/1-1000",
    ];
    /// Of whom rules let in.
    pub const PREFIXES: [&str; 14] = [
        "203.0.113.0/24",
        "203.0.113.9/32",
        "203.0.0.0/16",
        "2001:db8:9::/64",
        "2001:db8::/32",
        "198.18.0.0/15",
        "0.0.0.0/0",
        "::/0",
        "2001:db8:9::9/128",
        "203.0.113.0/26",
        "2001:db8:9::/48",
        "192.0.2.0/25",
        "fe80::/10",
        "10.0.0.0/8",
    ];
    /// Of bans. The wider ones write the more words of a bitmap.
    pub const BANNED: [&str; 9] = [
        "203.0.113.9/32",
        "203.0.113.0/24",
        "2001:db8:9::9/128",
        "2001:db8:9::/64",
        "203.0.113.0/26",
        "203.0.112.0/22",
        "2001:db8::/32",
        "192.0.2.0/25",
        "2001:db8:9::/48",
    ];
    /// Of the address lists, which decide before anything else: of seldom addresses.
    pub const LISTED: [&str; 12] = [
        "192.0.2.0/24",
        "192.0.2.5/32",
        "192.0.2.200/32",
        "192.0.2.128/25",
        "2001:db8:8::/48",
        "2001:db8:8:1::/64",
        "2001:db8:8::5/128",
        "10.8.0.0/24",
        "10.8.0.0/16",
        "fd00::/31",
        "203.0.114.0/24",
        "203.0.113.77/32",
    ];
    /// Rules, by name.
    pub const RULES: [&str; 6] = ["r0", "r1", "r2", "r3", "r4", "r5"];
    /// Seconds and a little more or less; what rates, fragments, flows and bans go by.
    pub const TIMES: [Duration; 14] = [
        Duration::from_millis(1),
        Duration::from_secs(1),
        Duration::from_nanos(1),
        Duration::from_millis(100),
        Duration::from_nanos(999_999_999),
        Duration::from_secs(10),
        Duration::from_secs(29),
        Duration::from_secs(30),
        Duration::from_secs(60),
        Duration::from_secs(119),
        Duration::from_secs(121),
        Duration::from_secs(245),
        Duration::from_secs(3600),
        Duration::from_secs(86_400),
    ];

    /// An address, or what a constant above has in its place.
    pub fn address(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"))
    }
}

/// Cases of so many acts at most, each of one packet or of many.
pub fn cases(acts: usize) -> impl Strategy<Value = Case> {
    (vec(policy::policies(), 1..4), vec(act::acts(), 1..acts)).prop_map(|(policies, acts)| {
        let mut steps = Vec::new();
        acts.iter().for_each(|act: &Act| act.steps(policies.len(), &mut steps));
        Case { policies, steps }
    })
}
