//! What a bad policy gets: one clear sentence, the right exit code, and nothing
//! done.

use std::{os::unix::process::CommandExt as _, process::Stdio};

use nodewall_tests::e2e::{
    Guarded, closed, ctl, expect_code, fails_to_start, instance, open, ready, refused, rule_for,
};
use sandbox::{Instance, Policy, Sandbox, tcp_listen};

const TOP: &str = "interfaces = [\"nw0\"]\n";

/// A policy that is wrong, where it is wrong, and what the message names.
struct Bad {
    what: &'static str,
    text: String,
    /// `FILE:LINE:COLUMN` or `:LINE:COLUMN` of the policy.
    place: String,
    field: &'static str,
    words: &'static [&'static str],
}

fn bad(
    what: &'static str,
    text: impl Into<String>,
    place: &str,
    field: &'static str,
    words: &'static [&'static str],
) -> Bad {
    Bad { what, text: text.into(), place: place.to_owned(), field, words }
}

/// A rule whose lines from the third on are these; it begins on line 2.
fn rule(lines: &str) -> String {
    format!("{TOP}[[rule]]\nname = \"web\"\n{lines}\n")
}

fn bad_policies(installed: &Instance) -> Vec<Bad> {
    let list: String = (1..=5000)
        .map(|line: u32| match line {
            4711 => "198.51.100.300\n".to_owned(),
            _ => format!("10.{}.{}.1\n", line / 256, line % 256),
        })
        .collect();
    installed.write("bad.txt", &list).expect("written");
    std::fs::create_dir_all(installed.outside("folder.txt")).expect("made");
    let set = |file: &str| format!("{TOP}[sets]\npeers = {{ file = \"{file}\" }}\n");
    let same = "from = [\"192.0.2.0/24\"]";
    vec![
        bad(
            "an unknown key",
            format!("{TOP}moode = \"monitor\"\n"),
            ":2:1",
            "moode",
            &["did you mean `mode`"],
        ),
        bad(
            "an unknown key of a rule",
            rule("ports = [\"tcp/80\"]\nform = [\"192.0.2.1\"]"),
            ":5:1",
            "rule[0].form",
            &["`form`", "did you mean `from`"],
        ),
        bad("a wrong type", "interfaces = \"nw0\"\n", ":1:14", "interfaces", &["string"]),
        bad("a number for ports", rule("ports = 80"), ":4:9", "rule[0].ports", &["integer"]),
        bad(
            "port 0",
            rule("ports = [\"tcp/0\"]"),
            ":4:10",
            "rule[0].ports[0]",
            &["0", "1 to 65535"],
        ),
        bad(
            "port 70000",
            rule("ports = [\"udp/53\", \"tcp/70000\"]"),
            ":4:20",
            "rule[0].ports[1]",
            &["70000", "1 to 65535"],
        ),
        bad(
            "a reversed range",
            rule("ports = [\"tcp/200-100\"]"),
            ":4:10",
            "rule[0].ports[0]",
            &["ends before it begins", "tcp/100-200"],
        ),
        bad(
            "an unknown set",
            format!(
                "{TOP}[sets]\noperators = [\"192.0.2.1\"]\n{}",
                rule_for("a", "tcp/1", "from = [\"@operator\"]")
            ),
            ":7:9",
            "rule[0].from[0]",
            &["no set `operator`", "did you mean `@operators`"],
        ),
        bad(
            "a set file that is missing",
            set("none.txt"),
            ":3:18",
            "sets.peers.file",
            &["none.txt", "does not exist"],
        ),
        bad(
            "a set file that is a folder",
            set("folder.txt"),
            ":3:18",
            "sets.peers.file",
            &["folder.txt", "directory"],
        ),
        Bad {
            what: "a bad line of a set file",
            text: set("bad.txt"),
            place: "bad.txt:4711:1".to_owned(),
            field: "sets.peers",
            words: &["198.51.100.300"],
        },
        bad(
            "two rules for one packet",
            format!(
                "{TOP}{}{}",
                rule_for("one", "tcp/1-100", same),
                rule_for("two", "tcp/80", same)
            ),
            ":8:10",
            "rule[1].ports[0]",
            &["`one`", "`two`", "tcp/80", "192.0.2.0/24", "line 2"],
        ),
        bad(
            "a `from` that is empty",
            rule("ports = [\"tcp/80\"]\nfrom = []"),
            ":5:8",
            "rule[0].from",
            &["empty"],
        ),
        bad("no TOML", format!("{TOP}mode = \n"), ":2:", "", &["TOML"]),
        bad(
            "a rate of nothing",
            rule("ports = [\"tcp/80\"]\nper_source = { packets = { rate = \"0/s\" } }"),
            ":5:",
            "rule[0].per_source.packets.rate",
            &["0 lets nothing pass"],
        ),
        bad(
            "a limit of TCP on UDP",
            rule("ports = [\"udp/80\"]\nper_source = { new_connections = { rate = \"1/s\" } }"),
            ":5:",
            "rule[0].per_source.new_connections",
            &["UDP"],
        ),
        bad(
            "an idle timeout of UDP",
            rule("ports = [\"udp/80\"]\nidle_timeout = \"10m\""),
            ":5:",
            "rule[0].idle_timeout",
            &["UDP"],
        ),
        bad(
            "a name twice",
            format!("{TOP}{}{}", rule_for("one", "tcp/1", ""), rule_for("one", "tcp/2", "")),
            ":",
            "rule[1].name",
            &["`one`", "line 2"],
        ),
    ]
}

