//! The kernel's connection tracking, which a flood fills where it is in use.

use super::{Finding, host::Host};

const CHECK: &str = "conntrack";

pub(super) fn examine(host: &Host) -> Vec<Finding> {
    let read = |name| host.number(&format!("proc/sys/net/netfilter/nf_conntrack_{name}"));
    let (Some(count), Some(most)) = (read("count"), read("max")) else {
        return vec![Finding::ok(CHECK, "connections are not tracked")];
    };
    let percent = count.saturating_mul(100) / most.max(1);
    let what = format!("connection tracking holds {count} of at most {most} entries ({percent} %)");
    let found = match percent {
        90.. => {
            Finding::warning(CHECK, format!("{what}: beyond that the kernel drops what is new"))
        }
        70.. => Finding::note(CHECK, what),
        _ => return vec![Finding::ok(CHECK, what)],
    };
    let mend = format!("sysctl -w net.netfilter.nf_conntrack_max={}", most.saturating_mul(2));
    vec![found.mend(mend)]
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, host::fake::Fake},
        *,
    };

    #[test]
    fn a_full_table_is_told() {
        for (count, expected) in [("699", Level::Ok), ("700", Level::Note), ("900", Level::Warning)]
        {
            let fake = Fake::new(&[
                ("proc/sys/net/netfilter/nf_conntrack_count", count),
                ("proc/sys/net/netfilter/nf_conntrack_max", "1000\n"),
            ]);
            let [found] = &examine(&fake.host)[..] else { panic!("one") };
            assert_eq!(found.level, expected);
            assert_eq!(found.mend.is_some(), expected != Level::Ok);
        }
        assert_eq!(examine(&Fake::new(&[]).host)[0].level, Level::Ok);
    }
}
