//! One interface: whether the filter runs on it natively, and what keeps it.

use super::{
    Finding,
    netdev::{BASIC, RX_SG},
};
use crate::{
    dataplane::Interface,
    policy::{Attach, Policy},
};

/// The largest frame that fits into one page beside what XDP keeps free before
/// and behind it: beyond it a driver that hands over single buffers refuses.
/// Drivers' own limits are a little lower.
const ONE_BUFFER: u32 = 3_498;

/// What is known of an interface.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub interface: Interface,
    /// Such as `virtio_net`; `None`: a virtual link.
    pub driver: Option<String>,
    /// The XDP program on it, as it is named.
    pub program: Option<String>,
    /// VLAN links on top of it.
    pub vlans: Vec<String>,
    /// Bits of the kernel's `xdp-features`; `None`: it does not tell (before 6.3).
    pub xdp: Option<u64>,
    /// Names of the features that are on, as ethtool has them.
    pub features: Vec<String>,
    pub channels: Option<Channels>,
}

/// Queues.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Channels {
    /// Those that receive.
    pub receive: u32,
    /// Those of them that send too.
    pub combined: u32,
    /// How many of these there could be.
    pub combined_most: u32,
}

pub(super) fn examine(link: &Link, policy: Option<&Policy>, cpus: usize) -> Vec<Finding> {
    let attach = policy.map_or(Attach::Auto, |policy| policy.attach);
    let mut findings = Vec::new();
    findings.extend(hook(link));
    if !link.interface.can_be_read() {
        let name = &link.interface.name;
        findings.push(
            Finding::failure(
                "framing",
                format!(
                    "the frames of {name} are neither Ethernet nor bare IP: it cannot be guarded"
                ),
            )
            .mend(format!("take {name} out of `interfaces` in the policy")),
        );
        return findings;
    }
    findings.push(native(link, attach));
    if attach != Attach::Generic {
        findings.extend(mtu(link));
        findings.extend(offloads(link));
        findings.extend(queues(link, cpus));
    }
    findings.extend(vlans(link, policy));
    findings
}

/// Another program on the hook is not driven off.
fn hook(link: &Link) -> Option<Finding> {
    const CHECK: &str = "xdp_hook";
    let name = &link.interface.name;
    let program = link.program.as_ref()?;
    if program.starts_with("`nodewall`") {
        return Some(Finding::ok(
            CHECK,
            format!("nodewall's own program runs on {name} ({program})"),
        ));
    }
    Some(
        Finding::failure(
            CHECK,
            format!(
                "{name} has another XDP program ({program}), and nodewall does not share the hook"
            ),
        )
        .mend(format!("ip link set dev {name} xdp off (or stop the service that owns it)")),
    )
}

fn native(link: &Link, attach: Attach) -> Finding {
    const CHECK: &str = "native_xdp";
    let name = &link.interface.name;
    let driver =
        link.driver.as_ref().map_or_else(String::new, |driver| format!(" (driver {driver})"));
    if attach == Attach::Generic {
        return Finding::note(
            CHECK,
            format!(
                "the policy wants generic mode, so what the driver of {name} can do does not matter"
            ),
        );
    }
    match link.xdp {
        Some(features) if features & BASIC != 0 => {
            Finding::ok(CHECK, format!("the driver of {name}{driver} runs XDP programs natively"))
        }
        Some(_) if attach == Attach::Native => Finding::failure(
            CHECK,
            format!("the driver of {name}{driver} has no native XDP, and the policy wants nothing else"),
        )
        .mend("write `attach = \"auto\"` in the policy"),
        Some(_) => Finding::warning(
            CHECK,
            format!("the driver of {name}{driver} has no native XDP: the filter runs in generic mode, where each dropped packet costs more"),
        )
        .mend("use a network card or driver with native XDP, or write `attach = \"generic\"` to accept it"),
        None => Finding::note(
            CHECK,
            format!("whether the driver of {name}{driver} has native XDP is told by Linux 6.3 and newer; `nodewall status` shows how it runs"),
        ),
    }
}

