//! The example policy that operators are shown.

use std::{num::NonZeroU32, time::Duration};

use super::*;
use crate::policy::{Icmp, Limits, Period, Policy, Rate, parse_with};

/// As the contract has it.
const EXAMPLE: &str = r##"interfaces = ["eth0", "wg0"]      # default: every interface with a default route
mode = "enforce"                 # or "monitor": judge and count, drop nothing
attach = "auto"                  # "native" | "generic" | "auto"

[sources]
trusted = ["10.8.0.0/24"]        # pass before any rule or limit
denied  = ["192.0.2.0/24"]       # dropped before any rule

[sets]                           # named addresses
operators = ["203.0.113.7", "2001:db8:1::/48"]
peers     = { file = "peers.txt" }

[[rule]]
name  = "ssh"
ports = ["tcp/22"]
from  = ["@operators"]           # default: everywhere
interfaces = ["wg0", "eth0"]     # default: all guarded ones

[[rule]]
name  = "p2p"
ports = ["tcp/15600", "tcp/30300-30309", "udp/14626"]
mode  = "enforce"                # "monitor" shadows this rule alone
idle_timeout = "10m"
[rule.per_source]                # an IPv4 address, an IPv6 /64
connections     = 8
new_connections = { rate = "20/s", burst = 40 }
packets         = { rate = "2000/s", burst = 4000 }
bytes           = { rate = "50MB/s" }
[rule.per_network]               # an IPv4 /24, an IPv6 /48
connections = 32
[rule.total]
new_connections = { rate = "5000/s" }

[[rule]]
name  = "p2p-special-peers"      # the same port, other sources: the longest prefix decides
ports = ["tcp/15600"]
from  = ["@peers"]

[icmp]
echo   = { rate = "10/s", burst = 20 }
errors = { rate = "1000/s" }

[protocols]
allow = ["esp", "gre"]

[prefixes]
source_ipv4 = 32
source_ipv6 = 64
network_ipv4 = 24
network_ipv6 = 48

[log]
drops = { rate = "50/s" }
flows = "/var/log/nodewall/flows.log"

[metrics]
listen = "127.0.0.1:9551"

[service]
on_stop = "keep"

[tables]
bans = 1_000_000
"##;

fn read(text: &str) -> Result<Loaded, Errors> {
    parse_with(text, Path::new(FILE), &mut |path| {
        assert_eq!(path, Path::new("/etc/nodewall/peers.txt"));
        Ok(b"198.51.100.9\n2001:db8:2::/48 # the lab\n".to_vec())
    })
}

#[test]
fn the_whole_of_it_is_read() {
    let loaded = read(EXAMPLE).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.warnings.is_empty(), "{}", listed(&loaded.warnings));
    let Policy { trusted, denied, rules, icmp, protocols, .. } = loaded.policy;
    assert_eq!(trusted, nets(&["10.8.0.0/24"]));
    assert_eq!(denied, nets(&["192.0.2.0/24"]));
    let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["ssh", "p2p", "p2p-special-peers"]);
    assert_eq!(rules[0].from.prefixes(), nets(&["203.0.113.7/32", "2001:db8:1::/48"]));
    assert_eq!(rules[2].from.prefixes(), nets(&["198.51.100.9/32", "2001:db8:2::/48"]));
    let rate = |amount, burst| Some(Rate { amount, period: Period::Second, burst });
    let limits = Limits {
        connections: NonZeroU32::new(8),
        new_connections: rate(20, 40),
        packets: rate(2_000, 4_000),
        bytes: rate(50_000_000, 50_000_000),
    };
    assert_eq!(rules[1].per_source, limits);
    let network = Limits { connections: NonZeroU32::new(32), ..Limits::default() };
    assert_eq!(rules[1].per_network, network);
    assert_eq!(rules[1].idle_timeout, Some(Duration::from_secs(600)));
    assert_eq!(rules[0].idle_timeout, None);
    let total = Limits { new_connections: rate(5_000, 5_000), ..Limits::default() };
    assert_eq!(rules[1].total, total);
    assert_eq!(icmp, Icmp { echo: rate(10, 20), errors: rate(1_000, 1_000) });
    assert_eq!(protocols, [47, 50]);
}
