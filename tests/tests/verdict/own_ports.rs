//! From where this host's sockets speak: what is for none of them needs no
//! look-up, and no socket that begins to speak is missed.

use std::{collections::HashSet, net::SocketAddr};

use filter_common::{Reason, Socket, tables::speakers::Speaker};
use filter_user::sockets::Sockets;
use nodewall_tests::verdict::{Connection, Kernel, with_kernel};
use sandbox::packet::frame;
use socket2::{Domain, Socket as Socket2, Type};

fn ack(remote: SocketAddr, local: SocketAddr) -> Vec<u8> {
    frame().eth().ip(remote.ip(), local.ip()).tcp(remote.port(), local.port()).ack().build()
}

/// A new connection within the namespace: the ends of client and server.
fn connection(kernel: &mut Kernel, address: &str) -> (Connection, SocketAddr, SocketAddr) {
    let connection = Connection::open(address.parse().expect("an address")).expect("connected");
    let client = connection.client.local_addr().expect("bound");
    let server = connection.client.peer_addr().expect("connected");
    kernel.tell_of_socket(client, server, Socket::Live);
    kernel.tell_of_socket(server, client, Socket::Live);
    (connection, client, server)
}

#[track_caller]
fn judged(kernel: &mut Kernel, what: &str, ends: [SocketAddr; 2], reason: Reason) {
    let [client, server] = ends;
    kernel.expect(format!("{what}, to the client"), &ack(server, client), reason);
    kernel.expect(format!("{what}, to the server"), &ack(client, server), reason);
}

/// Looks at the sockets, as the controller does. How many it had missed.
fn settle(kernel: &mut Kernel) -> usize {
    let before = kernel.plane.marks().expect("read");
    let speakers = Sockets::open().and_then(|sockets| sockets.speakers()).expect("a list");
    let used: HashSet<_> = speakers.iter().map(|speaker| speaker.port).collect();
    kernel.model.silent = (0..=u16::MAX).filter(|port| !used.contains(port)).collect();
    kernel.plane.settle_ports(&before, &speakers).expect("settled")
}

/// Tells that these speak and nobody else.
fn tell(kernel: &mut Kernel, speakers: impl IntoIterator<Item = Speaker>) {
    let before = kernel.plane.marks().expect("read");
    kernel.plane.settle_ports(&before, &speakers.into_iter().collect()).expect("settled");
}

#[test]
fn a_silent_port_needs_no_look_at_the_sockets() {
    for address in ["127.0.0.1", "::1"] {
        with_kernel(|kernel| {
            kernel.policy("");
            let (_connection, client, server) = connection(kernel, address);
            let ends = [client, server];
            judged(kernel, "nothing is known of ports", ends, Reason::Reply);
            // Nobody has told of these: to be found by a look, and by that only.
            // Of each end the port and the flow, and the listener.
            assert_eq!(settle(kernel), 5, "{address}");
            judged(kernel, "older than the filter", ends, Reason::Reply);
            assert_eq!(settle(kernel), 0);
            judged(kernel, "at the next look", ends, Reason::Reply);
            let other = |end: SocketAddr| SocketAddr::new(end.ip(), end.port() ^ 1);
            judged(kernel, "its neighbours", ends.map(other), Reason::PortClosed);
            // That the array is what decides: told wrongly, it hides the sockets.
            tell(kernel, []);
            kernel.model.silent = HashSet::from(ends.map(|end| end.port()));
            judged(kernel, "told to be silent", ends, Reason::PortClosed);
            // A rule asks for the socket whatever is said of the port.
            kernel
                .policy(&format!("[[rule]]\nname = \"a\"\nports = [\"tcp/{}\"]\n", server.port()));
            kernel.expect(
                "by a rule",
                &ack(client, server),
                nodewall_tests::verdict::Expected::rule("a"),
            );
            kernel.policy("");
            assert_eq!(settle(kernel), 5, "the next look finds what was missed");
            judged(kernel, "found", ends, Reason::Reply);
        });
    }
}

#[test]
fn a_port_that_is_spoken_from_needs_a_look_for_its_far_ends_alone() {
    for address in ["127.0.0.1", "::1"] {
        with_kernel(|kernel| {
            kernel.policy("");
            let (_connection, client, server) = connection(kernel, address);
            let ends = [client, server];
            let peer = |end: SocketAddr, other: SocketAddr| Speaker {
                port: end.port(),
                peer: other.ip().into(),
                peer_port: other.port(),
            };
            tell(kernel, [peer(client, server), peer(server, client)]);
            judged(kernel, "both ends are told", ends, Reason::Reply);
            // That the place of both ends is what decides: told wrongly, it hides the sockets.
            let stranger = |end: SocketAddr| SocketAddr::new(end.ip(), end.port() ^ 1);
            tell(kernel, [peer(client, stranger(server)), peer(server, stranger(client))]);
            kernel.model.silent = HashSet::from(ends.map(|end| end.port()));
            judged(kernel, "others speak from these ports", ends, Reason::PortClosed);
            kernel.model.silent.clear();
            tell(kernel, ends.map(|end| Speaker::listener(end.port())));
            judged(kernel, "anybody may be who a listener speaks to", ends, Reason::Reply);
        });
    }
}

#[test]
fn a_socket_of_ipv6_speaks_to_an_ipv4_peer_by_its_ipv4_address() {
    with_kernel(|kernel| {
        kernel.policy("");
        kernel.plane.count_connections(None).expect("attached");
        settle(kernel);
        kernel.model.silent.clear();
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let server = (server.local_addr().expect("bound"), server);
        let mapped =
            SocketAddr::new("::ffff:127.0.0.1".parse().expect("an address"), server.0.port());
        let socket = Socket2::new(Domain::IPV6, Type::STREAM, None).expect("a socket");
        socket.connect(&mapped.into()).expect("connected");
        let (accepted, client) = server.1.accept().expect("accepted");
        kernel.tell_of_socket(client, server.0, Socket::Live);
        kernel.tell_of_socket(server.0, client, Socket::Live);
        let ends = [client, server.0];
        judged(kernel, "it was told as it began", ends, Reason::Reply);
        assert_eq!(settle(kernel), 0, "the list has it at the same place");
        judged(kernel, "after a look", ends, Reason::Reply);
        drop(accepted);
    });
}

#[test]
fn whoever_begins_to_speak_is_known_at_once() {
    for address in ["127.0.0.1", "::1"] {
        with_kernel(|kernel| {
            kernel.policy("");
            kernel.plane.count_connections(None).expect("attached");
            settle(kernel);
            // A look that is under way when a connection begins leaves it its port.
            let before = kernel.plane.marks().expect("read");
            kernel.model.silent.clear();
            let (open, client, server) = connection(kernel, address);
            let ends = [client, server];
            judged(kernel, "it has just begun", ends, Reason::Reply);
            kernel.plane.settle_ports(&before, &HashSet::new()).expect("settled");
            judged(kernel, "a look began before it", ends, Reason::Reply);
            assert_eq!(settle(kernel), 0, "nothing was missed");
            judged(kernel, "after a look", ends, Reason::Reply);
            drop(open);
            // The side that closed first waits (RFC 9293, section 3.6.1): it speaks still.
            settle(kernel);
            kernel.expect("in TIME_WAIT", &ack(server, client), Reason::Reply);
            kernel.expect("closed", &ack(client, server), Reason::PortClosed);
        });
    }
}