/// Expects a message that names file, line, column, field and what is wrong,
/// and that is about one thing alone.
#[track_caller]
fn explains(bad: &Bad, file: &str, said: &str) {
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(&bad.place)).collect();
    let [line] = lines[..] else {
        panic!("{}: one line is to name {}:\n{said}", bad.what, bad.place);
    };
    assert!(bad.place.contains(".txt") || line.contains(file), "{}: {line}", bad.what);
    assert!(line.contains(bad.field), "{}: it names the field {}: {line}", bad.what, bad.field);
    for word in bad.words {
        assert!(line.contains(word), "{}: it says {word}: {line}", bad.what);
    }
}

#[test]
fn a_policy_with_an_error_changes_nothing() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{TOP}{}", rule_for("open", "tcp/8080", "")));
    let world = &guarded.world;
    let _server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("a server");
    let before = guarded.status();
    for bad in bad_policies(guarded.instance()) {
        let file = guarded.instance().write("bad.toml", &bad.text).expect("written");
        let file = file.to_string_lossy();
        for command in ["check", "apply", "diff"] {
            let output = guarded.code(&[command, &file], 2);
            explains(&bad, &file, &output.stderr);
            assert_eq!(output.stdout, "", "{command}, {}", bad.what);
        }
        let after = guarded.status();
        assert_eq!(after.generation(), before.generation(), "{}", bad.what);
        assert_eq!(after.0["policy"]["sha256"], before.0["policy"]["sha256"], "{}", bad.what);
        // The daemon's own file, read again.
        guarded.instance().write("nodewall.toml", &bad.text).expect("written");
        let output = guarded.code(&["reload"], 2);
        explains(&bad, "nodewall.toml", &output.stderr);
        assert_eq!(guarded.status().generation(), before.generation(), "{}", bad.what);
    }
    open(&world.peer, None, world.host_ipv4(8080));
    closed(&world.peer, None, world.host_ipv4(8081));
    assert_eq!(guarded.rules().names(), ["open"]);
}

#[test]
fn a_daemon_does_not_start_with_a_bad_policy() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    for bad in bad_policies(&installed) {
        let (code, said) = fails_to_start(&installed, Policy::Text(&bad.text), &[], |_| {});
        assert_eq!(code, Some(2), "{}: {said}", bad.what);
        explains(&bad, "nodewall.toml", &said);
        assert!(!installed.outside("control.sock").exists(), "{}", bad.what);
    }
    refused(&world.peer, None, world.host_ipv4(22));
}

#[test]
fn an_error_is_json_where_json_was_asked_for() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(TOP);
    let file = guarded.instance().write("bad.toml", &rule("ports = [\"tcp/0\"]")).expect("written");
    let output = ctl(guarded.instance(), &["diff", &file.to_string_lossy(), "--json"]);
    if output.code == Some(2) && output.stderr.contains("unexpected argument") {
        println!("skipped: `diff` has no --json");
        return;
    }
    expect_code(&["diff"], &output, 2);
    let error: serde_json::Value =
        serde_json::from_str(output.stderr.lines().next().expect("a line")).expect("it is JSON");
    assert_eq!(error["line"], 4, "{error}");
    assert_eq!(error["column"], 10, "{error}");
    assert_eq!(error["field"], "rule[0].ports[0]", "{error}");
    assert!(error["error"].as_str().is_some_and(|text| text.contains("65535")), "{error}");
    assert!(error["file"].as_str().is_some_and(|text| text.ends_with("bad.toml")), "{error}");
}

