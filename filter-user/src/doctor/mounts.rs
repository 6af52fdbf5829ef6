//! File systems of the kernel's that the daemon uses.

use super::{Finding, host::Host};

pub(super) fn examine(host: &Host) -> Vec<Finding> {
    let mounts = host.read("proc/self/mounts").unwrap_or_default();
    let at = |kind: &str| {
        mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (path, found) = (words.next()?, words.next()?);
            (found == kind).then(|| path.replace("\\040", " "))
        })
    };
    let bpffs = match at("bpf") {
        Some(path) => Finding::ok("bpffs", format!("programs and tables can be pinned below {path}")),
        None => Finding::failure(
            "bpffs",
            "no file system of type bpf is mounted: nothing can be pinned that is to outlive the daemon",
        )
        .mend("mount -t bpf bpf /sys/fs/bpf"),
    };
    let cgroup = match at("cgroup2") {
        Some(path) => Finding::ok("cgroup2", format!("connections are counted as they come and go, by the cgroup {path}")),
        None => Finding::warning(
            "cgroup2",
            "no file system of type cgroup2 is mounted: connections are counted every few seconds only",
        )
        .mend("mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"),
    };
    vec![bpffs, cgroup]
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, host::fake::Fake},
        *,
    };

    #[test]
    fn what_is_not_mounted_is_told_with_the_command() {
        let levels = |mounts| {
            let fake = Fake::new(&[("proc/self/mounts", mounts)]);
            examine(&fake.host).into_iter().map(|found| found.level).collect::<Vec<_>>()
        };
        let both = "bpf /sys/fs/bpf bpf rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert_eq!(levels(both), [Level::Ok, Level::Ok]);
        // Others that are only called so.
        let neither = "bpf /bpf tmpfs rw 0 0\ncgroup /sys/fs/cgroup cgroup rw 0 0\n";
        assert_eq!(levels(neither), [Level::Failure, Level::Warning]);
    }
}
