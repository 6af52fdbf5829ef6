//! What the host sends: through the classifier, as its own, or as a
//! container's that it forwards.

use std::{net::IpAddr, time::Duration};

use aya::{
    TestRunOptions,
    programs::{TestRun as _, tc::SchedClassifierLink},
};
use filter_common::{FlowKey, FlowTable, HalfOpen, Origin, Sent, Stage, read::Flow};
use filter_user::dataplane::{Hook, Interface, monotonic};
use sandbox::{Link, Namespace, RawSocket, Veth, VethOptions};

use super::Kernel;
use crate::e2e::soon;

/// What the classifier answers: whoever else is on the hook may run.
const TC_ACT_UNSPEC: i32 = -1;

/// The value, or an end of the test that says what could not be done.
#[track_caller]
fn expect<T, E: std::fmt::Debug>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("cannot {what}: {error:?}"),
    }
}

impl Kernel {
    /// Has the host send a frame from a socket of its own by the interface at hand.
    ///
    /// # Panics
    /// If the kernel does not run the classifier, or that says anything of the frame.
    #[track_caller]
    pub fn send(&mut self, frame: &[u8]) {
        self.model.send(frame, Origin::Own);
        let context = self.interface_index().map(context);
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: context.as_ref().map(|context| context.as_slice()),
            ..TestRunOptions::default()
        };
        let classifier = expect(self.plane.classifier(), "find the classifier");
        let result = expect(classifier.test_run(options), "run the classifier");
        assert_eq!(result.return_value.cast_signed(), TC_ACT_UNSPEC, "the classifier's answer");
    }

    /// Puts an entry of that age into a table, in the kernel and in the model.
    ///
    /// # Panics
    /// If the kernel refuses it.
    pub fn remember(&mut self, table: FlowTable, key: &FlowKey, stage: Stage, age: Duration) {
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        // The machine may be younger than the entry: clocks wrap, as in the filter.
        let word = |now: u64| match table {
            FlowTable::HalfOpen => HalfOpen::new(now.wrapping_sub(age), 0).0,
            _ => Sent::new(now.wrapping_sub(age), stage).0,
        };
        // The port is spoken from now: it is the entry's age that matters.
        let now = monotonic();
        expect(self.plane.remember(table, key, word(now), now), "write an entry");
        let now = self.model.now.get();
        self.model.remember(table, key, word(now), now);
    }

    /// The tables that hold a flow, in the kernel; the model must agree.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn tables_of(&self, key: &FlowKey) -> Vec<FlowTable> {
        use filter_common::Flows as _;
        let all = [FlowTable::Flows, FlowTable::Answered, FlowTable::HalfOpen, FlowTable::Asked];
        let holds = |table: &FlowTable| self.plane.flow_entry(*table, key) != 0;
        let found: Vec<FlowTable> = all.into_iter().filter(holds).collect();
        let modelled: Vec<FlowTable> =
            all.into_iter().filter(|table| self.model.word(*table, key) != 0).collect();
        assert_eq!(found, modelled, "kernel and model, of {key:?}");
        found
    }
}

/// A `struct __sk_buff` of a frame that leaves by an interface.
fn context(interface: u32) -> [u8; 192] {
    const IFINDEX: usize = 40;
    let mut bytes = [0; 192];
    bytes[IFINDEX..IFINDEX + 4].copy_from_slice(&interface.to_ne_bytes());
    bytes
}

/// A key from the host's side of a flow.
#[must_use]
pub fn flow_key(remote: (IpAddr, u16), local: (IpAddr, u16), protocol: u8) -> FlowKey {
    let flow = Flow {
        source: remote.0.into(),
        destination: local.0.into(),
        source_port: remote.1,
        destination_port: local.1,
    };
    FlowKey::received(&flow, protocol)
}

