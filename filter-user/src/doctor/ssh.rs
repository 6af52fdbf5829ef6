//! Whether whoever operates this host can log in, and who else can try.

use std::collections::{BTreeSet, HashSet};

use super::{Finding, host::Host};
use crate::{
    policy::{Mode, Policy, Protocol, Rule, Source},
    ssh,
};

const CHECK: &str = "ssh";
/// Of a socket in /proc/net/tcp.
const LISTEN: &str = "0A";
/// systemd listens here in the name of sshd, where `ssh.socket` starts it.
const BY_SYSTEMD: u16 = 22;

pub(super) fn examine(host: &Host, policy: Option<&Policy>) -> Vec<Finding> {
    let ports = ports(host);
    if ports.is_empty() {
        return vec![Finding::note(
            CHECK,
            "no sshd that can be seen listens for other hosts: whether you can log in under the policy cannot be told",
        )];
    }
    let Some(policy) = policy else { return Vec::new() };
    ports.into_iter().map(|port| under(policy, port)).collect()
}

fn under(policy: &Policy, port: u16) -> Finding {
    let admits = |rule: &&Rule| {
        rule.ports.iter().any(|range| {
            range.protocol == Protocol::Tcp && range.first <= port && port <= range.last
        }) && !rule.from.prefixes().is_empty()
    };
    let rules: Vec<&Rule> = policy.rules.iter().filter(admits).collect();
    let what = format!("sshd listens on tcp/{port}");
    let names = || rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>().join(", ");
    let shown = format!(
        "[[rule]] name = \"ssh\", ports = [\"tcp/{port}\"], from = [\"@operators\"], with your addresses in `operators` of `[sets]`"
    );
    if rules.is_empty() {
        let mend = format!("add to the policy: {shown}");
        if !policy.trusted.is_empty() {
            let what = format!("{what}, and no rule is for it: only trusted sources can log in");
            return Finding::warning(CHECK, what).mend(mend);
        }
        let what =
            format!("{what}, and no rule of the policy is for it: nobody could log in any more");
        return match policy.mode {
            Mode::Enforce => Finding::failure(CHECK, what).mend(mend),
            Mode::Monitor => {
                Finding::warning(CHECK, format!("{what} once it is enforced")).mend(mend)
            }
        };
    }
    let everywhere = |rule: &&&Rule| {
        rule.from == Source::Anywhere
            || rule.from.prefixes().iter().any(|prefix| prefix.prefix_len() == 0)
    };
    if let Some(open) = rules.iter().find(everywhere) {
        return Finding::warning(
            CHECK,
            format!("{what}, and the rule {} opens it to everybody", open.name),
        )
        .mend("name the addresses that you log in from in its `from`");
    }
    Finding::ok(CHECK, format!("{what}, for the sources of {} alone", names()))
}

/// The ports on which sshd listens for other hosts.
fn ports(host: &Host) -> BTreeSet<u16> {
    let listeners = ["tcp", "tcp6"]
        .map(|table| listeners(&host.read(&format!("proc/self/net/{table}")).unwrap_or_default()));
    let proc = host.path("proc");
    let (of_sshd, all_seen) = ssh::held(&proc);
    let of_systemd = ssh::sockets(&proc.join("1")).unwrap_or_default();
    let configured = match all_seen {
        true => HashSet::new(),
        false => ssh::configured_ports(&host.path("etc/ssh/sshd_config")),
    };
    listeners
        .into_iter()
        .flatten()
        .filter(|(port, inode)| {
            of_sshd.contains(inode)
                || *port == BY_SYSTEMD && of_systemd.contains(inode)
                || configured.contains(port)
        })
        .map(|(port, _)| port)
        .collect()
}

/// Port and inode of each listener that is not for this host alone.
fn listeners(table: &str) -> Vec<(u16, u64)> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, _, _, _, _, _, inode, ..] = words[..] else { return None };
            let (address, port) = local.split_once(':')?;
            // 127.0.0.0/8 and ::1, in the order of this processor's bytes.
            let is_loopback = match address.len() {
                8 => address.ends_with("7F"),
                _ => address == "00000000000000000000000001000000",
            };
            let port = u16::from_str_radix(port, 16).ok()?;
            (state == LISTEN && !is_loopback).then_some((port, inode.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, host::fake::Fake},
        *,
    };
    use crate::policy;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0\n   \
        1: 0100007F:177A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 112 1 0 100 0 0 10 0\n   \
        2: 0100000A:0016 0200000A:D431 01 00000000:00000000 00:00000000 00000000     0        0 113 1 0 100 0 0 10 0\n";
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 00000000000000000000000000000000:08AE 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0\n   \
        1: 00000000000000000000000001000000:177A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 223 1 0 100 0 0 10 0\n";

    fn host(comm: &str, process: &str) -> Fake {
        let fake = Fake::new(&[("proc/self/net/tcp", TCP), ("proc/self/net/tcp6", TCP6)]);
        fake.write("proc/1/comm", "systemd\n");
        fake.write(&format!("proc/{process}/comm"), &format!("{comm}\n"));
        for (number, inode) in [111, 112, 113, 222, 223].iter().enumerate() {
            fake.link(&format!("proc/{process}/fd/{number}"), &format!("socket:[{inode}]"));
        }
        fake
    }

    #[test]
    fn sshd_is_found_by_its_sockets() {
        // Neither what listens for this host alone nor a connection.
        assert_eq!(ports(&host("sshd", "77").host), BTreeSet::from([22, 2222]));
        assert_eq!(ports(&host("systemd", "1").host), BTreeSet::from([22]));
        assert!(ports(&host("nginx", "77").host).is_empty());
        assert!(ports(&host("systemd", "77").host).is_empty());
        // Where processes are hidden the configuration has the word.
        let hidden = Fake::new(&[
            ("proc/self/net/tcp", TCP),
            ("proc/self/net/tcp6", TCP6),
            ("etc/ssh/sshd_config", "Port 2222\n"),
        ]);
        assert_eq!(ports(&hidden.host), BTreeSet::from([2222]));
    }

    #[test]
    fn who_may_log_in_is_told() -> Result<(), policy::Errors> {
        let rule =
            |from: &str| format!("[[rule]]\nname = \"ssh\"\nports = [\"tcp/20-25\"]\n{from}\n");
        for (text, expected, named) in [
            (rule("from = [\"192.0.2.0/24\"]"), Level::Ok, "the sources of ssh"),
            (rule(""), Level::Warning, "opens it to everybody"),
            (rule("from = [\"0.0.0.0/0\"]"), Level::Warning, "opens it to everybody"),
            (String::new(), Level::Failure, "nobody could log in"),
            ("[[rule]]\nname = \"x\"\nports = [\"udp/22\"]\n".to_owned(), Level::Failure, "nobody"),
            ("mode = \"monitor\"\n".to_owned(), Level::Warning, "once it is enforced"),
            ("[sources]\ntrusted = [\"10.0.0.0/8\"]\n".to_owned(), Level::Warning, "only trusted"),
        ] {
            let loaded = policy::parse(&text, std::path::Path::new("/p.toml"))?;
            let found = under(&loaded.policy, 22);
            assert_eq!(found.level, expected, "{text}");
            assert!(found.what.contains(named), "{}", found.what);
        }
        Ok(())
    }
}
