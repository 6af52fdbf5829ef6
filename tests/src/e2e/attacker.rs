//! Who sends in other names: raw frames from the peer's end of the link.

use std::net::Ipv4Addr;

use sandbox::{HOST_IPV4, PEER_LINK, RawSocket, Sandbox, packet::Frame, packet::Tcp};

/// Numbers that are the same in each run (xorshift, Marsaglia 2003).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x6e6f_6465_7761_6c6c)
    }
}

impl Random {
    /// The next word.
    pub fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    /// A port that is not 0.
    pub fn port(&mut self) -> u16 {
        (self.word() >> 16) as u16 | 1
    }
}

/// A sender of forged IPv4 segments.
#[derive(Debug)]
pub struct Attacker<'a> {
    world: &'a Sandbox,
    socket: RawSocket,
    /// What its sequence numbers and ports are drawn from.
    pub random: Random,
}

impl<'a> Attacker<'a> {
    /// One at the peer's end.
    ///
    /// # Panics
    /// If there can be no packet socket.
    #[track_caller]
    #[must_use]
    pub fn new(world: &'a Sandbox) -> Self {
        let socket = RawSocket::open(&world.peer, PEER_LINK).expect("a socket");
        Self { world, socket, random: Random::default() }
    }

    /// A segment in the name of `source` with both numbers drawn; the flags are
    /// still to be set.
    #[must_use]
    pub fn segment(&mut self, source: Ipv4Addr, from: u16, to: u16) -> Frame<Tcp> {
        let (sequence, acknowledgement) = (self.random.word(), self.random.word());
        let frame = self.world.frame_to_host().ipv4(source, HOST_IPV4).tcp(from, to);
        frame.sequence(sequence).acknowledgement(acknowledgement)
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// If it cannot be sent.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        self.socket.send(frame).expect("sent");
    }
}
