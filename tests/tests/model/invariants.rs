//! What must hold of every policy and every sequence of packets, on the host build.

use std::{collections::BTreeMap, num::NonZeroU32};

use filter_common::{
    Outcome, Reason, Scope, Verdict,
    rate::{TICKS_PER_NS, ahead},
    read::{self, Parsed},
    tables::{ECHO, Limits, SourceKey, rule},
};
use filter_user::{
    compile::Tables,
    model::Contents,
    policy::{self, Mode, Period, Policy, PortRange, Protocol, Rate, Source},
};
use ipnet::IpNet;
use nodewall_tests::model::{
    Case, Difference, Host, Interface, Played, Prepared, Step, play, play_with, told,
};

use crate::common::{ACTS, START, fresh_seed, in_guest, search};

/// Of each property; a case that breaks one is found early or never.
const PACKETS: usize = 10_000;

fn differs<T>(text: String) -> Result<T, Difference> {
    Err(Difference(text))
}

/// Draws cases and holds each to a property.
#[track_caller]
fn always(property: impl Fn(&Case, &Prepared) -> Result<Played, Difference>) {
    if in_guest() {
        println!("not here: no kernel has a part in it");
        return;
    }
    for seed in [1, fresh_seed()] {
        println!("seed {seed}");
        let seen = search(seed, PACKETS, ACTS, |case| property(case, &prepared(case)));
        if let Err(found) = seen {
            panic!("seed {seed}, after {} packets:\n{found}", found.after);
        }
    }
}

fn prepared(case: &Case) -> Prepared {
    case.prepare().unwrap_or_else(|error| panic!("{error}\n{case}"))
}

fn prepared_as(case: &Case, policies: Vec<Policy>) -> Prepared {
    case.prepare_as(policies).unwrap_or_else(|error| panic!("{error}\n{case}"))
}

/// The reason that an outcome has, or would have without monitor mode.
fn judged(outcome: &Outcome) -> Reason {
    outcome.monitored.unwrap_or(outcome.reason)
}

/// The words of all buckets that packets have paid into.
fn buckets(contents: &Contents) -> BTreeMap<String, [u64; 3]> {
    let sources = contents.sources.iter().map(|(key, words)| (format!("{key:?}"), *words));
    let totals = contents.totals.iter().map(|(key, words)| (format!("{key:?}"), *words));
    let interfaces = contents.interfaces.iter();
    let interfaces = interfaces.map(|(key, word)| (format!("interface {key:?}"), [*word, 0, 0]));
    sources.chain(totals).chain(interfaces).filter(|(_, words)| *words != [0; 3]).collect()
}

#[test]
fn what_is_refused_takes_no_token_anywhere() {
    always(|case, prepared| {
        let mut before = BTreeMap::new();
        let mut broken = None;
        let played =
            play_with(case, prepared, &mut Host::default(), START, |host, step, _, outcome| {
                let after = buckets(&host.model.contents());
                let refused = judged(outcome).verdict() == Verdict::Drop;
                if refused && after != before && broken.is_none() {
                    broken = Some(format!(
                        "step {step}, {}: buckets were {before:#?}, are {after:#?}",
                        told(outcome)
                    ));
                }
                before = after;
            });
        broken.map_or(Ok(played), differs)
    });
}

/// What a bucket may owe: as much as it holds. Where the policy has no limit, nothing.
fn room(tables: &Tables, key: &SourceKey) -> [u64; 3] {
    let windows = |limits: &Limits| {
        [limits.new_connections, limits.packets, limits.bytes].map(|limit| limit.window)
    };
    if key.rule == ECHO {
        return [0, tables.generation.echo.window, 0];
    }
    let rule = tables.rules[1..].iter().find(|rule| rule.id == key.rule);
    rule.map_or([0; 3], |rule| windows(&rule.limits[key.scope as usize]))
}

#[test]
fn no_bucket_ever_owes_more_than_it_holds() {
    always(|case, _| {
        // One policy: another one's buckets are not as large.
        let mut case = case.clone();
        case.steps.retain(|step| !matches!(step, Step::Switch(_)));
        let prepared = prepared(&case);
        let tables = &prepared.tables[0];
        let mut broken = None;
        let played =
            play_with(&case, &prepared, &mut Host::default(), START, |host, step, now, outcome| {
                let contents = host.model.contents();
                let place = |rule, strangers| {
                    let scope = if strangers { rule::STRANGERS } else { Scope::Total as usize };
                    SourceKey { rule, scope: scope as u32, ..SourceKey::default() }
                };
                let totals = contents.totals.iter();
                let totals =
                    totals.map(|((id, strangers), words)| (place(*id, *strangers), *words));
                for (key, words) in contents.sources.iter().copied().chain(totals) {
                    let owed = words.map(|tat| ahead(tat, now * TICKS_PER_NS));
                    let room = room(tables, &key);
                    if owed.iter().zip(&room).any(|(owed, room)| owed > room) && broken.is_none() {
                        broken = Some(format!(
                            "step {step}, {}: {key:?} owes {owed:?} of {room:?}",
                            told(outcome)
                        ));
                    }
                }
            });
        broken.map_or(Ok(played), differs)
    });
}

