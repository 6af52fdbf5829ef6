//! What is left of a process that is killed: nothing.
//!
//! Here, because the proof needs a link between the test's namespace and that
//! of the process: the kernel takes it back when the other namespace ends.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::fd::AsRawFd,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage},
};

use super::Namespace;
use crate::link::netlink::Netlink;

/// Set for the process that is to be killed.
const VICTIM: &str = "SANDBOX_VICTIM";

#[test]
#[ignore = "it is the process that the next test kills"]
fn victim() {
    if env::var_os(VICTIM).is_none() {
        return;
    }
    let namespace = Namespace::new("victim").expect("a namespace");
    // One end where this process was started, one in the namespace.
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName("end".to_owned()),
        LinkAttribute::NetNsFd(namespace.descriptor().as_raw_fd()),
    ];
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName("wire".to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    let mut netlink = Netlink::open().expect("rtnetlink");
    netlink.create(RouteNetlinkMessage::NewLink(message)).expect("a link");
    fs::write(namespace.outside(&namespace.files().join("file")), "text").expect("written");
    fs::create_dir(namespace.outside(&namespace.bpffs().join("pins"))).expect("made");
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    let mut child = namespace.spawn(sleep).expect("started");
    // Not print!, which the test harness would keep to itself.
    writeln!(std::io::stderr(), "{VICTIM} {}", child.id()).expect("written");
    child.wait().expect("it is killed with this process");
}

#[test]
fn nothing_is_left_of_a_process_that_is_killed() {
    if !crate::requirements().is_empty() {
        eprintln!("not run: no sandbox can be made here");
        return;
    }
    let namespace = Namespace::new("observer").expect("a namespace");
    let mut command = Command::new(env::current_exe().expect("this test"));
    command
        .args(["--exact", "namespace::tests::victim", "--ignored", "--nocapture"])
        .env(VICTIM, "1");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut victim = namespace.spawn(command).expect("started");
    let output = BufReader::new(victim.stderr.take().expect("piped"));
    let mut lines = output.lines().map_while(Result::ok);
    let sleeper: u32 = lines
        .find_map(|line| line.strip_prefix(VICTIM)?.trim().parse().ok())
        .expect("it says that it is ready");
    assert!(namespace.find_link("wire").expect("asked").is_some());
    assert!(lives(sleeper));

    victim.kill().expect("sent");
    victim.wait().expect("reaped");
    let until = Instant::now() + Duration::from_secs(20);
    while lives(sleeper) || namespace.find_link("wire").expect("asked").is_some() {
        assert!(Instant::now() < until, "the namespace or its process is still there");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there and is not a zombie.
fn lives(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}
