//! The TCP sockets that a capture shows this host to have: what the kernel's
//! table would have said at the time. Bounded, however many the capture shows.

use std::collections::{HashMap, VecDeque};

use filter_common::{
    Socket,
    read::{Flow, Parsed, Transport, tcp_flags},
};

/// Told of a flow, as it is received, and of what its socket became.
pub type Tell<'a> = &'a mut dyn FnMut(&Flow, Socket);

const SECOND: u64 = 1_000_000_000;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A SYN+ACK went out.
    HalfOpen = 0,
    /// It goes on.
    Open = 1,
    /// Both sides have sent their FIN.
    TimeWait = 2,
}

impl Stage {
    const ALL: [Self; 3] = [Self::HalfOpen, Self::Open, Self::TimeWait];

    /// How many there is room for: together fewer than the program can be told of.
    const fn capacity(self) -> usize {
        match self {
            Self::HalfOpen | Self::TimeWait => 12_288,
            Self::Open => 36_864,
        }
    }

    /// For how long the kernel keeps it, in nanoseconds: five retries of a
    /// SYN+ACK (`tcp_synack_retries`), and `TCP_TIMEWAIT_LEN`.
    const fn lifetime(self) -> u64 {
        match self {
            Self::HalfOpen => 63 * SECOND,
            Self::Open => u64::MAX,
            Self::TimeWait => 60 * SECOND,
        }
    }

    const fn socket(self) -> Socket {
        match self {
            Self::HalfOpen => Socket::HalfOpen,
            Self::Open | Self::TimeWait => Socket::Live,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    stage: Stage,
    /// Which of the entries of its queue is its own.
    id: u64,
    /// This side has sent its FIN; the other has.
    fins: [bool; 2],
}

/// Those that came to a stage, in the order in which they did.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<(u64, u64, Flow)>,
    /// How many of them are still there.
    live: usize,
}

/// The sockets.
#[derive(Debug, Default)]
pub struct Sockets {
    connections: HashMap<Flow, Connection>,
    queues: [Queue; 3],
    next: u64,
}

impl Sockets {
    /// This host has sent a segment; `now` in nanoseconds.
    pub fn sent(&mut self, parsed: &Parsed, now: u64, tell: Tell<'_>) {
        if parsed.transport != Transport::Tcp {
            return;
        }
        // As what answers it is received.
        let flow = Flow {
            source: parsed.flow.destination,
            destination: parsed.flow.source,
            source_port: parsed.flow.destination_port,
            destination_port: parsed.flow.source_port,
        };
        let flags = parsed.tcp.flags;
        let has = |bits| flags & bits == bits;
        if has(tcp_flags::RST) {
            return self.remove(&flow, tell);
        }
        let known = self.connections.get(&flow).map(|connection| connection.stage);
        match known {
            // Sent again.
            Some(Stage::HalfOpen) if has(tcp_flags::SYN | tcp_flags::ACK) => {}
            _ if has(tcp_flags::SYN | tcp_flags::ACK) => {
                self.set(flow, Stage::HalfOpen, now, tell);
            }
            // A handshake's socket says nothing before it has heard the last of it.
            Some(Stage::Open | Stage::HalfOpen) if !has(tcp_flags::SYN) => {}
            Some(Stage::TimeWait) if !has(tcp_flags::SYN) => {}
            // It begins one, or is in the middle of one when the capture begins.
            _ => self.set(flow, Stage::Open, now, tell),
        }
        if has(tcp_flags::FIN) {
            self.finish(&flow, 0, now, tell);
        }
    }

    /// This host has received a segment that passed.
    pub fn received(&mut self, parsed: &Parsed, now: u64, tell: Tell<'_>) {
        if parsed.transport != Transport::Tcp {
            return;
        }
        let (flow, flags) = (&parsed.flow, parsed.tcp.flags);
        let Some(connection) = self.connections.get(flow) else { return };
        if flags & tcp_flags::RST != 0 {
            return self.remove(flow, tell);
        }
        let is_last = flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::ACK;
        if connection.stage == Stage::HalfOpen && is_last {
            self.set(*flow, Stage::Open, now, tell);
        }
        if flags & tcp_flags::FIN != 0 {
            self.finish(flow, 1, now, tell);
        }
    }