#[test]
fn a_set_file_that_may_not_be_read_is_named() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    installed.write("secret.txt", "192.0.2.1\n").expect("written");
    let secret = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(installed.outside("secret.txt"), secret).expect("closed");
    let text = format!("{TOP}[sets]\npeers = {{ file = \"secret.txt\" }}\n");
    let file = installed.write("p.toml", &text).expect("written");
    // Root may read everything, so nobody asks. `check` needs no more.
    let mut command = std::process::Command::new(nodewall_tests::e2e::nodewall());
    command.arg("check").arg(&file).uid(65_534).gid(65_534);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = world.host.spawn(command).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in ["p.toml:3:18", "sets.peers.file", "secret.txt", "permission denied"] {
        assert!(said.contains(word), "it says {word}: {said}");
    }
}

#[test]
fn several_errors_are_told_at_once() {
    if !ready() {
        return;
    }
    let world = Sandbox::pair().expect("a pair");
    let installed = instance(&world.host);
    let text = rule("ports = [\"tcp/0\", \"tcp/9-1\"]\nmoode = \"enforce\"");
    let file = installed.write("bad.toml", &text).expect("written");
    // `check` needs no daemon.
    let output = ctl(&installed, &["check", &file.to_string_lossy()]);
    expect_code(&["check"], &output, 2);
    for place in [":4:10", ":4:19", ":5:1"] {
        assert!(output.stderr.contains(place), "{place}: {}", output.stderr);
    }
}

#[test]
fn what_is_only_doubtful_is_warned_of_and_done() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{TOP}{}", rule_for("open", "tcp/8080", "")));
    let world = &guarded.world;
    let _server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("a server");
    // A prefix with host bits is taken as its network.
    let text = format!("{TOP}{}", rule_for("open", "tcp/8080", "from = [\"198.51.100.77/24\"]"));
    let file = guarded.instance().write("doubtful.toml", &text).expect("written");
    let output = guarded.ok(&["check", &file.to_string_lossy()]);
    let said = output.stdout + &output.stderr;
    for word in ["198.51.100.77/24", "198.51.100.0/24", ":5:9", "rule[0].from[0]"] {
        assert!(said.contains(word), "check: {word}: {said}");
    }
    let output = guarded.apply(&text);
    let said = output.stdout + &output.stderr;
    assert!(said.contains("198.51.100.0/24"), "apply: {said}");
    open(&world.peer, None, world.host_ipv4(8080));

    // So is an empty set: it lets nobody in.
    guarded.instance().write("none.txt", "# nobody\n").expect("written");
    let output = guarded.apply(&format!(
        "{TOP}[sets]\nnone = {{ file = \"none.txt\" }}\n{}",
        rule_for("open", "tcp/8080", "from = [\"@none\"]")
    ));
    let said = output.stdout + &output.stderr;
    assert!(said.contains("`none` is empty"), "{said}");
    closed(&world.peer, None, world.host_ipv4(8080));

    // And an empty policy: it is valid, and closes all.
    let output = guarded.apply(TOP);
    let said = output.stdout + &output.stderr;
    assert!(said.contains("every port is closed"), "apply: {said}");
    closed(&world.peer, None, world.host_ipv4(8080));
    let daemon = Guarded::new(TOP).daemon;
    assert!(daemon.stderr().contains("every port is closed"), "run: {}", daemon.stderr());
}

#[test]
fn a_policy_for_an_interface_that_is_not_there_changes_nothing() {
    if !ready() {
        return;
    }
    let guarded = Guarded::new(&format!("{TOP}{}", rule_for("open", "tcp/8080", "")));
    let world = &guarded.world;
    let _server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("a server");
    let before = guarded.status();
    let output = guarded.apply_code("interfaces = [\"nw0\", \"nw7\"]\n", 1);
    assert!(output.stderr.contains("nw7"), "{output:?}");
    let after = guarded.status();
    assert_eq!(after.generation(), before.generation());
    assert_eq!(after.0["interfaces"], before.0["interfaces"]);
    open(&world.peer, None, world.host_ipv4(8080));

    let installed = instance(&world.peer);
    let policy = "interfaces = [\"peer0\", \"nw7\"]\n";
    let (code, said) = fails_to_start(&installed, Policy::Text(policy), &[], |_| {});
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("`nw7`"), "{said}");
    // The one that is there was not guarded either.
    refused(&world.host, None, (sandbox::PEER_IPV4, 22).into());
}
