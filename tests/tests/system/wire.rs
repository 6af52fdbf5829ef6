//! A link of this host, whose other end is in a network namespace of its own: the sender there, the receiver here.

use std::{
    fmt,
    fs::File,
    net::{Ipv4Addr, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use bench::flood::{Instruments, Sources};
use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{setsockopt, sockopt::RcvBufForce},
};
use sandbox::packet::frame;

use super::host::{output, succeed, wait_for};

/// No rule opens it.
pub const CLOSED: u16 = 9000;
const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The other end.
pub const PEER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Frames that are sent before it is asked again whether to go on.
const PORTION: u32 = 10_000;
/// All of them fit, should they come through; a page for each.
const RECEIVE_BUFFER: usize = 64 << 20;

/// What was sent, and what came through.
#[derive(Debug, Default)]
pub struct Flood {
    sent: u64,
    /// Datagrams that an application on this host received.
    pub received: u64,
    took: Duration,
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, received, took } = self;
        let rate = *sent as f64 / took.as_secs_f64();
        write!(f, "{sent} sent at {rate:.0} a second, {received} came through")
    }
}

/// The link `nw0`.
pub struct Wire;

impl Wire {
    /// Makes the link, with the default route over it.
    pub fn make() -> Self {
        let wire = Self::make_down();
        wire.up();
        wire
    }

    /// Makes the link, and waits until udev is done with it. Nothing is configured yet.
    pub fn make_down() -> Self {
        succeed("ip", &["netns", "add", "peer"]);
        succeed(
            "ip",
            &["link", "add", "nw0", "type", "veth", "peer", "name", "peer0", "netns", "peer"],
        );
        succeed("udevadm", &["settle"]);
        // So that what is sent to it arrives without a program on it, too.
        succeed("ethtool", &["-K", "nw0", "gro", "on"]);
        Self
    }

    /// Brings both ends up.
    pub fn up(&self) {
        let peer = ["netns", "exec", "peer", "ip"];
        succeed("ip", &["address", "add", "198.51.100.2/24", "dev", "nw0"]);
        succeed("ip", &["link", "set", "nw0", "up"]);
        for arguments in [
            &["address", "add", "198.51.100.1/24", "dev", "peer0"][..],
            &["address", "add", "203.0.113.66/32", "dev", "peer0"],
            &["address", "add", "203.0.113.67/32", "dev", "peer0"],
            &["link", "set", "peer0", "up"],
        ] {
            succeed("ip", &[&peer, arguments].concat());
        }
        succeed("ip", &["route", "replace", "default", "via", "198.51.100.1", "dev", "nw0"]);
        wait_for("the link is up", || output("ip", &["link", "show", "nw0"]).contains("LOWER_UP"));
    }

    /// Sends so many frames to the closed port.
    pub fn flood(&self, frames: u32) -> Flood {
        let mut left = frames;
        Self::flood_while(PEER, CLOSED, || {
            let portion = left.min(PORTION);
            left -= portion;
            portion
        })
    }

    /// Sends to a closed port for as long as the work takes; nothing may come through.
    #[track_caller]
    pub fn while_flooding(&self, what: &str, work: impl FnOnce()) {
        let flood = self.flood_during(PEER, CLOSED, work);
        println!("{what}: {flood}");
        assert_eq!(flood.received, 0, "{what}: {flood}");
    }

    /// Sends from an address to a port for as long as the work takes.
    pub fn flood_during(&self, from: Ipv4Addr, port: u16, work: impl FnOnce()) -> Flood {
        let done = AtomicBool::new(false);
        let flood = thread::scope(|scope| {
            let flood = scope.spawn(|| {
                Self::flood_while(from, port, || {
                    if done.load(Ordering::Relaxed) { 0 } else { PORTION }
                })
            });
            // Whatever happens to the work, the flood ends.
            let stop = Stop(&done);
            work();
            drop(stop);
            flood.join().expect("the flood")
        });
        assert!(flood.sent > 0);
        flood
    }

    fn flood_while(from: Ipv4Addr, port: u16, mut next: impl FnMut() -> u32 + Send) -> Flood {
        let receiver = UdpSocket::bind(("0.0.0.0", port)).expect("a socket");
        receiver.set_nonblocking(true).expect("set");
        setsockopt(&receiver, RcvBufForce, &RECEIVE_BUFFER).expect("set");
        let [host, peer] = [mac(&[]), mac(&["netns", "exec", "peer", "ip"])];
        let frame = frame().eth().from_mac(peer).to_mac(host);
        let frame = frame.ipv4(from, HOST).udp(4000, port).checksum(0).payload([0; 32]).build();
        let mut flood = Flood::default();
        in_peer(|| {
            let index = nix::net::if_::if_nametoindex("peer0").expect("it is there");
            let mut instruments = Instruments::load().expect("they load");
            instruments.set_sources(&Sources::Listed(vec![from])).expect("set");
            let begun = Instant::now();
            loop {
                let portion = next();
                if portion == 0 {
                    break;
                }
                instruments.flood(index, &frame, portion).expect("sent");
                flood.sent += u64::from(portion);
                flood.received += drain(&receiver);
            }
            flood.took = begun.elapsed();
        });
        // What is still under way.
        thread::sleep(Duration::from_millis(100));
        flood.received += drain(&receiver);
        flood
    }

    /// Connects from the other end to a port of the host.
    pub fn connect(&self, port: u16) -> TcpStream {
        in_peer(|| TcpStream::connect((HOST, port)).expect("connected"))
    }

    /// Says one word to a port of the host from an address of the peer; how many words arrived.
    pub fn say(&self, from: &str, port: u16) -> usize {
        let receiver = UdpSocket::bind(("0.0.0.0", port)).expect("a socket");
        receiver.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
        in_peer(|| {
            let sender = UdpSocket::bind((from, 0)).expect("a socket");
            sender.send_to(b"word", (HOST, port)).expect("sent");
        });
        usize::from(receiver.recv(&mut [0; 16]).is_ok())
    }
}

/// Does something in the namespace of the other end.
fn in_peer<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let namespace = File::open("/run/netns/peer").expect("it is there");
            // Of this thread alone.
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("entered");
            work()
        });
        worker.join().expect("what was done there")
    })
}

/// Takes what has come through.
fn drain(receiver: &UdpSocket) -> u64 {
    let mut count = 0;
    while receiver.recv(&mut [0; 64]).is_ok() {
        count += 1;
    }
    count
}

/// The address of the link's end here, or there.
fn mac(there: &[&str]) -> [u8; 6] {
    let link = if there.is_empty() { "nw0" } else { "peer0" };
    let show = ["-brief", "link", "show", link];
    let said = match there {
        [] => output("ip", &show),
        _ => output("ip", &[there, &show].concat()),
    };
    let address = said.split_whitespace().nth(2).unwrap_or_else(|| panic!("{said}"));
    let bytes: Vec<u8> =
        address.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
    bytes.try_into().expect("six bytes")
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
