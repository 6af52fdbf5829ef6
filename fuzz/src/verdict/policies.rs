//! The policies that scripts switch between. Their rules share names, so that
//! buckets, and datagrams in pieces, go on under another limit.

use std::{path::Path, sync::OnceLock};

use filter_user::{
    compile::{Numbers, Tables, compile},
    policy::{Policy, parse},
};

/// One of them.
pub struct Compiled {
    pub policy: Policy,
    pub tables: Tables,
}

/// All of them.
pub struct Policies {
    pub all: Vec<Compiled>,
    /// The names of rules, by their numbers.
    pub rules: Vec<String>,
}

/// The interfaces by their numbers. The last has no Ethernet framing.
pub const INTERFACES: [&str; 4] = ["", "eth0", "eth1", "wg0"];

/// Everything that a policy can say of packets.
const EVERYTHING: &str = r#"
interfaces = ["eth0", "eth1", "wg0"]
[sources]
trusted = ["10.8.0.0/24", "192.0.2.7", "2001:db8:a::/48", "2001:db8:b::7"]
denied = ["10.8.0.0/16", "192.0.2.0/25", "2001:db8:a:1::/64", "2001:db8:b::/48"]
[sets]
special = ["203.0.113.64/26", "203.0.113.9", "2001:db8:9:9::/64"]
[[rule]]
name = "ssh"
ports = ["tcp/22"]
from = ["203.0.113.0/24", "2001:db8:9::/48"]
interfaces = ["wg0", "eth1"]
[[rule]]
name = "p2p"
ports = ["tcp/15600", "tcp/30300-30309", "udp/14626"]
[rule.per_source]
connections = 2
new_connections = { rate = "5/s", burst = 3 }
packets = { rate = "20/s", burst = 6 }
bytes = { rate = "2kB/s", burst = "1kB" }
[rule.per_network]
connections = 3
new_connections = { rate = "7/s", burst = 5 }
packets = { rate = "30/s", burst = 9 }
bytes = { rate = "3kB/s", burst = "2kB" }
[rule.total]
connections = 4
new_connections = { rate = "4/s", burst = 8 }
packets = { rate = "40/s", burst = 12 }
bytes = { rate = "4kB/s", burst = "3kB" }
[[rule]]
name = "special"
ports = ["tcp/15600", "udp/14626"]
from = ["@special"]
[rule.per_source]
bytes = { rate = "1kB/h", burst = "1500B" }
[[rule]]
name = "shadow"
ports = ["udp/53", "tcp/53"]
mode = "monitor"
[rule.total]
packets = { rate = "1/m", burst = 2 }
[[rule]]
name = "few"
ports = ["udp/1-9"]
from = ["203.0.113.9"]
mode = "monitor"
[icmp]
echo = { rate = "10/s", burst = 4 }
errors = { rate = "100/s", burst = 5 }
[protocols]
allow = ["gre", "esp"]
"#;

/// Little, and other limits for what is left.
const LITTLE: &str = r#"
interfaces = ["eth0", "eth1", "wg0"]
[[rule]]
name = "p2p"
ports = ["tcp/15600", "udp/14626"]
[rule.per_source]
packets = { rate = "1/h", burst = 1 }
[[rule]]
name = "dns"
ports = ["udp/53"]
[prefixes]
source_ipv4 = 16
source_ipv6 = 32
network_ipv4 = 8
network_ipv6 = 16
"#;

impl Policies {
    /// Made once.
    pub fn get() -> &'static Self {
        static ONCE: OnceLock<Policies> = OnceLock::new();
        ONCE.get_or_init(|| {
            let (mut rules, mut interfaces) = (Numbers::of_rules(), Numbers::of_interfaces());
            for name in INTERFACES.iter().skip(1) {
                interfaces.get_or_add(name);
            }
            let texts = [
                EVERYTHING.to_owned(),
                format!("mode = \"monitor\"\n{EVERYTHING}"),
                LITTLE.to_owned(),
                String::new(),
            ];
            let all = texts.iter().map(|text| {
                let policy = match parse(text, Path::new("/fuzz.toml")) {
                    Ok(loaded) => loaded.policy,
                    Err(errors) => panic!("{errors}"),
                };
                let tables = compile(&policy, &mut rules, &mut interfaces).expect("it has room");
                Compiled { policy, tables }
            });
            let all = all.collect();
            let mut names: Vec<_> = rules.iter().collect();
            names.sort_by_key(|(_, number)| *number);
            let rules = names.into_iter().map(|(name, _)| name.to_owned()).collect();
            Self { all, rules }
        })
    }
}
