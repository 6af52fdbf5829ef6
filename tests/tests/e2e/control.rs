//! The control socket: who may do what, and that nobody can hurt the daemon by it.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nodewall_tests::e2e::{Guarded, closed, expect_code, instance, open, ready, rule_for, soon};
use sandbox::{Output, Policy, Sandbox, Server, tcp_listen};

const POLICY: &str = "interfaces = [\"nw0\"]\n";

fn world() -> (Guarded, Server) {
    let guarded = Guarded::new(&format!("{POLICY}{}", rule_for("open", "tcp/8080", "")));
    let server = tcp_listen(guarded.host(), guarded.world.host_ipv4(8080)).expect("a server");
    (guarded, server)
}

fn connect(guarded: &Guarded) -> UnixStream {
    let socket = guarded.instance().outside("control.sock");
    let stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(soon())).expect("set");
    stream
}

/// The daemon answers another client, and judges packets. Sooner than it gives
/// up on a client that keeps it waiting, which takes 30 seconds.
#[track_caller]
fn fares_well(guarded: &Guarded) {
    for arguments in [&["status"][..], &["bans", "--limit", "1"], &["ban", "192.0.2.1"]] {
        let output = match guarded.instance().ctl_within(arguments, soon()) {
            Ok(output) => output,
            Err(error) => panic!("{arguments:?}: {error}"),
        };
        expect_code(arguments, &output, 0);
    }
    open(guarded.peer(), None, guarded.world.host_ipv4(8080));
    closed(guarded.peer(), None, guarded.world.host_ipv4(8081));
}

/// What the daemon says to a request.
fn answer(stream: &UnixStream) -> io::Result<serde_json::Value> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

/// A request that is wrong, another for each number, without its line feed.
fn malformed(number: u32) -> Vec<u8> {
    let good = r#"{"v":1,"command":"ban","prefixes":["192.0.2.7/32"],"for_ms":1000,"reason":"r"}"#;
    let at = number as usize / 8 % (good.len() - 1) + 1;
    let noise = number.wrapping_mul(2_654_435_761).to_le_bytes();
    match number % 8 {
        0 => good.as_bytes()[..at].to_vec(),
        1 => [&good.as_bytes()[..at], &b"\xff\x00"[..], &good.as_bytes()[at..]].concat(),
        2 => noise.iter().cycle().take(at * 7).filter(|byte| **byte != b'\n').copied().collect(),
        3 => "[".repeat(at * 100).into_bytes(),
        4 => format!("{{\"v\":{number},\"command\":\"levitate\"}}").into_bytes(),
        5 => format!("{{\"v\":1,\"command\":\"unban\",\"prefix\":{number}}}").into_bytes(),
        6 => format!("{{\"v\":1e{at},\"command\":\"ban\",\"for_ms\":-{number}}}").into_bytes(),
        _ => format!("{{\"v\":1,\"command\":\"ban\",\"prefixes\":[{}1]}}", "[],".repeat(at))
            .into_bytes(),
    }
}

#[test]
fn a_thousand_malformed_requests_are_each_told_and_change_nothing() {
    if !ready() {
        return;
    }
    let (guarded, _server) = world();
    let before = guarded.status();
    for number in 0..1000 {
        let request = malformed(number);
        let mut stream = connect(&guarded);
        stream.write_all(&request).expect("it reads");
        if number % 10 == 9 {
            // Gone in the middle of it.
            continue;
        }
        stream.write_all(b"\n").expect("it reads");
        let said = match answer(&stream) {
            Ok(said) => said,
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&request)),
        };
        assert_eq!(said["failure"]["code"], "invalid", "{said}");
        let text = said["failure"]["errors"][0]["error"].as_str().expect("a sentence");
        assert!(text.contains("docs/control-protocol.md") || text.contains("of version"), "{text}");
        // The connection goes on.
        stream.write_all(b"{\"v\":1,\"command\":\"bans\"}\n").expect("it reads");
        let said = answer(&stream).expect("an answer");
        assert_eq!(said["result"]["bans"].as_array().map(Vec::len), Some(0), "{said}");
    }
    assert_eq!(guarded.status().generation(), before.generation());
    fares_well(&guarded);
}

