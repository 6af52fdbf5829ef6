//! What answers the connections of this host: real sockets, in the network
//! namespace that the program looks them up in.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    time::Duration,
};

use filter_common::{Address, Reason, Scope, Socket, tables::SourceKey};
use nodewall_tests::verdict::{Connection, Expected, Kernel, with_kernel};
use sandbox::{RawSocket, Veth, VethOptions, packet::frame};

const ADDRESSES: [&str; 2] = ["127.0.0.1", "::1"];

/// A rule for the port of a server, with a limit that three packets fill.
fn policy_for(port: u16) -> String {
    format!(
        "[[rule]]\nname = \"server\"\nports = [\"tcp/{port}\"]\n[rule.per_source]\npackets = {{ rate = \"1/h\", burst = 3 }}\nnew_connections = {{ rate = \"1/h\", burst = 1 }}\n"
    )
}

/// What `remote` sends to `local`, with these flags.
fn segment(remote: SocketAddr, local: SocketAddr, flags: u8) -> Vec<u8> {
    let ip = frame().eth().ip(remote.ip(), local.ip());
    ip.tcp(remote.port(), local.port()).flags(flags).build()
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

#[track_caller]
fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// A socket that is live: everything but a bare SYN passes, and the neighbours
/// of its four numbers do not.
fn is_live(kernel: &mut Kernel, what: &str, remote: SocketAddr, local: SocketAddr) {
    kernel.tell_of_socket(remote, local, Socket::Live);
    for flags in [ACK, ACK | FIN, RST, RST | ACK, SYN | ACK, SYN | FIN, SYN | RST, FIN, 0, 0xff] {
        kernel.expect(
            format!("{what}, flags {flags:#04x}"),
            &segment(remote, local, flags),
            Reason::Reply,
        );
    }
    kernel.expect(format!("{what}, a bare SYN"), &segment(remote, local, SYN), Reason::PortClosed);
    let other = |address: SocketAddr, by: u16| SocketAddr::new(address.ip(), address.port() ^ by);
    let elsewhere = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V4((u32::from(ip) ^ 2).into()), address.port()),
        IpAddr::V6(ip) => SocketAddr::new(IpAddr::V6((u128::from(ip) ^ 2).into()), address.port()),
    };
    for (near, remote, local) in [
        ("another port there", other(remote, 1), local),
        ("another port there, high", other(remote, 0x100), local),
        ("another port here", remote, other(local, 1)),
        ("another port here, high", remote, other(local, 0x100)),
        ("another address there", elsewhere(remote), local),
        ("another address here", remote, elsewhere(local)),
    ] {
        kernel.expect(format!("{what}, {near}"), &segment(remote, local, ACK), Reason::PortClosed);
    }
    let udp = frame().eth().ip(remote.ip(), local.ip()).udp(remote.port(), local.port()).build();
    kernel.expect(format!("{what}, UDP"), &udp, Reason::PortClosed);
}

#[test]
fn established() {
    with_kernel(|kernel| {
        kernel.policy("");
        for address in ADDRESSES {
            let connection = done(Connection::open(done(address.parse())));
            let client = done(connection.client.local_addr());
            let server = done(connection.client.peer_addr());
            is_live(kernel, &format!("to the client on {address}"), server, client);
            is_live(kernel, &format!("to the server on {address}"), client, server);
        }
    });
}

#[test]
fn a_listener_is_no_connection() {
    with_kernel(|kernel| {
        kernel.policy("");
        for address in ADDRESSES {
            let listener = done(TcpListener::bind((done(address.parse::<IpAddr>()), 0)));
            let local = done(listener.local_addr());
            let remote = SocketAddr::new(local.ip(), local.port() ^ 1);
            for flags in [SYN, ACK, SYN | ACK, RST, FIN, SYN | FIN] {
                kernel.expect(
                    format!("{local}, flags {flags:#04x}"),
                    &segment(remote, local, flags),
                    Reason::PortClosed,
                );
            }
            kernel.policy(&policy_for(local.port()));
            for flags in [ACK, SYN | ACK, RST, FIN, SYN | FIN] {
                kernel.expect(
                    format!("{local} with a rule, flags {flags:#04x}"),
                    &segment(remote, local, flags),
                    Expected::by("server", Reason::OutOfState),
                );
            }
            kernel.policy("");
        }
    });
}