/// A container behind the host, whose packets it forwards to an uplink on which
/// the classifier is.
#[derive(Debug)]
pub struct Container {
    /// Where its packets come out.
    outside: RawSocket,
    /// Where they go in.
    inside: RawSocket,
    /// The host's end of the container's link.
    gateway: Link,
    up: Interface,
    link: Option<SchedClassifierLink>,
}

impl Container {
    /// Has packets from `local` to `remote` go out by the uplink `up`.
    ///
    /// # Panics
    /// If the links cannot be made, or the classifier not be attached.
    #[must_use]
    pub fn new(kernel: &mut Kernel, hook: Hook, pairs: &[(IpAddr, IpAddr)]) -> Self {
        let host = kernel.namespace.clone();
        let container = expect(Namespace::new("container"), "make a network namespace");
        let world = expect(Namespace::new("world"), "make a network namespace");
        let options = VethOptions::default();
        let inside = expect(Veth::new((&host, "gw"), (&container, "c0"), options), "make a link");
        let outside = expect(Veth::new((&host, "up"), (&world, "w0"), options), "make a link");
        for (parameter, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
        ] {
            expect(host.set_parameter(parameter, value), "let the host forward");
        }
        for (local, remote) in pairs {
            let near = |ip: &IpAddr| if ip.is_ipv4() { "10.7.0.1/24" } else { "fd00:7::1/64" };
            let far = |ip: &IpAddr| if ip.is_ipv4() { "10.8.0.1/24" } else { "fd00:8::1/64" };
            expect(inside.a.add_address(expect(near(local).parse(), "read")), "add an address");
            expect(outside.a.add_address(expect(far(local).parse(), "read")), "add an address");
            expect(inside.a.add_route((*local).into(), None), "add a route");
            expect(outside.a.add_route((*remote).into(), None), "add a route");
            expect(outside.a.add_neighbour(*remote, outside.b.mac()), "add a neighbour");
        }
        let up = Interface {
            name: "up".to_owned(),
            index: expect(outside.a.index(), "find the link"),
            kind: 1,
            mtu: 1500,
            program: None,
            mode: None,
        };
        let link = expect(kernel.plane.attach_classifier(&up, hook), "attach the classifier");
        Self {
            up,
            link: Some(link),
            outside: expect(RawSocket::open(&world, "w0"), "open a socket"),
            inside: expect(RawSocket::open(&container, "c0"), "open a socket"),
            gateway: inside.a,
        }
    }

    /// Takes the classifier off the uplink.
    pub fn detach(&mut self) {
        self.link = None;
    }

    /// Puts it there again.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn attach(&mut self, kernel: &mut Kernel, hook: Hook) {
        let link = kernel.plane.attach_classifier(&self.up, hook);
        self.link = Some(expect(link, "attach the classifier"));
    }

    /// Has the container send a packet (without a link header), and waits until
    /// it is out.
    ///
    /// # Panics
    /// If it does not come out.
    #[track_caller]
    pub fn send(&self, kernel: &Kernel, packet: &[u8]) {
        kernel.model.send(&self.frame(packet), Origin::Forwarded);
        self.pass(packet);
    }

    fn frame(&self, packet: &[u8]) -> Vec<u8> {
        let kind = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
        [self.gateway.mac().as_slice(), &[2, 0, 0, 0, 0, 7], &kind, packet].concat()
    }

    /// As [`send`](Self::send), without a word to the model: for what no
    /// classifier sees.
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn pass(&self, packet: &[u8]) {
        let frame = self.frame(packet);
        let header = if packet[0] >> 4 == 4 { 20 } else { 40 };
        let transport = &packet[header..];
        // A link that was just made may lose the first ones.
        for _ in 0..50 {
            expect(self.inside.send(&frame), "send a frame");
            let same = |bytes: &[u8]| bytes.get(14 + header..) == Some(transport);
            let wait = soon() / 50;
            if expect(self.outside.receive(wait, same), "receive a frame").is_some() {
                return;
            }
        }
        panic!("the host does not forward {packet:?}")
    }
}