/// Frames that do not fit into one buffer, where the driver hands over no others.
fn mtu(link: &Link) -> Option<Finding> {
    const CHECK: &str = "mtu";
    let Interface { name, mtu, .. } = &link.interface;
    if *mtu <= ONE_BUFFER {
        return None;
    }
    let what = format!("{name} has an MTU of {mtu}");
    match link.xdp {
        Some(features) if features & BASIC == 0 => None,
        Some(features) if features & RX_SG != 0 => {
            Some(Finding::ok(CHECK, format!("{what}, and its driver hands over frames of several buffers")))
        }
        Some(_) => Some(
            Finding::warning(CHECK, format!("{what}, which its driver does not take with native XDP: it hands over single buffers of at most about {ONE_BUFFER} bytes"))
                .mend(format!("ip link set dev {name} mtu 1500")),
        ),
        None => Some(
            Finding::note(CHECK, format!("{what}: many drivers refuse native XDP above about {ONE_BUFFER}"))
                .mend(format!("ip link set dev {name} mtu 1500 (if `nodewall status` shows generic)")),
        ),
    }
}

/// What merges packets in the card before the program sees them.
fn offloads(link: &Link) -> Vec<Finding> {
    const CHECK: &str = "offloads";
    let name = &link.interface.name;
    let is_on = |feature: &str| link.features.iter().any(|on| on == feature);
    let mut findings = Vec::new();
    if is_on("rx-lro") {
        findings.push(
            Finding::warning(
                CHECK,
                format!(
                    "{name} has large receive offload on, with which drivers refuse native XDP"
                ),
            )
            .mend(format!("ethtool -K {name} lro off")),
        );
    }
    if is_on("rx-gro-hw") {
        findings.push(
            Finding::note(CHECK, format!("{name} has hardware GRO on: most drivers turn it off for native XDP themselves, others refuse"))
                .mend(format!("ethtool -K {name} rx-gro-hw off")),
        );
    }
    findings
}

fn queues(link: &Link, cpus: usize) -> Option<Finding> {
    const CHECK: &str = "queues";
    let name = &link.interface.name;
    let Channels { receive, combined, combined_most } = link.channels?;
    // ena_xdp_legal_queue_count in the driver: a program needs as many queues again.
    if link.driver.as_deref() == Some("ena") && combined * 2 > combined_most {
        return Some(
            Finding::warning(CHECK, format!("{name} uses {combined} of {combined_most} queues: ena refuses native XDP with more than half of them"))
                .mend(format!("ethtool -L {name} combined {}", (combined_most / 2).max(1))),
        );
    }
    let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
    let could = combined_most.min(cpus);
    if receive < cpus && could > combined {
        return Some(
            Finding::note(CHECK, format!("{name} receives by {receive} queues, and there are {cpus} processors: a flood keeps {receive} of them busy at most"))
                .mend(format!("ethtool -L {name} combined {could}")),
        );
    }
    let plural = if receive == 1 { "" } else { "s" };
    Some(Finding::ok(
        CHECK,
        format!("{name} receives by {receive} queue{plural}; there are {cpus} processors"),
    ))
}