#[test]
fn idle_clients_keep_nobody_waiting() {
    if !ready() {
        return;
    }
    let (guarded, _server) = world();
    let idle: Vec<UnixStream> = (0..200).map(|_| connect(&guarded)).collect();
    fares_well(&guarded);
    // More than there is room for: those that were silent longest give way.
    let more: Vec<UnixStream> = (0..400).map(|_| connect(&guarded)).collect();
    fares_well(&guarded);
    assert_eq!((&idle[0]).read(&mut [0]).expect("it is closed"), 0);
    let mut last = &more[399];
    last.write_all(b"{\"v\":1,\"command\":\"rules\"}\n").expect("it reads");
    assert!(answer(last).expect("an answer")["result"].is_object());
}

#[test]
fn slow_clients_keep_nobody_waiting() {
    if !ready() {
        return;
    }
    let (guarded, _server) = world();
    // Answers that are larger than what a socket holds.
    let mut list = String::new();
    for n in 0..20_000 {
        writeln!(list, "10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255).expect("it fits");
    }
    let output = guarded.with_input(&["ban", "--from", "-", "--reason", &"x".repeat(100)], &list);
    expect_code(&["ban", "--from", "-"], &output, 0);

    let ends = Arc::new(AtomicBool::new(false));
    let second = Duration::from_secs(1);
    let slow: Vec<_> = (0..40)
        .map(|number| {
            let (mut stream, ends) = (connect(&guarded), Arc::clone(&ends));
            thread::spawn(move || {
                let request = b"{\"v\":1,\"command\":\"bans\"}\n";
                let writes_slowly = number % 2 == 0;
                if !writes_slowly {
                    stream.write_all(request).expect("it reads");
                }
                let mut moved = 0;
                while !ends.load(Ordering::Relaxed) {
                    let one = match writes_slowly {
                        true => stream.write(&request[moved..=moved]),
                        false => stream.read(&mut [0]),
                    };
                    moved += one.unwrap_or(0);
                    thread::sleep(second);
                }
                moved
            })
        })
        .collect();
    thread::sleep(2 * second);
    fares_well(&guarded);
    ends.store(true, Ordering::Relaxed);
    for client in slow {
        // They were served meanwhile, at their own pace.
        assert!(client.join().expect("it ends") >= 1);
    }
    fares_well(&guarded);
}

/// What a process takes, in KiB.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn huge_requests_do_not_take_the_memory() {
    if !ready() {
        return;
    }
    let (guarded, _server) = world();
    // Each would send 64 MiB.
    let huge: Vec<UnixStream> = (0..200).map(|_| connect(&guarded)).collect();
    let part = vec![b'x'; 1 << 20];
    let senders: Vec<_> = huge
        .iter()
        .map(|stream| {
            let mut stream = stream.try_clone().expect("cloned");
            stream.set_write_timeout(Some(Duration::from_secs(3))).expect("set");
            let part = part.clone();
            thread::spawn(move || (0..63).take_while(|_| stream.write_all(&part).is_ok()).count())
        })
        .collect();
    fares_well(&guarded);
    let sent: usize = senders.into_iter().map(|sender| sender.join().expect("it ends")).sum();
    fares_well(&guarded);
    let peak = peak_memory(guarded.daemon.pid());
    println!("200 clients sent {sent} MiB; the daemon took {} MiB at most", peak >> 10);
    assert!(peak < 400 << 10, "{peak} KiB");
    drop(huge);
    // One that is larger than any may be.
    let mut stream = connect(&guarded);
    let sender = stream.try_clone().expect("cloned");
    let sender = thread::spawn(move || {
        let mut sender = sender;
        (0..80).take_while(|_| sender.write_all(&part).is_ok()).count()
    });
    let said = answer(&stream).expect("an answer");
    let text = said["failure"]["errors"][0]["error"].as_str().expect("a sentence");
    assert!(text.contains("64 MiB"), "{said}");
    assert!(sender.join().expect("it ends") < 80);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "what follows is no request");
    fares_well(&guarded);
}

/// Group ids that stand for `nodewall` and `nodewall-admin` in the sandbox, and
/// one of neither.
const READERS: u32 = 4001;
const ADMINS: u32 = 4002;
const OTHERS: u32 = 4003;
const USER: u32 = 4000;