    /// Takes out what the kernel would not have any more.
    pub fn end(&mut self, now: u64, tell: Tell<'_>) {
        for stage in Stage::ALL {
            while let Some((since, id, flow)) = self.queues[stage as usize].entries.front().copied()
            {
                let is_own = self.is_own(&flow, id);
                if is_own && now.saturating_sub(since) < stage.lifetime() {
                    break;
                }
                self.queues[stage as usize].entries.pop_front();
                if is_own {
                    self.remove(&flow, tell);
                }
            }
        }
    }

    fn is_own(&self, flow: &Flow, id: u64) -> bool {
        self.connections.get(flow).is_some_and(|connection| connection.id == id)
    }

    /// One side has sent its FIN.
    fn finish(&mut self, flow: &Flow, side: usize, now: u64, tell: Tell<'_>) {
        let Some(connection) = self.connections.get_mut(flow) else { return };
        connection.fins[side] = true;
        if connection.fins == [true; 2] && connection.stage == Stage::Open {
            self.set(*flow, Stage::TimeWait, now, tell);
        }
    }

    fn set(&mut self, flow: Flow, stage: Stage, now: u64, tell: Tell<'_>) {
        self.forget(&flow);
        self.next += 1;
        let connection = Connection { stage, id: self.next, fins: [false; 2] };
        // The oldest gives way.
        while self.queues[stage as usize].live >= stage.capacity() {
            let Some((_, id, oldest)) = self.queues[stage as usize].entries.pop_front() else {
                break;
            };
            if self.is_own(&oldest, id) {
                self.remove(&oldest, tell);
            }
        }
        self.connections.insert(flow, connection);
        let queue = &mut self.queues[stage as usize];
        queue.live += 1;
        queue.entries.push_back((now, self.next, flow));
        if queue.entries.len() > 2 * stage.capacity() {
            let connections = &self.connections;
            let is_own = |id, flow: &Flow| connections.get(flow).is_some_and(|own| own.id == id);
            queue.entries.retain(|(_, id, flow)| is_own(*id, flow));
        }
        tell(&flow, stage.socket());
    }

    fn remove(&mut self, flow: &Flow, tell: Tell<'_>) {
        if self.forget(flow) {
            tell(flow, Socket::None);
        }
    }

    fn forget(&mut self, flow: &Flow) -> bool {
        let before = self.connections.remove(flow);
        if let Some(connection) = before {
            self.queues[connection.stage as usize].live -= 1;
        }
        before.is_some()
    }
}

#[cfg(test)]
mod tests {
    use filter_common::{Reason, read};

    use super::*;
    use crate::{capture::Link, packet::Packet};

    const HOST: &str = "192.0.2.1:22";
    const PEER: &str = "198.51.100.9:4000";

    /// What the program was told, by flow.
    #[derive(Default)]
    struct World {
        sockets: Sockets,
        told: HashMap<Flow, Socket>,
    }

    impl World {
        fn see(&mut self, text: &str, is_sent: bool, now: u64) {
            let frame = text.parse::<Packet>().map(|packet| packet.frame(Link::RawIp));
            let Ok(Ok(frame)) = frame else { panic!("{text}: {frame:?}") };
            let mut parsed = Parsed::default();
            assert_eq!(read::packet(frame.as_slice(), true, &mut parsed), Reason::Rule);
            let told = &mut self.told;
            let tell = &mut |flow: &Flow, socket| {
                match socket {
                    Socket::None => told.remove(flow),
                    _ => told.insert(*flow, socket),
                };
            };
            self.sockets.end(now * SECOND, tell);
            if is_sent {
                self.sockets.sent(&parsed, now * SECOND, tell);
            } else {
                self.sockets.received(&parsed, now * SECOND, tell);
            }
        }

        fn sends(&mut self, flags: &str, now: u64) {
            self.see(&format!("tcp {HOST} > {PEER} {flags}"), true, now);
        }

