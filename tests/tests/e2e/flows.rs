//! The flow log, as those read it who read AWS VPC flow logs, and `nodewall flows`.

use std::{collections::BTreeMap, fs, net::IpAddr, path::PathBuf, time::Duration};

use nodewall_tests::e2e::{Guarded, Status, eventually, open, ready, rule_for, soon, within};
use sandbox::{
    HOST_IPV4, HOST_IPV6, Namespace, PEER_IPV4, PEER_IPV6, RawSocket, Sandbox, Veth, VethOptions,
    tcp_listen,
};
use serde_json::Value;

/// A line of version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    interface: String,
    /// Of a line that is about a flow.
    flow: Option<Flow>,
    start: u64,
    end: u64,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Flow {
    source: IpAddr,
    destination: IpAddr,
    ports: (u16, u16),
    protocol: u8,
    packets: u64,
    bytes: u64,
    action: String,
}

fn record(line: &str) -> Record {
    let fields: Vec<&str> = line.split(' ').collect();
    let [
        version,
        account,
        interface,
        source,
        destination,
        from,
        to,
        protocol,
        packets,
        bytes,
        start,
        end,
        action,
        status,
    ] = fields[..]
    else {
        panic!("{} fields: {line}", fields.len())
    };
    assert_eq!((version, account), ("2", "unknown"), "{line}");
    fn number<T: std::str::FromStr>(text: &str) -> T {
        text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
    }
    let flow = match status {
        "OK" => Some(Flow {
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
            ports: (number(from), number(to)),
            protocol: number(protocol),
            packets: number(packets),
            bytes: number(bytes),
            action: action.to_owned(),
        }),
        "NODATA" | "SKIPDATA" => {
            let absent = [source, destination, from, to, protocol, packets, bytes, action];
            assert_eq!(absent, ["-"; 8], "{line}");
            None
        }
        other => panic!("status {other}: {line}"),
    };
    let (start, end) = (number(start), number(end));
    assert!(start <= end, "{line}");
    Record { interface: interface.to_owned(), flow, start, end, status: status.to_owned() }
}

/// What is in the log's file; nothing, while there is none.
fn records(file: &PathBuf) -> Vec<Record> {
    fs::read_to_string(file).unwrap_or_default().lines().map(record).collect()
}

/// Packets and bytes of all flows with that action.
fn sum(records: &[Record], action: &str) -> (u64, u64) {
    let flows = records.iter().filter_map(|record| record.flow.as_ref());
    flows
        .filter(|flow| flow.action == action)
        .fold((0, 0), |sum, flow| (sum.0 + flow.packets, sum.1 + flow.bytes))
}

/// The same by the counters; what cannot be read, and what is not IP, is no flow.
fn counted(status: &Status, verdict: &str) -> (u64, u64) {
    let rows = status.rows().filter(|row| {
        row["verdict"] == verdict && row["reason"] != "malformed" && row["reason"] != "not_ip"
    });
    rows.fold((0, 0), |sum, row| {
        let number = |key: &str| row[key].as_u64().expect("a number");
        (sum.0 + number("packets"), sum.1 + number("bytes"))
    })
}

/// A policy with two open ports. `flows`: what `[log]` says of them.
fn policy(flows: &str, more: &str) -> String {
    let rule = rule_for("open", "udp/53 tcp/8080", "");
    format!("interfaces = [\"nw0\", \"nw1\"]\n[log]\nflows = {flows}\n{more}\n{rule}")
}

/// A host with two interfaces, on one of which nothing comes in.
fn guarded(flows: &str, more: &str) -> (Guarded, Namespace) {
    let world = Sandbox::silent_pair().expect("a pair");
    let other = Namespace::new("other").expect("a namespace");
    let options = VethOptions::default().ipv6(false);
    Veth::new((&world.host, "nw1"), (&other, "other0"), options).expect("a pair");
    (Guarded::over(world, &policy(flows, more)), other)
}

fn send(guarded: &Guarded, frames: &[Vec<u8>], times: u64) {
    let raw = RawSocket::open(&guarded.world.peer, sandbox::PEER_LINK).expect("a socket");
    let before = guarded.status().total_on("nw0").0;
    for _ in 0..times {
        for frame in frames {
            raw.send(frame).expect("sent");
        }
    }
    let sent = frames.len() as u64 * times;
    eventually("all were judged", || guarded.status().total_on("nw0").0 >= before + sent);
}

