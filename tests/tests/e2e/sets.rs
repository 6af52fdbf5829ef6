//! Set files are watched, and a bad one changes nothing.

use std::{fs, path::PathBuf};

use nodewall_tests::e2e::{Guarded, closed, eventually, open, ready, rule_for, source};
use sandbox::{Sandbox, Server, tcp_listen};

const FIRST: &str = "203.0.113.1";
const SECOND: &str = "203.0.113.2";

struct Watched {
    guarded: Guarded,
    server: Server,
}

impl Watched {
    fn new() -> Self {
        let world = Sandbox::pair().expect("a pair");
        world.add_sources("203.0.113.0/24".parse().expect("a prefix")).expect("added");
        let installed = nodewall_tests::e2e::instance(&world.host);
        installed.write("peers.txt", &format!("{FIRST} # the first\n")).expect("written");
        installed.write("denied.txt", "192.0.2.1\n").expect("written");
        let policy = format!(
            "interfaces = [\"nw0\"]\n[sources]\ndenied = [\"@denied\"]\n[sets]\npeers = {{ file = \"peers.txt\" }}\n\
             denied = {{ file = \"denied.txt\" }}\n{}",
            rule_for("p2p", "tcp/8080", "from = [\"@peers\"]")
        );
        let daemon =
            installed.start(sandbox::Policy::Text(&policy), &[]).expect("the daemon starts");
        let server = tcp_listen(&world.host, world.host_ipv4(8080)).expect("a server");
        Self { guarded: Guarded { daemon, world }, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.guarded.instance().outside(name)
    }

    fn replace(&self, name: &str, text: &str) {
        self.guarded.instance().write(name, text).expect("written");
    }

    #[track_caller]
    fn admits(&self, from: &str) {
        open(self.guarded.peer(), source(from), self.server.address());
    }

    #[track_caller]
    fn refuses(&self, from: &str) {
        closed(self.guarded.peer(), source(from), self.server.address());
    }

    #[track_caller]
    fn switched(&self, after: u64) {
        eventually("the set is in force", || self.guarded.status().generation() > after);
    }

    #[track_caller]
    fn complains(&self, set: &str, words: &[&str]) {
        eventually("status tells of it", || self.guarded.status().set_problem(set).is_some());
        let problem = self.guarded.status().set_problem(set).unwrap_or_default();
        for word in words {
            assert!(problem.contains(word), "it says {word}: {problem}");
        }
        let log = format!("the set `{set}` keeps its earlier content");
        assert!(self.guarded.daemon.wait_for_stderr(&log, nodewall_tests::e2e::soon()));
    }
}

#[test]
fn a_set_file_is_read_again_however_it_changes() {
    if !ready() {
        return;
    }
    let watched = Watched::new();
    watched.admits(FIRST);
    watched.refuses(SECOND);
    // Replaced by another file of its name, as editors do.
    let before = watched.guarded.status().generation();
    watched.replace("peers.txt", &format!("{SECOND}\n"));
    watched.switched(before);
    watched.refuses(FIRST);
    watched.admits(SECOND);
    // Written in place, as `echo >> file` does.
    let before = watched.guarded.status().generation();
    let mut text = fs::read_to_string(watched.path("peers.txt")).expect("read");
    text.push_str("203.0.113.0/30\n");
    fs::write(watched.path("peers.txt"), text).expect("written");
    watched.switched(before);
    watched.admits(FIRST);
    watched.admits(SECOND);
    // A list of denied sources is a set as any other.
    let before = watched.guarded.status().generation();
    watched.replace("denied.txt", &format!("{FIRST}\n"));
    watched.switched(before);
    watched.refuses(FIRST);
    watched.admits(SECOND);
    // What means the same is no change.
    let before = watched.guarded.status().generation();
    watched.replace("denied.txt", &format!("# the same\n{FIRST}/32\n"));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(watched.guarded.status().generation(), before);
}

#[test]
fn a_set_file_that_is_bad_or_gone_keeps_what_it_had() {
    if !ready() {
        return;
    }
    let watched = Watched::new();
    let generation = watched.guarded.status().generation();
    watched.replace("peers.txt", &format!("{SECOND}\n198.51.100.300\n"));
    watched.complains("peers", &["peers.txt:2", "198.51.100.300"]);
    watched.admits(FIRST);
    watched.refuses(SECOND);
    assert_eq!(watched.guarded.status().generation(), generation);
    assert!(watched.guarded.status().set_problem("denied").is_none());
    // The other set changes all the same.
    watched.replace("denied.txt", "203.0.113.9\n");
    watched.switched(generation);
    watched.admits(FIRST);

    let generation = watched.guarded.status().generation();
    fs::remove_file(watched.path("peers.txt")).expect("removed");
    eventually("status tells that it is gone", || {
        let problem = watched.guarded.status().set_problem("peers").unwrap_or_default();
        problem.contains("does not exist")
    });
    watched.admits(FIRST);
    watched.refuses(SECOND);
    assert_eq!(watched.guarded.status().generation(), generation);

    // Good again.
    watched.replace("peers.txt", &format!("{SECOND}\n"));
    watched.switched(generation);
    eventually("nothing is wrong any more", || {
        watched.guarded.status().set_problem("peers").is_none()
    });
    watched.refuses(FIRST);
    watched.admits(SECOND);
}

#[test]
fn a_set_that_comes_in_conflict_keeps_what_it_had() {
    if !ready() {
        return;
    }
    let watched = Watched::new();
    watched.replace("other.txt", "192.0.2.1\n");
    let policy = format!(
        "interfaces = [\"nw0\"]\n[sets]\npeers = {{ file = \"peers.txt\" }}\nother = {{ file = \"other.txt\" }}\n{}{}",
        rule_for("p2p", "tcp/8080", "from = [\"@peers\"]"),
        rule_for("more", "tcp/8080", "from = [\"@other\"]")
    );
    watched.guarded.apply(&policy);
    let generation = watched.guarded.status().generation();
    // Two rules would claim the same prefix.
    watched.replace("other.txt", &format!("{FIRST}\n"));
    watched.complains("other", &["claimed by two rules", "`p2p`", "`more`"]);
    assert_eq!(watched.guarded.status().generation(), generation);
    watched.admits(FIRST);
    watched.replace("other.txt", &format!("{SECOND}\n"));
    watched.switched(generation);
    watched.admits(SECOND);
}
