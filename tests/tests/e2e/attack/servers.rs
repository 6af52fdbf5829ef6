//! Slots of servers that are processes of their own.

use std::{
    env,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    thread,
    time::Duration,
};

use bench::foreign::Forgetful;
use nodewall_tests::e2e::{Guarded, at_most, echoes, held, holds, open, ready, soon, within};
use sandbox::{HOST_IPV4, Sandbox};

const PORT: u16 = 8080;
/// Tells a test, started as a process of its own, that it is the server. Its
/// value is the cgroup that it enters first, or nothing.
const SERVER: &str = "NODEWALL_TEST_SERVER";

/// Serves if this process is a server, until it is killed: echoes to all who
/// come, and closes when they do.
fn serves() -> bool {
    let Some(cgroup) = env::var_os(SERVER) else { return false };
    if !cgroup.is_empty() {
        let members = Path::new(&cgroup).join("cgroup.procs");
        fs::write(members, process::id().to_string()).expect("it takes the process");
    }
    let listener = TcpListener::bind((HOST_IPV4, PORT)).expect("bound");
    for stream in listener.incoming() {
        let mut stream = stream.expect("accepted");
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                let _gone = stream.write_all(&buffer[..length]);
            }
        });
    }
    true
}

/// Starts `test` as a server in the host's namespace, and waits until it listens.
fn start(world: &Sandbox, test: &str, cgroup: &Path) -> Child {
    let mut server = Command::new(env::current_exe().expect("this test"));
    server.args(["--exact", test]).env(SERVER, cgroup);
    server.stdin(Stdio::null()).stdout(Stdio::null());
    let server = world.host.spawn(server).expect("it runs");
    let at = format!(":{PORT:04X} 00000000:0000 0A");
    within(soon(), "the server listens", || {
        let list = world.host.enter(|| fs::read_to_string("/proc/thread-self/net/tcp"));
        list.expect("entered").expect("read").contains(&at)
    });
    server
}

#[test]
fn a_server_that_is_killed_frees_its_slots() {
    const HELD: u64 = 20;
    if serves() || !ready() {
        return;
    }
    let guarded = Guarded::new(&at_most(30));
    let world = &guarded.world;
    for _ in 0..2 {
        let name = "attack::servers::a_server_that_is_killed_frees_its_slots";
        let mut server = start(world, name, Path::new(""));
        let at = world.host_ipv4(PORT);
        let streams: Vec<TcpStream> = (0..HELD).map(|_| open(&world.peer, None, at)).collect();
        holds(&guarded, HELD);
        // SIGKILL.
        server.kill().expect("it ran");
        server.wait().expect("it ended");
        // The clients hold on to their ends.
        holds(&guarded, 0);
        drop(streams);
    }
    assert_eq!(guarded.status().0["connections"]["drift"], 0);
}

/// A cgroup of this test's own, below the root.
struct Cgroup(PathBuf);

impl Cgroup {
    /// `None` where no file system of version 2 is mounted, or it refuses.
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("read");
        let root = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let place = words.next();
            place.filter(|_| words.next() == Some("cgroup2"))
        });
        let path = Path::new(root?).join(format!("{name}-{}", process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It must be empty, which it is a moment after its last process.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The daemon sweeps every five seconds, and mends what two sweeps agree on.
#[test]
fn what_another_program_hides_is_found_by_the_recount() {
    const HELD: u64 = 4;
    const ENDED: u64 = 3;
    if serves() || !ready() {
        return;
    }
    let Some(cgroup) = Cgroup::new("nodewall-test") else {
        println!("skipped: no cgroup of version 2 can be made here");
        return;
    };
    let file = File::open(&cgroup.0).expect("it is there");
    let foreign = match Forgetful::attach(&file) {
        Ok(foreign) => foreign,
        Err(error) => {
            println!("skipped: the kernel takes no program on a cgroup: {error:#}");
            return;
        }
    };
    let guarded = Guarded::new(&at_most(10));
    let world = &guarded.world;
    let name = "attack::servers::what_another_program_hides_is_found_by_the_recount";
    let mut server = start(world, name, &cgroup.0);
    let at = world.host_ipv4(PORT);
    let mut streams: Vec<TcpStream> = (0..HELD).map(|_| open(&world.peer, None, at)).collect();
    holds(&guarded, HELD);
    streams.truncate((HELD - ENDED) as usize);
    // The sockets are gone, and the program was not told.
    thread::sleep(Duration::from_millis(200));
    let kept = held(&guarded);
    let took =
        within(Duration::from_secs(30), "the recount mends it", || held(&guarded) == HELD - ENDED);
    let drift = guarded.status().0["connections"]["drift"].as_u64().expect("a number");
    println!("{kept} held of {HELD} after {ENDED} had ended; mended after {took:?}, drift {drift}");
    // Each for its source, its network and all.
    assert_eq!(drift, kept - (HELD - ENDED), "what was hidden is what was mended");
    assert!(drift > 0, "the foreign program hid nothing");
    streams.iter().for_each(|stream| echoes(stream, 1000));
    // What comes after it is counted rightly again.
    drop(foreign);
    streams.push(open(&world.peer, None, at));
    holds(&guarded, HELD - ENDED + 1);
    streams.pop();
    holds(&guarded, HELD - ENDED);
    server.kill().expect("it ran");
    server.wait().expect("it ended");
}