/// Frames of accepted and of refused flows, of what is no flow, and how many flows.
fn frames(world: &Sandbox) -> (Vec<Vec<u8>>, usize) {
    let ipv4 = || world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4);
    let ipv6 = || world.frame_to_host().ipv6(PEER_IPV6, HOST_IPV6);
    let flows = vec![
        ipv4().udp(4000, 53).payload([1; 500]).build(),
        ipv4().udp(4000, 54).pad_to(60).build(),
        ipv6().udp(4000, 53).build(),
        ipv6().tcp(4000, 81).syn().build(),
        ipv4().tcp(4000, 81).syn().pad_to(60).build(),
        world.frame_to_host().ipv4("203.0.113.9", HOST_IPV4).tcp(1, 81).syn().pad_to(60).build(),
        ipv4().ping(1, 1).pad_to(60).build(),
        ipv4().protocol(132).payload([0; 64]).build(),
    ];
    let count = flows.len();
    let none = [
        ipv4().total_length(9).pad_to(60).build(),
        world.frame_to_host().ethertype(0x88b5).payload([1; 46]).build(),
    ];
    (flows.into_iter().chain(none).collect(), count)
}

#[test]
fn the_sums_of_the_log_are_the_counters() {
    if !ready() {
        return;
    }
    let (guarded, _other) = guarded("\"logs/flows.log\"", "");
    let file = guarded.instance().outside("logs/flows.log");
    let (frames, flows) = frames(&guarded.world);
    eventually("flows are counted", || !guarded.status().0["flow_log"].is_null());
    let before = guarded.status();
    send(&guarded, &frames, 7);
    let shown = guarded.json(&["flows", "--json"]);
    assert_eq!((&shown["from"], shown["total"].as_u64()), (&"flow_log".into(), Some(flows as u64)));
    let first = &shown["flows"][0];
    for (key, value) in [
        ("interface", Value::from("nw0")),
        ("verdict", "pass".into()),
        ("protocol", "udp".into()),
        ("source", PEER_IPV4.to_string().into()),
        ("source_port", 4000.into()),
        ("destination", HOST_IPV4.to_string().into()),
        ("destination_port", 53.into()),
        ("packets", 7.into()),
        ("bytes", (7 * 542).into()),
    ] {
        assert_eq!(first[key], value, "{key} of {first}");
    }
    let text = guarded.ok(&["flows", "--top", "2"]).stdout;
    assert!(text.starts_with(&format!("2 of {flows} inbound flows of this minute")), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");

    // Switched off, it writes what there is.
    guarded.apply(&policy("false", ""));
    eventually("it is off", || guarded.status().0["flow_log"].is_null());
    let status = guarded.status();
    let records = records(&file);
    for (action, verdict) in [("ACCEPT", "pass"), ("REJECT", "drop")] {
        let (packets, bytes) = counted(&status, verdict);
        let (packets_before, bytes_before) = counted(&before, verdict);
        assert!(packets > packets_before, "{verdict}");
        let due = (packets - packets_before, bytes - bytes_before);
        assert_eq!(sum(&records, action), due, "{action}: {records:?}");
    }
    let of = |interface: &str, status: &str| {
        let found = records.iter().filter(|record| record.interface == interface);
        found.filter(|record| record.status == status).count()
    };
    assert!(of("nw0", "OK") >= flows, "{records:?}");
    assert_eq!((of("nw0", "NODATA"), of("nw1", "OK")), (0, 0), "{records:?}");
    assert!(of("nw1", "NODATA") >= 1, "{records:?}");
    assert_eq!(of("nw0", "SKIPDATA") + of("nw1", "SKIPDATA"), 0, "{records:?}");
    let by_flow: BTreeMap<_, u64> = records
        .iter()
        .filter_map(|record| record.flow.as_ref())
        .map(|flow| ((flow.source, flow.ports, flow.protocol), flow.packets))
        .collect();
    assert!(by_flow.contains_key(&(PEER_IPV4.into(), (0, 0), 1)), "{by_flow:?}");
    assert!(by_flow.contains_key(&(PEER_IPV6.into(), (4000, 81), 6)), "{by_flow:?}");
    // Nothing more is counted.
    send(&guarded, &frames, 1);
    assert_eq!(guarded.json(&["flows", "--json"])["from"], "kernel");
}

#[test]
fn what_the_table_has_no_room_for_is_marked() {
    if !ready() {
        return;
    }
    let more = "[tables]\nflow_log = 8";
    let (guarded, _other) = guarded("\"flows.log\"", more);
    let world = &guarded.world;
    eventually("flows are counted", || !guarded.status().0["flow_log"].is_null());
    let before = guarded.status();
    let to = |source: u16, port| {
        world.frame_to_host().ipv4(PEER_IPV4, HOST_IPV4).udp(source, port).pad_to(60).build()
    };
    let refused: Vec<_> = (1000..1100).map(|source| to(source, 54)).collect();
    send(&guarded, &refused, 3);
    send(&guarded, &[to(4000, 53)], 2);
    guarded.apply(&policy("false", more));
    eventually("it is off", || guarded.status().0["flow_log"].is_null());
    let records = records(&guarded.instance().outside("flows.log"));
    let marked = records.iter().filter(|record| record.status == "SKIPDATA");
    assert!(marked.clone().count() >= 1, "{records:?}");
    assert!(marked.clone().all(|record| record.interface == "nw0"), "{records:?}");
    let (packets, _) = sum(&records, "REJECT");
    let (all, _) = counted(&guarded.status(), "drop");
    let all = all - counted(&before, "drop").0;
    assert!(packets < all && packets >= 4 * 3, "{packets} of {all}");
    assert_eq!(sum(&records, "ACCEPT").0, 2, "{records:?}");
}

#[test]
fn a_full_disk_is_told_and_hurts_nobody() {
    if !ready() {
        return;
    }
    let (guarded, _other) = guarded("\"/dev/full\"", "");
    eventually("flows are counted", || !guarded.status().0["flow_log"].is_null());
    let (frames, _) = frames(&guarded.world);
    send(&guarded, &frames, 1);
    guarded.apply(&policy("\"flows.log\"", ""));
    let told = "the flow log /dev/full cannot be written";
    assert!(guarded.daemon.wait_for_stderr(told, soon()), "{}", guarded.daemon.stderr());
    eventually("the other file is in use", || {
        let entry = &guarded.status().0["flow_log"];
        entry["file"].as_str().is_some_and(|file| file.ends_with("flows.log"))
    });
    // What could not be written is marked in what can.
    // Its files go with it.
    let instance = guarded.instance().clone();
    let file = instance.outside("flows.log");
    let Guarded { daemon, world: _world } = guarded;
    let output = daemon.stop().expect("it ends");
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let records = records(&file);
    let skipped = records.iter().filter(|record| record.status == "SKIPDATA").count();
    assert_eq!(skipped, 2, "{records:?}");
}

#[test]
fn each_minute_is_written_when_it_is_over() {
    if !ready() {
        return;
    }
    let (guarded, _other) = guarded("\"flows.log\"", "");
    // Its files go with it.
    let instance = guarded.instance().clone();
    let file = instance.outside("flows.log");
    eventually("flows are counted", || !guarded.status().0["flow_log"].is_null());
    let before = counted(&guarded.status(), "drop");
    let (frames, _) = frames(&guarded.world);
    send(&guarded, &frames, 1);
    let minute = Duration::from_secs(60) + soon();
    within(minute, "a minute is written", || !records(&file).is_empty());
    let first = records(&file);
    let ends: Vec<u64> =
        first.iter().filter(|record| record.flow.is_none()).map(|record| record.end).collect();
    assert!(ends.iter().all(|end| end % 60 == 59), "{first:?}");
    assert!(first.iter().all(|record| record.start / 60 == record.end / 60), "{first:?}");
    // Those of the minute that is over are shown until the next one is.
    let shown = guarded.json(&["flows", "--json"]);
    assert!(shown["total"].as_u64() > Some(0), "{shown}");
    send(&guarded, &frames, 1);
    let Guarded { daemon, world } = guarded;
    let after = Status(
        serde_json::from_str(&daemon.ctl(&["status", "--json"]).expect("it answers").stdout)
            .expect("JSON"),
    );
    drop(daemon.stop().expect("it ends"));
    drop(world);
    let all = records(&file);
    assert!(all.len() > first.len() && all.starts_with(&first), "{all:?}");
    let (packets, bytes) = counted(&after, "drop");
    assert_eq!(sum(&all, "REJECT"), (packets - before.0, bytes - before.1), "{all:?}");
}

#[test]
fn without_the_log_flows_are_what_the_kernel_knows() {
    if !ready() {
        return;
    }
    let guarded =
        Guarded::new(&format!("interfaces = [\"nw0\"]\n{}", rule_for("open", "tcp/8080", "")));
    let world = &guarded.world;
    let server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("a server");
    let connection = open(&world.peer, None, server.address());
    let client = connection.local_addr().expect("an address");
    let find = || {
        let shown = guarded.json(&["flows", "--json"]);
        assert_eq!(shown["from"], "kernel");
        let flows = shown["flows"].as_array().expect("a list").clone();
        flows.into_iter().find(|flow| flow["source_port"] == client.port())
    };
    let flow = find().expect("the connection is shown");
    assert_eq!((&flow["protocol"], &flow["destination_port"]), (&"tcp".into(), &8080.into()));
    assert_eq!(flow["source"], client.ip().to_string());
    assert!(flow["packets"].is_null() && flow["verdict"].is_null(), "{flow}");
    drop((connection, server));
    eventually("it is gone", || find().is_none());
}