/// The address that the frame comes from, where it can be read.
fn source(interface: Interface, frame: &[u8]) -> Option<std::net::IpAddr> {
    let mut parsed = Parsed::default();
    let read = read::packet(frame, interface.raw_ip(), &mut parsed);
    (read == Reason::Rule).then(|| parsed.flow.source.into())
}

#[test]
fn trusted_beats_denied_beats_rules() {
    always(|case, prepared| {
        let played = play(case, prepared, &mut Host::default(), START);
        let mut outcomes = played.outcomes.iter();
        let mut policy = 0;
        for step in &case.steps {
            let (interface, frame) = match step {
                Step::Switch(next) => {
                    policy = next % prepared.policies.len();
                    continue;
                }
                Step::Receive(interface, frame) => (interface, frame),
                _ => continue,
            };
            let Some((number, outcome)) = outcomes.next() else { break };
            let reason = judged(outcome);
            let Some(source) = source(*interface, frame) else { continue };
            if reason == Reason::Essential {
                continue;
            }
            let Policy { trusted, denied, .. } = &prepared.policies[policy];
            let holds = |list: &[IpNet]| list.iter().any(|net| net.contains(&source));
            let due = if holds(trusted) {
                Some(Reason::Trusted)
            } else if holds(denied) {
                Some(Reason::Denied)
            } else {
                None
            };
            let is_listed = matches!(reason, Reason::Trusted | Reason::Denied);
            if due.map_or(is_listed, |due| reason != due) {
                return differs(format!("step {number}, from {source}: {}", told(outcome)));
            }
        }
        Ok(played)
    });
}

#[test]
fn monitor_and_enforce_agree_on_what_would_drop() {
    always(|case, prepared| {
        // What monitor mode lets through the host answers, which is no beginning of
        // its own: without what it sends both know the same.
        let mut case = case.clone();
        case.steps.retain(|step| !matches!(step, Step::Send(..)));
        let [enforced, monitored] = [Mode::Enforce, Mode::Monitor].map(|mode| {
            let policies = prepared.policies.iter().cloned();
            let prepared =
                prepared_as(&case, policies.map(|policy| Policy { mode, ..policy }).collect());
            play(&case, &prepared, &mut Host::default(), START)
        });
        for ((step, one), (_, other)) in enforced.outcomes.iter().zip(&monitored.outcomes) {
            let would =
                (judged(one), one.rule, one.scope) == (judged(other), other.rule, other.scope);
            if !would || other.verdict() == Verdict::Drop {
                return differs(format!("step {step}: {} and {}", told(one), told(other)));
            }
        }
        Ok(monitored)
    });
}

/// What passes by a policy passes by one that allows more, each packet of a
/// sequence. Without rates, of which one packet may take what another then lacks,
/// and without bans; with `[icmp]` open, because what a rule admits is not noted
/// when it is sent, and errors about it are then strangers'.
#[test]
fn a_policy_that_allows_more_drops_nothing_more() {
    always(|case, prepared| {
        let strict: Vec<Policy> = prepared.policies.iter().map(without_rates).collect();
        let one = play(case, &prepared_as(case, strict.clone()), &mut Host::default(), START);
        for (what, loosen) in LOOSENINGS {
            let loose = strict.iter().cloned().map(loosen).collect();
            let other = play(case, &prepared_as(case, loose), &mut Host::default(), START);
            for ((step, strict), (_, loose)) in one.outcomes.iter().zip(&other.outcomes) {
                if strict.verdict() == Verdict::Pass && loose.verdict() == Verdict::Drop {
                    return differs(format!(
                        "step {step}: {}, and with {what} {}",
                        told(strict),
                        told(loose)
                    ));
                }
            }
        }
        Ok(one)
    });
}

