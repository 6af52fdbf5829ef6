//! What this process may do, and what everybody may.

use super::{Finding, host::Host};

/// Those that the daemon needs, by their numbers (capabilities(7)).
const NEEDED: [(&str, u32); 3] = [("CAP_BPF", 39), ("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38)];
/// It stands for CAP_BPF and CAP_PERFMON too.
const SYS_ADMIN: u32 = 21;

pub(super) fn examine(host: &Host) -> Vec<Finding> {
    let mut findings = vec![capabilities(host)];
    findings.extend(unprivileged(host));
    findings
}

fn capabilities(host: &Host) -> Finding {
    const CHECK: &str = "privileges";
    let status = host.read("proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let Some(effective) = effective else {
        return Finding::warning(
            CHECK,
            "/proc/self/status does not tell this process's capabilities",
        )
        .mend("mount -t proc proc /proc");
    };
    let has = |bit: u32| effective >> bit & 1 == 1;
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|(name, bit)| !has(*bit) && (*name == "CAP_NET_ADMIN" || !has(SYS_ADMIN)))
        .map(|(name, _)| name)
        .collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, "this process may load and attach BPF programs");
    }
    Finding::failure(
        CHECK,
        format!("this process lacks {}: a daemon that is started like it could not load the filter, and some of what follows cannot be seen", missing.join(", ")),
    )
    .mend("sudo nodewall doctor")
}

fn unprivileged(host: &Host) -> Option<Finding> {
    const CHECK: &str = "unprivileged_bpf";
    match host.number("proc/sys/kernel/unprivileged_bpf_disabled")? {
        0 => Some(
            Finding::note(
                CHECK,
                "every user may load BPF programs; nodewall does not need that, and the kernel's makers advise against it",
            )
            .mend("sysctl -w kernel.unprivileged_bpf_disabled=1"),
        ),
        _ => Some(Finding::ok(CHECK, "only privileged users may load BPF programs")),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, host::fake::Fake},
        *,
    };

    #[test]
    fn each_missing_capability_is_named() {
        for (effective, expected, named) in [
            ("000001ffffffffff", Level::Ok, ""),
            ("0000000000000000", Level::Failure, "lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"),
            ("000000c000001000", Level::Ok, ""),
            ("0000008000001000", Level::Failure, "lacks CAP_PERFMON:"),
            ("0000000000201000", Level::Ok, ""),
            ("0000000000200000", Level::Failure, "lacks CAP_NET_ADMIN:"),
        ] {
            let status = format!("Name:\tx\nCapEff:\t{effective}\n");
            let fake = Fake::new(&[("proc/self/status", &status)]);
            let found = capabilities(&fake.host);
            assert_eq!(found.level, expected, "{effective}");
            assert!(found.what.contains(named), "{}", found.what);
        }
    }

    #[test]
    fn bpf_for_everybody_is_noted() {
        let setting = "proc/sys/kernel/unprivileged_bpf_disabled";
        for (text, expected) in [("0\n", Level::Note), ("1\n", Level::Ok), ("2\n", Level::Ok)] {
            let fake = Fake::new(&[(setting, text)]);
            assert_eq!(unprivileged(&fake.host).map(|found| found.level), Some(expected));
        }
        assert_eq!(unprivileged(&Fake::new(&[]).host), None);
    }
}
