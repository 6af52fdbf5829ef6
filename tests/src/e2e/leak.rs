//! A sender that never stops, and a receiver that counts what came through and
//! should not have.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use sandbox::{HOST_IPV4, Sandbox};

use super::Attacker;

/// UDP datagrams from the peer to a socket behind a closed port of the host,
/// from several sources, as fast as it goes; and as many to a port that may be
/// open.
#[derive(Debug)]
pub struct Leak {
    receiver: UdpSocket,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Leaked {
    /// Datagrams that were sent.
    pub sent: u64,
    /// Datagrams that reached the socket, as far as its buffer held them.
    pub through: u64,
}

impl Leak {
    /// The port whose socket is to receive nothing.
    pub const CLOSED: u16 = 9999;
    /// The other one, where nobody listens.
    pub const OPEN: u16 = 9998;

    /// Begins to send.
    ///
    /// # Panics
    /// If there are no sockets to be had.
    #[track_caller]
    #[must_use]
    pub fn start(world: &Sandbox) -> Self {
        let bind = || UdpSocket::bind((HOST_IPV4, Self::CLOSED));
        let receiver = world.host.enter(bind).expect("entered").expect("bound");
        receiver.set_nonblocking(true).expect("no more than a flag");
        let stop = Arc::new(AtomicBool::new(false));
        let (world, stopped) = (world.clone(), Arc::clone(&stop));
        let sender = std::thread::spawn(move || {
            let attacker = Attacker::new(&world);
            let frame = |last: u8, port: u16| {
                let source = Ipv4Addr::new(203, 0, 113, last);
                let frame = world.frame_to_host().ipv4(source, HOST_IPV4);
                frame.udp(4000, port).payload([0; 8]).build()
            };
            let frames: Vec<Vec<u8>> = (1..=250)
                .flat_map(|last| [frame(last, Self::CLOSED), frame(last, Self::OPEN)])
                .collect();
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                for frame in &frames {
                    attacker.send(frame);
                    sent += 1;
                }
            }
            sent
        });
        Self { receiver, stop, sender }
    }

    /// Ends it.
    ///
    /// # Panics
    /// If the sender did.
    #[must_use]
    pub fn stop(self) -> Leaked {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender runs to its end");
        // The socket's buffer holds fewer than may have come: any at all is too many.
        let mut buffer = [0; 64];
        let mut through = 0;
        while self.receiver.recv(&mut buffer).is_ok() {
            through += 1;
        }
        Leaked { sent, through }
    }
}