type Loosening = (&'static str, fn(Policy) -> Policy);

const LOOSENINGS: [Loosening; 5] = [
    ("more of them trusted", |mut policy| {
        let all = ["203.0.113.0/26", "192.0.2.0/24", "2001:db8:9::/64"];
        policy.trusted.extend(all.map(|net| -> IpNet { net.parse().unwrap_or_default() }));
        policy.trusted = IpNet::aggregate(&policy.trusted);
        policy.trusted.sort();
        policy
    }),
    ("nobody denied", |mut policy| {
        policy.denied.clear();
        policy
    }),
    ("a rule for ports that had none", |mut policy| {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let rules = policy.rules.iter().flat_map(|rule| &rule.ports);
            let taken: Vec<PortRange> =
                rules.filter(|range| range.protocol == protocol).copied().collect();
            let free =
                |port: &u16| !taken.iter().any(|range| (range.first..=range.last).contains(port));
            let ports = [9, 22, 53, 68, 80, 443, 546, 30300, 30304].into_iter().filter(free);
            let ports: Vec<PortRange> =
                ports.map(|port| PortRange { protocol, first: port, last: port }).collect();
            if !ports.is_empty() {
                policy.rules.push(policy::Rule {
                    name: format!("more-{protocol}"),
                    ports,
                    from: Source::Anywhere,
                    interfaces: None,
                    mode: Mode::Enforce,
                    idle_timeout: None,
                    per_source: policy::Limits::default(),
                    per_network: policy::Limits::default(),
                    total: policy::Limits::default(),
                    line: 0,
                });
            }
        }
        policy
    }),
    ("more connections at a time", |mut policy| {
        for rule in &mut policy.rules {
            for limits in [&mut rule.per_source, &mut rule.per_network, &mut rule.total] {
                let more = |most: NonZeroU32| most.saturating_add(1);
                limits.connections = limits.connections.map(more);
            }
        }
        policy
    }),
    ("all protocols", |mut policy| {
        policy.protocols = (0..=255).filter(|number| ![1, 6, 17, 58].contains(number)).collect();
        policy
    }),
];

/// The same without a rate that could be met.
fn without_rates(policy: &Policy) -> Policy {
    let mut policy = Policy { mode: Mode::Enforce, ..policy.clone() };
    let ample = Rate { amount: 1_000_000, period: Period::Second, burst: 1_000_000 };
    policy.icmp.echo = Some(ample);
    policy.icmp.errors = Some(ample);
    for rule in &mut policy.rules {
        for limits in [&mut rule.per_source, &mut rule.per_network, &mut rule.total] {
            *limits =
                policy::Limits { connections: limits.connections, ..policy::Limits::default() };
        }
    }
    policy
}

/// Of unit costs and one bucket the higher rate or the larger burst never lets
/// fewer through, up to any packet. (Of bytes, or with more than one bucket, it
/// may: a large packet that now passes leaves no room for two small ones.)
#[test]
fn a_limit_that_is_raised_lets_no_fewer_through() {
    let limit = |rate: Option<Rate>| {
        move |policy: &Policy| {
            let mut policy = without_rates(policy);
            policy.icmp.echo = rate;
            for rule in &mut policy.rules {
                let limits = policy::Limits { packets: rate, ..policy::Limits::default() };
                rule.total = limits;
                (rule.per_source, rule.per_network) = Default::default();
            }
            policy
        }
    };
    let rate = |amount, burst| limit(Some(Rate { amount, period: Period::Second, burst }));
    always(|case, prepared| {
        // Fragments of what was refused drop with it, and cost nothing.
        let mut case = case.clone();
        let whole = |interface: &Interface, frame: &[u8]| {
            let mut parsed = Parsed::default();
            let read = read::packet(frame, interface.raw_ip(), &mut parsed);
            read != Reason::Rule || parsed.fragment.is_whole()
        };
        case.steps.retain(|step| match step {
            Step::Receive(interface, frame) => whole(interface, frame),
            Step::Switch(_) => false,
            _ => true,
        });
        let passed = |change: &dyn Fn(&Policy) -> Policy| {
            let policies = prepared.policies.iter().map(change).collect();
            play(&case, &prepared_as(&case, policies), &mut Host::default(), START)
        };
        let base = passed(&rate(2, 3));
        for (what, raised) in [("rate", rate(3, 3)), ("burst", rate(2, 5))] {
            let raised = passed(&raised);
            let (mut few, mut many) = (0_usize, 0_usize);
            for ((step, one), (_, other)) in base.outcomes.iter().zip(&raised.outcomes) {
                few += usize::from(one.verdict() == Verdict::Pass);
                many += usize::from(other.verdict() == Verdict::Pass);
                if many < few {
                    return differs(format!("step {step}: with a higher {what} {many}, not {few}"));
                }
            }
        }
        Ok(base)
    });
}
