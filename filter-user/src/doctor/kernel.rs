//! The kernel: its version, and what it was built and started with.

use aya::util::KernelVersion;

use super::{Finding, host::Host};
use crate::dataplane::minimum_kernel;

/// The first kernel with TCX.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

pub(super) fn examine(host: &Host) -> Vec<Finding> {
    let mut findings = vec![version(host), btf(host), jit(host)];
    findings.extend(lockdown(host));
    findings
}

fn version(host: &Host) -> Finding {
    const CHECK: &str = "kernel";
    let release = host.read("proc/sys/kernel/osrelease").unwrap_or_default();
    let Some(found) = parse(&release) else {
        return Finding::warning(
            CHECK,
            format!("`{release}` is no version of Linux that can be read"),
        )
        .mend("uname -r");
    };
    let needed = minimum_kernel().code();
    let needed = format!("{}.{}", needed >> 16, needed >> 8 & 0xff);
    if found < minimum_kernel() {
        return Finding::failure(
            CHECK,
            format!("this is Linux {release}, and nodewall needs {needed} or newer"),
        )
        .mend(
            "boot a newer kernel: apt install linux-image-amd64 (Debian 12 has 6.1), and restart",
        );
    }
    if found < TCX {
        let what = format!(
            "Linux {release} has no TCX (6.6): the classifier of what is sent is a filter of the clsact qdisc, which whoever may change qdiscs can delete"
        );
        return Finding::note(CHECK, what);
    }
    Finding::ok(CHECK, format!("Linux {release}: {needed} or newer, with TCX"))
}

/// `6.1.0-13-amd64` and the like.
fn parse(release: &str) -> Option<KernelVersion> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(KernelVersion::new(major, minor, 0))
}

fn btf(host: &Host) -> Finding {
    const CHECK: &str = "btf";
    if host.path("sys/kernel/btf/vmlinux").is_file() {
        return Finding::ok(CHECK, "the kernel describes its types in /sys/kernel/btf/vmlinux");
    }
    Finding::warning(
        CHECK,
        "there is no /sys/kernel/btf/vmlinux: the program was never tried on a kernel that does not describe its types",
    )
    .mend("boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels have; see that /sys is mounted")
}

fn jit(host: &Host) -> Finding {
    const CHECK: &str = "jit";
    match host.number("proc/sys/net/core/bpf_jit_enable") {
        Some(0) => Finding::warning(
            CHECK,
            "the kernel interprets BPF programs, which costs each packet several times as much",
        )
        .mend("sysctl -w net.core.bpf_jit_enable=1"),
        Some(_) => Finding::ok(CHECK, "BPF programs are compiled"),
        None => Finding::note(
            CHECK,
            "net.core.bpf_jit_enable cannot be read here, as in a network namespace: whether BPF programs are compiled is not known",
        ),
    }
}

fn lockdown(host: &Host) -> Option<Finding> {
    const CHECK: &str = "lockdown";
    let text = host.read("sys/kernel/security/lockdown")?;
    let mode =
        text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))?;
    Some(match mode {
        "confidentiality" => Finding::failure(
            CHECK,
            "the kernel is locked down (confidentiality) and refuses BPF programs",
        )
        .mend("boot without `lockdown=confidentiality`, or leave out the option that turns it on with Secure Boot"),
        other => Finding::ok(CHECK, format!("lockdown is {other}, which lets BPF programs run")),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, host::fake::Fake},
        *,
    };

    fn level(files: &[(&str, &str)], check: &str) -> Option<Level> {
        let fake = Fake::new(files);
        examine(&fake.host).iter().find(|found| found.check == check).map(|found| found.level)
    }

    #[test]
    fn versions_are_held_against_what_is_needed() {
        for (release, expected) in [
            ("5.10.0-28-amd64\n", Level::Failure),
            ("6.0.19", Level::Failure),
            ("6.1.0-13-amd64\n", Level::Note),
            ("6.6.1", Level::Ok),
            ("7.3-rc2", Level::Ok),
            ("unknown", Level::Warning),
        ] {
            let found = level(&[("proc/sys/kernel/osrelease", release)], "kernel");
            assert_eq!(found, Some(expected), "{release}");
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_told() {
        assert_eq!(level(&[], "btf"), Some(Level::Warning));
        assert_eq!(level(&[("sys/kernel/btf/vmlinux", "x")], "btf"), Some(Level::Ok));
        let jit = "proc/sys/net/core/bpf_jit_enable";
        assert_eq!(level(&[(jit, "0\n")], "jit"), Some(Level::Warning));
        assert_eq!(level(&[(jit, "1\n")], "jit"), Some(Level::Ok));
        assert_eq!(level(&[], "jit"), Some(Level::Note));
        let lockdown = "sys/kernel/security/lockdown";
        let found = |text| level(&[(lockdown, text)], "lockdown");
        assert_eq!(found("none integrity [confidentiality]\n"), Some(Level::Failure));
        assert_eq!(found("none [integrity] confidentiality\n"), Some(Level::Ok));
        assert_eq!(level(&[], "lockdown"), None);
    }
}