/// The last segment of a handshake is held to `connections` as its first is.
#[test]
fn the_last_segment_of_a_handshake_is_one_too_many() {
    with_kernel(|kernel| {
        let veth = done(Veth::new(
            (&kernel.namespace, "nwa"),
            (&kernel.namespace, "nwb"),
            VethOptions::default(),
        ));
        let peers = [("192.0.2.1/24", "192.0.2.2:80"), ("2001:db8:5::1/64", "[2001:db8:5::2]:80")];
        for (address, peer) in peers {
            let net: ipnet::IpNet = done(address.parse());
            done(veth.a.add_address(net));
            let remote: SocketAddr = done(peer.parse());
            done(veth.a.add_neighbour(remote.ip(), [2, 0, 0, 0, 0, 9]));
            let listener = done(TcpListener::bind((net.addr(), 0)));
            let local = done(listener.local_addr());
            kernel.policy("");
            syn_over(kernel, &veth, remote, local);
            kernel.policy(&format!(
                "{}[rule.total]\nconnections = 2\npackets = {{ rate = \"1/h\", burst = 4 }}\n",
                policy_for(local.port())
            ));
            kernel.tell_of_socket(remote, local, Socket::HalfOpen);
            let rule = kernel.rules.get("server").unwrap_or_default();
            let key = SourceKey { rule, scope: Scope::Total as u32, source: Address([0; 4]) };
            let ack = segment(remote, local, ACK);
            for held in [2, 3, 1] {
                kernel.model.set_slots(key, held);
                done(kernel.plane.slots().correct(key, held.cast_signed()));
                let expected = if held < 2 {
                    Expected::rule("server")
                } else {
                    Expected::over("server", Reason::ConnectionLimit, Scope::Total)
                };
                for n in 0..2 {
                    kernel.expect(format!("{peer}, {held} held, {n}"), &ack, expected);
                }
            }
        }
    });
}

#[test]
fn half_open_and_closing() {
    with_kernel(|kernel| {
        kernel.policy("");
        // A link into nothing, with a neighbour that never answers.
        let veth = done(Veth::new(
            (&kernel.namespace, "nwa"),
            (&kernel.namespace, "nwb"),
            VethOptions::default(),
        ));
        let peers = [("192.0.2.1/24", "192.0.2.2:80"), ("2001:db8:5::1/64", "[2001:db8:5::2]:80")];
        let mut pending = Vec::new();
        for (address, peer) in peers {
            done(veth.a.add_address(done(address.parse())));
            let remote: SocketAddr = done(peer.parse());
            done(veth.a.add_neighbour(remote.ip(), [2, 0, 0, 0, 0, 9]));
            let socket = done(Connection::half_open(remote));
            let local = done(socket.local_addr());
            let Some(local) = local.as_socket() else { panic!("{local:?} is no address") };
            is_live(kernel, &format!("SYN_SENT to {peer}"), remote, local);
            pending.push(socket);
            // A SYN to a listener, whose answer is never answered.
            let listener = done(TcpListener::bind((local.ip(), 0)));
            let local = done(listener.local_addr());
            syn_over(kernel, &veth, remote, local);
            is_live(kernel, &format!("NEW_SYN_RECV from {peer}"), remote, local);
        }
        drop(pending);
        for address in ADDRESSES {
            let connection = done(Connection::open(done(address.parse())));
            let (client, server) = done(connection.close());
            is_live(kernel, &format!("TIME_WAIT on {address}"), server, client);
            kernel.expect(
                format!("what is gone on {address}"),
                &segment(client, server, ACK),
                Reason::PortClosed,
            );
        }
    });
}

/// Has a SYN from `remote` come in over the link, and gives the number by
/// which the listener at `local` answers it.
fn syn_over(kernel: &Kernel, veth: &Veth, remote: SocketAddr, local: SocketAddr) -> u32 {
    let outside = done(RawSocket::open(&kernel.namespace, "nwb"));
    let frame = frame().eth().to_mac(veth.a.mac()).ip(remote.ip(), local.ip());
    let syn = frame.tcp(remote.port(), local.port()).syn().sequence(1000).build();
    let header = if local.is_ipv4() { 14 + 20 } else { 14 + 40 };
    let answers = |bytes: &[u8]| {
        let ports = [local.port().to_be_bytes(), remote.port().to_be_bytes()].concat();
        bytes.len() >= header + 20
            && bytes[header..header + 4] == ports
            && bytes[header + 13] == SYN | ACK
    };
    // A link that was just made may lose the first ones.
    for _ in 0..50 {
        done(outside.send(&syn));
        if let Some(answer) = done(outside.receive(Duration::from_millis(100), answers)) {
            let number = &answer[header + 4..header + 8];
            return number.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        }
    }
    panic!("no SYN+ACK from {local}")
}