#[test]
fn groups_decide_who_may_read_and_who_may_change() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    // The sandbox has mounts of its own, so it can have groups of its own.
    let groups = fs::read_to_string("/etc/group").expect("there are groups");
    let others = groups.lines().filter(|line| !line.starts_with("nodewall"));
    let mut groups: String = others.flat_map(|line| [line, "\n"]).collect();
    write!(groups, "nodewall:x:{READERS}:\nnodewall-admin:x:{ADMINS}:\n").expect("it fits");
    let file = installed.write("group", &groups).expect("written");
    let mut mount = Command::new("mount");
    mount.arg("--bind").arg(file).arg("/etc/group");
    assert!(world.host.spawn(mount).expect("it runs").wait().expect("it ends").success());
    let daemon = installed
        .start(Policy::Text(&format!("{POLICY}{}", rule_for("open", "tcp/8080", ""))), &[])
        .expect("it starts");
    let guarded = Guarded { daemon, world };

    let run = |main: u32, more: &[u32], arguments: &[&str]| {
        let inner = guarded.instance().command(arguments);
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={USER}")).arg(format!("--regid={main}"));
        match more {
            [] => command.arg("--clear-groups"),
            more => {
                let list: Vec<String> = more.iter().map(ToString::to_string).collect();
                command.arg(format!("--groups={}", list.join(",")))
            }
        };
        command.arg("--").arg(inner.get_program()).args(inner.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = guarded.host().spawn(command).expect("it runs");
        let output = child.wait_with_output().expect("it ends");
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Output {
            code: output.status.code(),
            stdout: lossy(&output.stdout),
            stderr: lossy(&output.stderr),
        }
    };
    let policy = guarded.instance().write("other.toml", POLICY).expect("written");
    let policy = policy.to_string_lossy();
    let reads: [&[&str]; 5] =
        [&["status"], &["rules"], &["sources"], &["bans"], &["diff", &policy]];
    let changes: [&[&str]; 6] = [
        &["ban", "192.0.2.1"],
        &["unban", "192.0.2.1"],
        &["apply", &policy],
        &["reload"],
        &["ban", "192.0.2.2"],
        &["unban", "192.0.2.2"],
    ];
    // Main group, supplementary ones, may read, may change.
    let many: Vec<u32> = (5000..5100).chain([READERS]).collect();
    for (main, more, may_read, may_change) in [
        (OTHERS, &[][..], false, false),
        (OTHERS, &[OTHERS], false, false),
        (READERS, &[], true, false),
        (OTHERS, &[READERS], true, false),
        (OTHERS, &many, true, false),
        (ADMINS, &[], true, true),
        (OTHERS, &[OTHERS, ADMINS], true, true),
        (READERS, &[ADMINS], true, true),
    ] {
        let who = format!("{main} {more:?}");
        for arguments in reads {
            let output = run(main, more, arguments);
            let code = if may_read { 0 } else { 4 };
            assert_eq!(output.code, Some(code), "{who}, {arguments:?}: {output:?}");
            if !may_read {
                for words in ["user 4000", "`nodewall`", "`nodewall-admin`", "sudo"] {
                    assert!(output.stderr.contains(words), "{who}: {words}: {output:?}");
                }
            }
        }
        for arguments in changes {
            let output = run(main, more, arguments);
            let code = if may_change { 0 } else { 4 };
            assert_eq!(output.code, Some(code), "{who}, {arguments:?}: {output:?}");
            assert_eq!(output.stderr.contains("`nodewall-admin`"), !may_change, "{output:?}");
        }
    }
    // Who may only read is not given much of the memory.
    let long = format!("{POLICY}# {}\n", "x".repeat(300 << 10));
    let long = guarded.instance().write("long.toml", &long).expect("written");
    let long = long.to_string_lossy();
    let output = run(READERS, &[], &["diff", &long]);
    assert_eq!(output.code, Some(4), "{output:?}");
    assert!(output.stderr.contains("256 KiB"), "{output:?}");
    expect_code(&["diff"], &run(ADMINS, &[], &["diff", &long]), 0);
    // Nor has it files read that it may not read itself.
    let secret = guarded.instance().write("secret.txt", "hush\n").expect("written");
    let text = format!("{POLICY}[sets]\npeers = {{ file = \"{}\" }}\n", secret.display());
    let secretive = guarded.instance().write("secretive.toml", &text).expect("written");
    let secretive = secretive.to_string_lossy();
    let output = run(READERS, &[], &["diff", &secretive]);
    assert_eq!(output.code, Some(4), "{output:?}");
    assert!(
        output.stderr.contains("sets in files") && !output.stderr.contains("hush"),
        "{output:?}"
    );
    let output = run(ADMINS, &[], &["diff", &secretive]);
    assert!(output.code == Some(2) && output.stderr.contains("hush"), "{output:?}");
    // As before, root may do anything.
    expect_code(&["detach"], &run(READERS, &[], &["detach", "--yes"]), 4);
    guarded.ok(&["ban", "192.0.2.3"]);
}
