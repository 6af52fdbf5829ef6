//! Bans: by hand, for a time, by the list.

use std::time::{Duration, Instant};

use nodewall_tests::e2e::{
    Guarded, closed, eventually, expect_code, in_vm, is_cut, open, ready, rule_for, source,
};
use sandbox::{Server, tcp_listen};

fn world(more: &str) -> (Guarded, [Server; 2]) {
    let policy = format!("interfaces = [\"nw0\"]\n{}{more}", rule_for("open", "tcp/8080", ""));
    let guarded = Guarded::new(&policy);
    for prefix in ["203.0.113.0/24", "2001:db8:77::/48"] {
        guarded.world.add_sources(prefix.parse().expect("a prefix")).expect("added");
    }
    let servers = [guarded.world.host_ipv4(8080), guarded.world.host_ipv6(8080)]
        .map(|at| tcp_listen(guarded.host(), at).expect("a server"));
    (guarded, servers)
}

/// The prefixes that are banned, in their order.
fn banned(guarded: &Guarded) -> Vec<String> {
    let list = guarded.json(&["bans", "--json"]);
    let bans = list["bans"].as_array().expect("a list");
    bans.iter().map(|ban| ban["prefix"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_ban_holds_exactly_what_was_typed() {
    if !ready() {
        return;
    }
    let (guarded, [ipv4, ipv6]) = world("");
    let peer = guarded.peer();
    let (to4, to6) = (ipv4.address(), ipv6.address());
    for (ban, inside, outside, to) in [
        ("203.0.113.7", "203.0.113.7", "203.0.113.8", to4),
        ("203.0.113.64/26", "203.0.113.127", "203.0.113.128", to4),
        ("2001:db8:77:1::7", "2001:db8:77:1::7", "2001:db8:77:1::8", to6),
        ("2001:db8:77:2::/64", "2001:db8:77:2:ffff::1", "2001:db8:77:3::1", to6),
    ] {
        open(peer, source(inside), to);
        guarded.ok(&["ban", ban, "--reason", "a test"]);
        let before = guarded.status().packets("banned");
        closed(peer, source(inside), to);
        assert_eq!(guarded.status().packets("banned"), before + 1, "{ban}");
        open(peer, source(outside), to);
        guarded.ok(&["unban", ban]);
        open(peer, source(inside), to);
        let output = guarded.code(&["unban", ban], 1);
        assert!(output.stderr.contains(ban), "it names what is not banned: {output:?}");
    }
    assert_eq!(banned(&guarded), [""; 0]);
    // Lifting another ban that holds the same address changes nothing for it.
    guarded.ok(&["ban", "203.0.113.0/24"]);
    guarded.ok(&["ban", "203.0.113.7"]);
    guarded.ok(&["unban", "203.0.113.7"]);
    closed(peer, source("203.0.113.7"), to4);
    assert_eq!(banned(&guarded), ["203.0.113.0/24"]);
}

#[test]
fn a_ban_cuts_a_connection_that_is_open() {
    if !ready() {
        return;
    }
    let (guarded, [ipv4, ipv6]) = world("");
    for (from, to) in [("203.0.113.7", ipv4.address()), ("2001:db8:77::7", ipv6.address())] {
        let stream = open(guarded.peer(), source(from), to);
        assert!(!is_cut(&stream));
        guarded.ok(&["ban", from]);
        assert!(is_cut(&stream), "{from}");
        let before = guarded.status().packets("banned");
        assert!(before > 0);
        // What was sent meanwhile comes when the ban is over.
        guarded.ok(&["unban", from]);
        eventually("the connection lives again", || !is_cut(&stream));
    }
}

#[test]
fn a_ban_ends_by_itself() {
    if !ready() {
        return;
    }
    let (guarded, [ipv4, _ipv6]) = world("");
    let (peer, to) = (guarded.peer(), ipv4.address());
    let seconds = if in_vm() { 10 } else { 2 };
    let begun = Instant::now();
    guarded.ok(&["ban", "203.0.113.7", "--for", &format!("{seconds}s"), "--reason", "too loud"]);
    guarded.ok(&["ban", "203.0.113.64/26", "--for", &format!("{seconds}s")]);
    guarded.ok(&["ban", "203.0.113.200"]);
    let list = guarded.json(&["bans", "--json"]);
    for ban in list["bans"].as_array().expect("a list") {
        let (prefix, until) = (ban["prefix"].as_str().expect("text"), &ban["until"]);
        if prefix == "203.0.113.200/32" || prefix == "203.0.113.200" {
            assert!(until.is_null(), "until it is lifted: {list}");
        } else {
            let until = until.as_str().expect("a time");
            assert!(until.contains('T') && until.len() >= 20, "RFC 3339: {until}");
        }
    }
    assert_eq!(list["bans"].as_array().map(Vec::len), Some(3), "{list}");
    assert!(list.to_string().contains("too loud"), "{list}");
    closed(peer, source("203.0.113.7"), to);
    closed(peer, source("203.0.113.65"), to);
    std::thread::sleep(Duration::from_secs(seconds).saturating_sub(begun.elapsed()));
    // By the kernel's own clock: nothing has to be swept first.
    open(peer, source("203.0.113.7"), to);
    open(peer, source("203.0.113.65"), to);
    closed(peer, source("203.0.113.200"), to);
    eventually("only the last one is listed", || banned(&guarded) == ["203.0.113.200/32"]);
}

#[test]
fn a_repeated_ban_replaces_its_end() {
    if !ready() {
        return;
    }
    let (guarded, [ipv4, _ipv6]) = world("");
    guarded.ok(&["ban", "203.0.113.7", "--for", "1s"]);
    guarded.ok(&["ban", "203.0.113.7"]);
    std::thread::sleep(Duration::from_millis(1500));
    closed(guarded.peer(), source("203.0.113.7"), ipv4.address());
    assert_eq!(guarded.json(&["bans", "--json"])["bans"].as_array().map(Vec::len), Some(1));
    guarded.ok(&["ban", "203.0.113.7", "--for", "1s"]);
    std::thread::sleep(Duration::from_millis(1100));
    open(guarded.peer(), source("203.0.113.7"), ipv4.address());
}

#[test]
fn a_list_is_banned_whole_or_not_at_all() {
    if !ready() {
        return;
    }
    let (guarded, [ipv4, ipv6]) = world("");
    let peer = guarded.peer();
    let list = "# a list\n203.0.113.7\n\n203.0.113.64/26 # a comment\n2001:db8:77:2::/64\n";
    let output = guarded.with_input(&["ban", "--from", "-", "--for", "1h"], list);
    expect_code(&["ban", "--from", "-"], &output, 0);
    assert_eq!(banned(&guarded).len(), 3);
    for from in ["203.0.113.7", "203.0.113.100"] {
        closed(peer, source(from), ipv4.address());
    }
    closed(peer, source("2001:db8:77:2::1"), ipv6.address());

    let file = guarded.instance().write("more.txt", "203.0.113.8\n203.0.113.9\n").expect("written");
    guarded.ok(&["ban", "--from", &file.to_string_lossy()]);
    assert_eq!(banned(&guarded).len(), 5);

    let bad = "203.0.113.10\n203.0.113.999\n";
    let output = guarded.with_input(&["ban", "--from", "-"], bad);
    expect_code(&["ban", "--from", "-"], &output, 2);
    assert!(output.stderr.contains("203.0.113.999"), "{output:?}");
    assert!(output.stderr.contains(":2"), "it names the line: {output:?}");
    assert_eq!(banned(&guarded).len(), 5, "nothing of it was banned");
    open(peer, source("203.0.113.10"), ipv4.address());
    for arguments in [
        &["ban", "203.0.113.999"][..],
        &["ban", "203.0.113.1", "--for", "soon"],
        &["ban"],
        &["unban", "nobody"],
        &["ban", "--from", "/no/such/file"],
    ] {
        let output = nodewall_tests::e2e::ctl(guarded.instance(), arguments);
        assert!(matches!(output.code, Some(1 | 2)), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(banned(&guarded).len(), 5);
}

#[test]
fn a_trusted_address_is_not_banned() {
    if !ready() {
        return;
    }
    let (guarded, [ipv4, _ipv6]) = world("[sources]\ntrusted = [\"203.0.113.0/28\"]\n");
    let output = guarded.code(&["ban", "203.0.113.7"], 4);
    assert!(output.stderr.contains("trusted"), "{output:?}");
    assert_eq!(banned(&guarded), [""; 0]);
    // One that only holds trusted ones is warned of.
    let output = guarded.ok(&["ban", "203.0.113.0/24"]);
    let said = output.stdout + &output.stderr;
    assert!(said.contains("203.0.113.0/28, which the policy trusts"), "{said}");
    open(guarded.peer(), source("203.0.113.7"), ipv4.address());
    closed(guarded.peer(), source("203.0.113.16"), ipv4.address());
    // A list with a trusted one in it bans nobody.
    let output = guarded.with_input(&["ban", "--from", "-"], "192.0.2.1\n203.0.113.1\n");
    expect_code(&["ban", "--from", "-"], &output, 4);
    assert_eq!(banned(&guarded), ["203.0.113.0/24"]);
}