        fn receives(&mut self, flags: &str, now: u64) {
            self.see(&format!("tcp {PEER} > {HOST} {flags}"), false, now);
        }

        /// What there is, of one connection at most.
        fn socket(&self) -> Option<Socket> {
            assert!(self.told.len() <= 1);
            let live: usize = self.sockets.queues.iter().map(|queue| queue.live).sum();
            assert_eq!((self.sockets.connections.len(), live), (self.told.len(), self.told.len()));
            self.told.values().next().copied()
        }
    }

    #[test]
    fn a_connection_that_a_peer_begins_goes_through_its_stages() {
        let mut world = World::default();
        world.receives("syn", 0);
        assert_eq!(world.socket(), None);
        world.sends("syn ack", 0);
        world.sends("syn ack", 1);
        assert_eq!(world.socket(), Some(Socket::HalfOpen));
        world.receives("ack", 2);
        assert_eq!(world.socket(), Some(Socket::Live));
        world.sends("ack psh", 500);
        world.receives("fin ack", 501);
        world.sends("ack", 501);
        assert_eq!(world.socket(), Some(Socket::Live));
        world.sends("fin ack", 502);
        world.receives("ack", 561);
        assert_eq!(world.socket(), Some(Socket::Live));
        world.receives("ack", 562);
        assert_eq!(world.socket(), None);
    }

    #[test]
    fn one_that_this_host_begins_is_live_at_once_and_a_reset_ends_it() {
        for by_host in [true, false] {
            let mut world = World::default();
            world.sends("syn", 0);
            assert_eq!(world.socket(), Some(Socket::Live));
            world.receives("syn ack", 1);
            world.sends("ack", 1);
            assert_eq!(world.socket(), Some(Socket::Live));
            if by_host {
                world.sends("rst", 2);
            } else {
                world.receives("rst ack", 2);
            }
            assert_eq!(world.socket(), None);
            // The answer to a segment of no connection makes none.
            world.sends("rst ack", 3);
            assert_eq!(world.socket(), None);
        }
    }

    #[test]
    fn one_that_is_older_than_the_capture_is_live_with_the_hosts_first_segment() {
        let mut world = World::default();
        world.receives("ack", 0);
        assert_eq!(world.socket(), None);
        world.sends("ack", 0);
        assert_eq!(world.socket(), Some(Socket::Live));
    }

    #[test]
    fn a_handshake_that_nobody_ends_is_forgotten_and_the_same_ports_begin_anew() {
        let mut world = World::default();
        world.sends("syn ack", 0);
        world.sends("ack", 1);
        assert_eq!(world.socket(), Some(Socket::HalfOpen), "a challenge is no proof");
        world.receives("syn", 63);
        assert_eq!(world.socket(), None);
        world.sends("syn ack", 64);
        world.receives("ack", 64);
        world.receives("fin ack", 65);
        world.sends("fin ack", 65);
        world.sends("syn", 66);
        world.receives("ack", 126);
        assert_eq!(world.socket(), Some(Socket::Live));
    }

    #[test]
    fn however_many_there_are_the_oldest_give_way() {
        let mut world = World::default();
        for n in 0..100_000_u32 {
            let peer = std::net::Ipv4Addr::from(0xc612_0000 + n);
            world.see(&format!("tcp {HOST} > {peer}:4000 syn ack"), true, 0);
            if n % 2 == 0 {
                world.see(&format!("tcp {peer}:4000 > {HOST} ack"), false, 0);
            }
        }
        let open = world.told.values().filter(|socket| **socket == Socket::Live).count();
        assert_eq!((open, world.told.len() - open), (36_864, 12_288));
        assert!(world.told.len() < filter_common::tables::probe::SOCKETS as usize);
        assert_eq!(world.sockets.connections.len(), world.told.len());
        for queue in &world.sockets.queues {
            assert!(queue.entries.len() <= 2 * 36_864);
        }
        world.see(&format!("tcp {HOST} > 192.0.2.7:4000 rst"), true, 100);
        assert_eq!(world.told.len(), 36_864, "handshakes end");
    }
}
