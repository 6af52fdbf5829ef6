//! A container as Docker makes one: a namespace of its own behind the host's,
//! with a published port (DNAT) and masqueraded connections out.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
};

use sandbox::{HOST_LINK, Namespace, Sandbox, Veth, VethOptions};

/// The rules, but for the host's ports.
const MASQUERADE: &str =
    "chain out { type nat hook postrouting priority srcnat; oifname \"nw0\" masquerade; }";

/// Host and peer, and a container behind the host.
#[derive(Debug)]
pub struct Contained {
    /// Host and peer.
    pub world: Sandbox,
    /// The container: 10.18.0.2/24 and fd00:18::2/64.
    pub container: Namespace,
}

impl Contained {
    /// Publishes the host's port `published` (TCP and UDP) as the container's
    /// `own`. `None`, with the reason printed, where there is no `nft`.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(published: u16, own: u16) -> Option<Self> {
        if Command::new("nft").arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: there is no `nft`, which `cargo xtask setup --all` installs");
            return None;
        }
        let world = Sandbox::pair().expect("a pair");
        let container = Namespace::new("container").expect("a namespace");
        let ends = ((&world.host, "docker0"), (&container, "eth0"));
        let link = Veth::new(ends.0, ends.1, VethOptions::default()).expect("a link");
        for (near, far) in [("10.18.0.1/24", "10.18.0.2/24"), ("fd00:18::1/64", "fd00:18::2/64")] {
            link.a.add_address(near.parse().expect("a prefix")).expect("an address");
            link.b.add_address(far.parse().expect("a prefix")).expect("an address");
        }
        for (everywhere, via) in [("0.0.0.0/0", "10.18.0.1"), ("::/0", "fd00:18::1")] {
            let via = via.parse().expect("an address");
            link.b.add_route(everywhere.parse().expect("a prefix"), Some(via)).expect("a route");
        }
        for parameter in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            world.host.set_parameter(parameter, "1").expect("the host forwards");
        }
        let mut dnat = String::new();
        for protocol in ["tcp", "udp"] {
            for to in [format!("ip to 10.18.0.2:{own}"), format!("ip6 to [fd00:18::2]:{own}")] {
                dnat +=
                    &format!("iifname \"{HOST_LINK}\" {protocol} dport {published} dnat {to}; ");
            }
        }
        let rules = format!(
            "table inet docker {{ chain in {{ type nat hook prerouting priority dstnat; {dnat}}}\n{MASQUERADE}\n}}\n"
        );
        let mut nft = Command::new("nft");
        nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = world.host.spawn(nft).expect("nft runs");
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(rules.as_bytes()).expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        Some(Self { world, container })
    }

    /// Where the container listens, in both families.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn own(port: u16) -> [SocketAddr; 2] {
        ["10.18.0.2", "fd00:18::2"]
            .map(|address| SocketAddr::new(address.parse().expect("an address"), port))
    }
}
