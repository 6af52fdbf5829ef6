//! From which ports this host speaks: what no socket does needs no look-up, and
//! no socket that begins to is missed.

use std::{collections::HashSet, net::SocketAddr};

use filter_common::{Reason, Socket};
use filter_user::sockets::Sockets;
use nodewall_tests::verdict::{Connection, Kernel, with_kernel};
use sandbox::packet::frame;

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
    let used = Sockets::open().and_then(|sockets| sockets.ports()).expect("a list");
    kernel.model.silent = (0..=u16::MAX).filter(|port| !used.contains(port)).collect();
    kernel.plane.settle_ports(&before, &used).expect("settled")
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
            assert_eq!(settle(kernel), 2, "{address}");
            judged(kernel, "older than the filter", ends, Reason::Reply);
            assert_eq!(settle(kernel), 0);
            judged(kernel, "at the next look", ends, Reason::Reply);
            let other = |end: SocketAddr| SocketAddr::new(end.ip(), end.port() ^ 1);
            judged(kernel, "its neighbours", ends.map(other), Reason::PortClosed);
            // That the array is what decides: told wrongly, it hides the sockets.
            let before = kernel.plane.marks().expect("read");
            kernel.plane.settle_ports(&before, &HashSet::new()).expect("settled");
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
            assert_eq!(settle(kernel), 2, "the next look finds what was missed");
            judged(kernel, "found", ends, Reason::Reply);
        });
    }
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