/// Under a flood the kernel keeps nothing of a SYN but the cookie in its
/// answer: what brings one back belongs to a connection that a rule let begin.
#[test]
fn cookies() {
    with_kernel(|kernel| {
        done(kernel.namespace.set_parameter("net/ipv4/tcp_syncookies", "2"));
        let veth = done(Veth::new(
            (&kernel.namespace, "nwa"),
            (&kernel.namespace, "nwb"),
            VethOptions::default(),
        ));
        let index = done(veth.a.index());
        for (address, peer) in
            [("192.0.2.1/24", "192.0.2.2:5000"), ("2001:db8:5::1/64", "[2001:db8:5::2]:5000")]
        {
            let net: ipnet::IpNet = done(address.parse());
            done(veth.a.add_address(net));
            let remote: SocketAddr = done(peer.parse());
            done(veth.a.add_neighbour(remote.ip(), [2, 0, 0, 0, 0, 9]));
            let listener = done(TcpListener::bind((net.addr(), 0)));
            let local = done(listener.local_addr());
            let cookie = syn_over(kernel, &veth, remote, local);
            kernel.come_in("nwa", index, false);
            let bring = |number: u32, flags| {
                let ip = frame().eth().ip(remote.ip(), local.ip()).tcp(remote.port(), local.port());
                ip.sequence(1001).acknowledgement(number).flags(flags).build()
            };
            kernel.policy(&policy_for(local.port()));
            kernel.tell_of_socket(remote, local, Socket::Cookie);
            kernel.expect(
                format!("{peer}, the cookie"),
                &bring(cookie.wrapping_add(1), ACK),
                Expected::rule("server"),
            );
            kernel.expect(
                format!("{peer}, with data"),
                &bring(cookie.wrapping_add(1), ACK | 8),
                Expected::rule("server"),
            );
            kernel.tell_of_socket(remote, local, Socket::None);
            // The lowest bits tell the segment size, and have several right values.
            for wrong in [1 << 20, 1 << 22, 1 << 23, 1 << 30, 1 << 31] {
                let forged = Expected::by("server", Reason::OutOfState);
                kernel.expect(
                    format!("{peer}, forged by {wrong:#x}"),
                    &bring(cookie.wrapping_add(1) ^ wrong, ACK),
                    forged,
                );
            }
            // A rule must let it in: it is no reply.
            kernel.policy("");
            kernel.expect(
                format!("{peer}, closed"),
                &bring(cookie.wrapping_add(1), ACK),
                Reason::PortClosed,
            );
            kernel.loopback(false);
        }
    });
}

/// What a rule admits is held to its limits, connection or not.
#[test]
fn rules_come_first() {
    with_kernel(|kernel| {
        for address in ADDRESSES {
            let connection = done(Connection::open(done(address.parse())));
            let client = done(connection.client.local_addr());
            let server = done(connection.client.peer_addr());
            kernel.policy(&policy_for(server.port()));
            kernel.tell_of_socket(client, server, Socket::Live);
            kernel.tell_of_socket(server, client, Socket::Live);
            let (to_server, to_client) =
                (segment(client, server, ACK), segment(server, client, ACK));
            for flags in [ACK, RST, SYN | ACK] {
                kernel.expect(
                    format!("{address}, flags {flags:#04x}"),
                    &segment(client, server, flags),
                    Expected::rule("server"),
                );
            }
            for _ in 0..3 {
                kernel.expect(
                    format!("{address}, beyond the limit"),
                    &to_server,
                    Expected::refused("server", Reason::PacketRate),
                );
            }
            kernel.expect(format!("{address}, the other way"), &to_client, Reason::Reply);
            // A bare SYN is charged for connections alone, on whatever socket it falls.
            kernel.expect(
                format!("{address}, a bare SYN"),
                &segment(client, server, SYN),
                Expected::rule("server"),
            );
            kernel.expect(
                format!("{address}, another bare SYN"),
                &segment(client, server, SYN),
                Expected::refused("server", Reason::ConnectionRate),
            );
            // A rule that does not let the source in leaves it the reply.
            kernel.policy(&format!(
                "[[rule]]\nname = \"others\"\nports = [\"tcp/{}\"]\nfrom = [\"192.0.2.0/24\"]\n",
                server.port()
            ));
            kernel.expect(format!("{address}, not let in"), &to_server, Reason::Reply);
            kernel.expect(
                format!("{address}, not let in, a bare SYN"),
                &segment(client, server, SYN),
                Reason::SourceNotAllowed,
            );
            kernel.policy(&format!("[sources]\ndenied = [\"{address}\"]\n"));
            kernel.expect(format!("{address}, denied"), &to_server, Reason::Denied);
            kernel.policy("");
            kernel.ban(address, None);
            kernel.expect(format!("{address}, banned"), &to_server, Reason::Banned);
            kernel.unban(address);
            kernel.expect(format!("{address}, no more"), &to_server, Reason::Reply);
        }
    });
}