/// A card that takes the tag off hides from the program which VLAN it was.
fn vlans(link: &Link, policy: Option<&Policy>) -> Option<Finding> {
    const CHECK: &str = "vlan";
    let name = &link.interface.name;
    let strips = link.features.iter().any(|on| on == "rx-vlan-hw-parse");
    let [first, ..] = &link.vlans[..] else { return None };
    let named = policy.is_some_and(|policy| {
        let names = |list: &Option<Vec<String>>| {
            list.iter().flatten().any(|wanted| link.vlans.contains(wanted))
        };
        names(&policy.interfaces) || policy.rules.iter().any(|rule| names(&rule.interfaces))
    });
    if named {
        return Some(
            Finding::warning(CHECK, format!("the policy names {first}, a VLAN on {name}, which is guarded too: {name} judges each of its packets first, by the rules for {name}"))
                .mend(format!("guard {name} alone, or {first} alone")),
        );
    }
    let how = if strips {
        format!(
            "; its card takes the tags off before the filter sees them (`ethtool -K {name} rx-vlan-offload off` leaves them on)"
        )
    } else {
        String::new()
    };
    Some(Finding::note(
        CHECK,
        format!(
            "{name} carries VLANs ({}): their packets are judged by the rules for {name}, whatever their tag{how}",
            link.vlans.join(", ")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    fn link() -> Link {
        Link {
            interface: Interface {
                name: "eth0".to_owned(),
                index: 2,
                kind: 1,
                mtu: 1500,
                program: None,
                mode: None,
            },
            driver: Some("virtio_net".to_owned()),
            program: None,
            vlans: Vec::new(),
            xdp: Some(BASIC),
            features: vec!["rx-gro".to_owned()],
            channels: Some(Channels { receive: 4, combined: 4, combined_most: 4 }),
        }
    }

    #[track_caller]
    fn found(link: &Link, policy: &Policy, check: &str) -> (Level, String) {
        let all = examine(link, Some(policy), 4);
        let found = all.iter().find(|found| found.check == check);
        let found = found.unwrap_or_else(|| panic!("nothing of {check} in {all:?}"));
        (found.level, format!("{} {}", found.what, found.mend.clone().unwrap_or_default()))
    }

    #[test]
    fn a_link_without_fault_has_no_other_finding_than_ok() {
        let all = examine(&link(), Some(&Policy::default()), 4);
        assert!(all.iter().all(|found| found.level == Level::Ok), "{all:?}");
        assert!(all.iter().any(|found| found.check == "native_xdp"));
    }

    #[test]
    fn what_keeps_a_driver_from_native_mode_is_told() {
        let policy = Policy::default();
        let none = Link { xdp: Some(0), ..link() };
        assert_eq!(found(&none, &policy, "native_xdp").0, Level::Warning);
        let native = Policy { attach: Attach::Native, ..Policy::default() };
        assert_eq!(found(&none, &native, "native_xdp").0, Level::Failure);
        let generic = Policy { attach: Attach::Generic, ..Policy::default() };
        assert_eq!(found(&none, &generic, "native_xdp").0, Level::Note);
        assert_eq!(found(&Link { xdp: None, ..link() }, &policy, "native_xdp").0, Level::Note);

        let mut jumbo = link();
        jumbo.interface.mtu = 9000;
        let (level, text) = found(&jumbo, &policy, "mtu");
        assert!(
            level == Level::Warning && text.ends_with("ip link set dev eth0 mtu 1500"),
            "{text}"
        );
        jumbo.xdp = Some(BASIC | RX_SG);
        assert_eq!(found(&jumbo, &policy, "mtu").0, Level::Ok);

        for (feature, expected, command) in
            [("rx-lro", Level::Warning, "lro off"), ("rx-gro-hw", Level::Note, "rx-gro-hw off")]
        {
            let on = Link { features: vec![feature.to_owned()], ..link() };
            let (level, text) = found(&on, &policy, "offloads");
            assert!(level == expected && text.ends_with(command), "{text}");
        }
    }

    #[test]
    fn queues_are_held_against_processors_and_drivers() {
        let policy = Policy::default();
        let with =
            |receive, combined, combined_most| Some(Channels { receive, combined, combined_most });
        let few = Link { channels: with(1, 1, 8), ..link() };
        let (level, text) = found(&few, &policy, "queues");
        assert!(level == Level::Note && text.ends_with("ethtool -L eth0 combined 4"), "{text}");
        // There are no more to be had.
        assert_eq!(
            found(&Link { channels: with(1, 1, 1), ..link() }, &policy, "queues").0,
            Level::Ok
        );
        let ena = Link { driver: Some("ena".to_owned()), channels: with(8, 8, 8), ..link() };
        let (level, text) = found(&ena, &policy, "queues");
        assert!(level == Level::Warning && text.ends_with("combined 4"), "{text}");
    }

    #[test]
    fn the_hook_belongs_to_one() {
        let policy = Policy::default();
        let other = Link { program: Some("`xdp_drop`, id 7".to_owned()), ..link() };
        let (level, text) = found(&other, &policy, "xdp_hook");
        assert!(level == Level::Failure && text.contains("xdp off"), "{text}");
        let own = Link { program: Some("`nodewall`, id 7".to_owned()), ..link() };
        assert_eq!(found(&own, &policy, "xdp_hook").0, Level::Ok);
        let mut strange = link();
        strange.interface.kind = 801;
        assert_eq!(found(&strange, &policy, "framing").0, Level::Failure);
    }

    #[test]
    fn vlans_are_told_of() {
        let tagged = Link {
            vlans: vec!["eth0.5".to_owned()],
            features: vec!["rx-vlan-hw-parse".to_owned()],
            ..link()
        };
        let (level, text) = found(&tagged, &Policy::default(), "vlan");
        assert!(level == Level::Note && text.contains("rx-vlan-offload off"), "{text}");
        let both = vec!["eth0".to_owned(), "eth0.5".to_owned()];
        let policy = Policy { interfaces: Some(both), ..Policy::default() };
        assert_eq!(found(&tagged, &policy, "vlan").0, Level::Warning);
    }
}
